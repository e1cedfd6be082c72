// Reads of an image by chunks: their digests, and what becomes of a damaged one.

import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { AeroDisk, AeroDiskError } from "../../browser/aero-disk.js";
import { parseManifest } from "../../browser/chunk-manifest.js";
import { bytesOf, first, lies, LyingServer } from "./lying-server.mjs";

const CHUNK = 16 << 10;
const IMAGE = bytesOf(3, 20 * CHUNK + 512);
const OPTIONS = { profile: false, retryDelay: 1, readAhead: 0, retries: 3, timeout: 2000 };

let server;
const disks = [];

async function open(options = {}, url = `${server.base}/chunked/manifest.json`) {
  const disk = await AeroDisk.open(url, { ...OPTIONS, ...options });
  disks.push(disk);
  return disk;
}

beforeEach(async () => {
  server = await LyingServer.start(IMAGE);
  server.chunkSize = CHUNK;
});
afterEach(async () => {
  await Promise.all(disks.splice(0).map(disk => disk.close()));
  await server.stop();
});

const code = wanted => error => {
  assert.ok(error instanceof AeroDiskError, String(error));
  assert.equal(error.code, wanted, error.message);
  return true;
};
const isChunk = ({ path }) => path.includes("/chunks/");

test("a manifest is read by its chunks, each asked for once", async () => {
  const disk = await open();
  assert.deepEqual([disk.size, disk.version, disk.blockSize], [IMAGE.length, server.version, CHUNK]);
  assert.deepEqual(await disk.read(100, 3 * CHUNK), IMAGE.slice(100, 100 + 3 * CHUNK));
  assert.deepEqual(await disk.read(IMAGE.length - 700, 700), IMAGE.slice(-700));
  assert.equal(server.reads.length, 6);
  assert.ok(
    server.reads.every(
      ({ path, range }) => path.includes(`/chunked/${server.version}/chunks/`) && range === undefined,
    ),
  );
});

test("an image's own URL is read by chunks where that is the mode, or where it has no raw file", async () => {
  assert.equal((await open({ mode: "chunks" }, server.base)).blockSize, CHUNK);
  server.hasVersions = false;
  server.fault = ({ range }) => (range ? lies.status(404) : undefined);
  const disk = await open({}, server.base);
  assert.equal(disk.blockSize, CHUNK);
  assert.deepEqual(await disk.read(0, 10), IMAGE.slice(0, 10));
});

test("where the server has no versioned manifest, chunks lie beside the one that it has", async () => {
  server.fault = ({ path }) => (path.includes(`/chunked/${server.version}/`) ? lies.status(404) : undefined);
  const disk = await open();
  assert.deepEqual(await disk.read(0, 10), IMAGE.slice(0, 10));
  assert.equal(server.reads[0].path, "/v1/images/disk.img/chunked/chunks/00000000.bin");
});

test("a damaged chunk is fetched once more, past every cache", async () => {
  const disk = await open();
  server.fault = first(isChunk, lies.damaged);
  assert.deepEqual(await disk.read(0, 10), IMAGE.slice(0, 10));
  const [one, two] = server.reads;
  assert.equal(one.query, "");
  assert.match(two.query, /^\?fresh=[0-9a-f]{16}$/);
  assert.equal(two.headers["cache-control"], "no-cache");
});

test("a chunk that stays damaged is an error that names it", async () => {
  const disk = await open();
  server.fault = request => (isChunk(request) && request.path.includes("00000002") ? lies.damaged : undefined);
  assert.deepEqual(await disk.read(0, 10), IMAGE.slice(0, 10));
  await assert.rejects(
    disk.read(CHUNK, 2 * CHUNK),
    error => code("damaged")(error) && error.chunk === 2 && /chunk 2 .*00000002\.bin/.test(error.message),
  );
  assert.equal(server.asked("00000002.bin").length, 2);
  assert.deepEqual(await disk.read(3 * CHUNK, 10), IMAGE.slice(3 * CHUNK, 3 * CHUNK + 10));
});

test("without `verify` a digest is not looked at", async () => {
  const disk = await open({ verify: false });
  server.fault = first(isChunk, lies.damaged);
  assert.notDeepEqual(await disk.read(0, CHUNK), IMAGE.slice(0, CHUNK));
});

for (const name of ["short", "shortWithoutLength", "long", "cut", "reset"]) {
  test(`a chunk that comes "${name}" is asked for again, and never given`, async () => {
    server.hasDigests = false;
    const disk = await open();
    server.fault = first(isChunk, lies[name]);
    assert.deepEqual(await disk.read(0, 2 * CHUNK), IMAGE.slice(0, 2 * CHUNK));
    server.fault = request => (isChunk(request) ? lies[name] : undefined);
    await assert.rejects(disk.read(5 * CHUNK, 10), code("network"));
  });
}

test("a chunk whose digest the server tells in Repr-Digest is checked by it", async () => {
  server.hasDigests = false;
  const disk = await open();
  server.fault = request =>
    isChunk(request)
      ? (response, answer) =>
          lies.damaged(response, {
            ...answer,
            headers: {
              ...answer.headers,
              "Repr-Digest": `sha-256=:${Buffer.alloc(32).toString("base64")}:`,
            },
          })
      : undefined;
  await assert.rejects(disk.read(0, 10), code("damaged"));
});

test("chunks that are zeros, by the list or by their digest, are never fetched", async () => {
  const image = IMAGE.slice();
  image.fill(0, 2 * CHUNK, 5 * CHUNK);
  image.fill(0, 10 * CHUNK, 12 * CHUNK);
  server.put(image);
  server.hasDigests = false;
  const manifest = { ...server.manifest(), zeros: [2, 3, 5, 2] };
  server.fault = ({ path }) =>
    path.endsWith("manifest.json") ? response => response.end(JSON.stringify(manifest)) : undefined;
  const listed = await open();
  assert.deepEqual(await listed.read(0, 13 * CHUNK), image.slice(0, 13 * CHUNK));
  assert.equal(server.reads.length, 8);
  server.fault = () => undefined;
  server.hasDigests = true;
  const digested = await open();
  assert.deepEqual(await digested.read(0, 13 * CHUNK), image.slice(0, 13 * CHUNK));
  assert.equal(server.reads.length, 16);
  assert.equal(digested.stats.zeroBytes, 5 * CHUNK);
});

for (const hasDigests of [true, false]) {
  test(`chunks that are published anew are \`changed\` (${hasDigests ? "with" : "without"} digests)`, async () => {
    server.hasDigests = hasDigests;
    const disk = await open();
    let told = 0;
    disk.addEventListener("changed", () => {
      told += 1;
    });
    await disk.read(0, 10);
    server.put(bytesOf(4, IMAGE.length));
    await assert.rejects(disk.read(5 * CHUNK, 10), code("changed"));
    assert.equal(told, 1);
    assert.equal(await disk.reprobe(), true);
    assert.deepEqual(await disk.read(5 * CHUNK, 10), server.image.slice(5 * CHUNK, 5 * CHUNK + 10));
  });
}

test("chunks that are larger than the memory are read all the same", async () => {
  const disk = await open({ memory: 1000 });
  assert.deepEqual(await disk.read(0, 3 * CHUNK), IMAGE.slice(0, 3 * CHUNK));
});

const GOOD = { schema: "aero.chunked-disk-image.v1", version: "v", totalSize: 1024, chunkSize: 512, chunkCount: 2 };
const BROKEN = [
  { schema: "x" },
  { version: undefined },
  { totalSize: 1000 },
  { totalSize: 0 },
  { chunkSize: 500 },
  { chunkSize: 128 << 20 },
  { chunkCount: 3 },
  { chunkIndexWidth: 33 },
  { chunkIndexWidth: 0 },
  { totalSize: 512 * 500_001, chunkCount: 500_001 },
  { chunks: [] },
  { chunks: [{ size: 512 }, { size: 513 }] },
  { chunks: [{ size: 512, sha256: "0" }, { size: 512 }] },
];
test("a manifest that breaks a rule of the format is `damaged`", () => {
  assert.equal(parseManifest(GOOD, "it").width, 8);
  for (const wrong of BROKEN)
    assert.throws(() => parseManifest({ ...GOOD, ...wrong }, "it"), code("damaged"), JSON.stringify(wrong));
  assert.throws(() => parseManifest(null, "it"), code("damaged"));
});

test("random reads under random faults give the right bytes or an error, never a wrong byte", async () => {
  let state = Number(process.env.SEED ?? 2);
  const random = most => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return Math.floor((state / 2 ** 32) * most);
  };
  const kinds = [
    lies.short,
    lies.shortWithoutLength,
    lies.long,
    lies.cut,
    lies.reset,
    lies.damaged,
    lies.encoded,
    lies.status(404),
    lies.status(503),
    lies.status(206),
  ];
  const disk = await open({ memory: 6 * CHUNK });
  server.fault = request => (isChunk(request) && random(4) === 0 ? kinds[random(kinds.length)] : undefined);
  let right = 0;
  await Promise.all(
    Array.from({ length: 4 }, async () => {
      for (let round = 0; round < 50; round += 1) {
        const offset = random(IMAGE.length);
        const length = random(Math.min(2 * CHUNK, IMAGE.length - offset));
        const got = await disk.read(offset, length).catch(error => error);
        if (got instanceof AeroDiskError) continue;
        assert.deepEqual(got, IMAGE.slice(offset, offset + length));
        right += 1;
      }
    }),
  );
  assert.ok(right > 150, `${right} reads`);
});
