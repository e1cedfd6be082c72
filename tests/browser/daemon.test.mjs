// The client against the daemon, which tests/browser/test_client.py starts: it tells of it in the variable DAEMON.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { after, test } from "node:test";

import { AeroDiskError, AeroDisk, Overlay } from "../../browser/aero-disk.js";

const { base, command, root, image: path, other, secret } = JSON.parse(process.env.DAEMON ?? "{}");
const options = { skip: base === undefined && "no daemon" };
const image = path && new Uint8Array(readFileSync(path));
const disks = [];

async function open(name, given = {}) {
  const disk = await AeroDisk.open(`${base}/v1/images/${name}`, { profile: false, retryDelay: 5, ...given });
  disks.push(disk);
  return disk;
}

after(() => Promise.all(disks.map(disk => disk.close())));

const code = wanted => error => {
  assert.ok(error instanceof AeroDiskError, String(error));
  assert.equal(error.code, wanted, error.message);
  return true;
};

async function readAtRandom(disk, expected) {
  let state = 11;
  const random = most => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return Math.floor((state / 2 ** 32) * most);
  };
  await Promise.all(
    Array.from({ length: 4 }, async () => {
      for (let round = 0; round < 30; round += 1) {
        const offset = random(disk.size);
        const length = random(Math.min(200_000, disk.size - offset));
        assert.ok(
          Buffer.from(expected.buffer, offset, length).equals(await disk.read(offset, length)),
          `${offset} ${length}`,
        );
      }
    }),
  );
}

for (const [name, given] of [
  ["disk", {}],
  ["disk", { blockSize: 4096, memory: 1 << 20 }],
  ["disk", { mode: "chunks" }],
  ["published", { mode: "chunks" }],
]) {
  test(`${name} is read to the byte with ${JSON.stringify(given)}`, options, async () => {
    const disk = await open(name, given);
    assert.equal(disk.size, image.length);
    await readAtRandom(disk, image);
  });
}

test("the digest of the image is its version", options, async () => {
  assert.match((await open("disk")).version, /^sha256-[0-9a-f]{64}$/);
});

test("published chunks of zeros are not fetched", options, async () => {
  const disk = await open("published", { mode: "chunks" });
  const before = disk.stats;
  assert.ok((await disk.read(3 << 20, 1 << 20)).every(byte => byte === 0));
  assert.equal(disk.stats.requests, before.requests);
  assert.equal(disk.stats.zeroBytes, 1 << 20);
});

test("an image that is replaced is `changed`; after a look it is read on", options, async () => {
  const disk = await open("moving", { blockSize: 4096 });
  const told = new Promise(resolve => disk.addEventListener("changed", ({ detail }) => resolve(detail)));
  assert.ok(Buffer.from(image.buffer, 0, 4096).equals(await disk.read(0, 4096)));
  execFileSync(command, ["import", other, "--id", "moving", "--format", "raw", "--images-root", root]);
  const replaced = readFileSync(other);
  let failed;
  for (let block = 1; !failed && block < 256; block += 1) {
    const got = await disk.read(block * 4096, 4096).catch(error => {
      failed = error;
    });
    // Until the daemon has seen the change it gives old bytes.
    if (got) assert.ok(Buffer.from(image.buffer, block * 4096, 4096).equals(got), `block ${block}`);
    await new Promise(resolve => setTimeout(resolve, 10));
  }
  code("changed")(failed);
  const { version } = await told;
  assert.equal(await disk.reprobe(), true);
  assert.equal(disk.version, version);
  assert.ok(replaced.subarray(0, 100_000).equals(await disk.read(0, 100_000)));
});

function lease(claims) {
  const part = value => Buffer.from(JSON.stringify(value)).toString("base64url");
  const now = Math.floor(Date.now() / 1000);
  const payload = { img: "secret", scope: "disk:read", iat: now, exp: now + 600, ...claims };
  const words = `${part({ alg: "HS256", kid: "hs", typ: "aero-lease+jwt" })}.${part(payload)}`;
  return `${words}.${createHmac("sha256", Buffer.from(secret, "base64")).update(words).digest("base64url")}`;
}

test("a private image is read with a lease, in the URL, given, or brought", options, async () => {
  await assert.rejects(open("secret"), code("expired"));
  for (const [name, given] of [
    [`secret?lease=${lease()}`, {}],
    ["secret", { lease: lease() }],
    ["secret", { lease: async () => lease() }],
  ]) {
    await readAtRandom(await open(name, given), image);
  }
});

test("a lease for another image is `forbidden`", options, async () => {
  await assert.rejects(open("secret", { lease: lease({ img: "disk" }) }), code("forbidden"));
});

test("a lease that is over in mid-session is renewed", options, async () => {
  const now = Math.floor(Date.now() / 1000);
  let calls = 0;
  // The first is over, but for the leeway, which ends within a second or two.
  const bring = async () => ((calls += 1) === 1 ? lease({ iat: now - 60, exp: now - 29 }) : lease());
  const disk = await open("secret", { lease: bring, memory: 0, blockSize: 4096 });
  const deadline = Date.now() + 10_000;
  for (let block = 0; calls < 2; block += 1) {
    assert.ok(Date.now() < deadline);
    assert.ok(Buffer.from(image.buffer, block * 4096, 4096).equals(await disk.read(block * 4096, 4096)));
    await new Promise(resolve => setTimeout(resolve, 50));
  }
});

test("an overlay over the daemon's image is exported and imported again", options, async () => {
  const top = await Overlay.open(await open("disk"));
  await top.write(70_000, new Uint8Array(100_000).fill(3));
  const file = await new Response(top.export("diff")).blob();
  const back = await Overlay.import(file.stream(), await open("disk"));
  const expected = Buffer.from(image).fill(3, 70_000, 170_000);
  assert.ok(expected.equals(Buffer.from(await new Response(back.export("raw")).arrayBuffer())));
});
