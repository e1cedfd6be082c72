// Documents that lie, and servers that have none: metadata, maps of zeros, profiles and manifests.

import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { AeroDisk, AeroDiskError } from "../../browser/aero-disk.js";
import { bytesOf, lies, LyingServer, send, sha256 } from "./lying-server.mjs";

const BLOCK = 4096;
const IMAGE = bytesOf(5, 299_520);
const OPTIONS = { blockSize: BLOCK, profile: false, retryDelay: 1, readAhead: 0, retries: 1, timeout: 20_000 };

let server;
const disks = [];

async function open(url = server.base, options = {}) {
  const disk = await AeroDisk.open(url, { ...OPTIONS, ...options });
  disks.push(disk);
  return disk;
}

const code = wanted => error => {
  assert.ok(error instanceof AeroDiskError, String(error));
  assert.equal(error.code, wanted, error.message);
  return true;
};
const isOf = part => request => request.path.endsWith(part);
const says = value => response =>
  send(response, { status: 200, headers: {}, body: Buffer.from(JSON.stringify(value)) });
const ONLY_BYTES = new RegExp(`^/v1/images/disk.img$`);

beforeEach(async () => {
  server = await LyingServer.start(IMAGE);
});
afterEach(async () => {
  await Promise.all(disks.splice(0).map(disk => disk.close()));
  await server.stop();
});

// What servers without the routes of http.md answer there.
const WITHOUT_METADATA = {
  "a bucket that may not be listed (403)": lies.status(403),
  "a server that knows no such address (400)": lies.status(400),
  "a page for every address": response =>
    send(response, { status: 200, headers: { "Content-Type": "text/html" }, body: Buffer.from("<html>") }),
};
for (const [name, lie] of Object.entries(WITHOUT_METADATA)) {
  test(`an image of ${name} is read, and no map or profile is waited for`, async () => {
    const isHint = path => /\/(extents|profile)$/.test(path);
    server.fault = ({ path }) => (ONLY_BYTES.test(path) ? undefined : isHint(path) ? lies.stall : lie);
    const disk = await open(server.base, { profile: "boot" });
    const told = [];
    disk.addEventListener("error", ({ detail }) => told.push(detail.error));
    assert.deepEqual(await disk.read(5000, 10_000), IMAGE.slice(5000, 15_000));
    assert.equal(await disk.reprobe(), false);
    assert.deepEqual(told, []);
    assert.ok(server.asked("/extents").length <= 1, "beside the metadata only");
    assert.ok(server.asked("/profile").length <= 1);
  });
}

test("a server without ranges is told of as one, and its bodies are let go", async () => {
  server.fault = ({ path }) => (ONLY_BYTES.test(path) ? lies.whole(IMAGE) : lies.status(404));
  await assert.rejects(open(), error => code("network")(error) && /range/.test(error.message));
});

test("a file of no bytes is one, though a server ignores ranges of it", async () => {
  server.fault = ({ path }) =>
    ONLY_BYTES.test(path)
      ? response => send(response, { status: 200, headers: { ETag: '"empty"' }, body: Buffer.alloc(0) })
      : lies.status(404);
  const disk = await open();
  assert.equal(disk.size, 0);
  assert.deepEqual(await disk.read(0, 0), new Uint8Array(0));
});

for (const size of [2 ** 53, 1e300, -1, 1.5, "300000", null]) {
  test(`metadata that claims a size of ${JSON.stringify(size)} is \`damaged\``, async () => {
    server.fault = request => (isOf("/meta")(request) ? says({ size_bytes: size, etag: server.tag }) : undefined);
    await assert.rejects(open(), code("damaged"));
  });
}

test("ids that look like parts of an address are images", async () => {
  for (const id of ["data", "manifest", "manifest.json", "meta", "versions"]) {
    const base = server.base.replace("disk.img", id);
    server.fault = ({ path, range }) => {
      if (path === `/v1/images/${id}/meta`) return says({ size_bytes: IMAGE.length, etag: '"t"' });
      if (path !== `/v1/images/${id}` || !range) return lies.status(404);
      return response =>
        send(response, {
          status: 206,
          headers: { ETag: '"t"', "Content-Range": `bytes ${range[0]}-${range[1]}/${IMAGE.length}` },
          body: IMAGE.subarray(range[0], range[1] + 1),
        });
    };
    const disk = await open(base);
    assert.equal(disk.url, base);
    assert.deepEqual(await disk.read(10, 20), IMAGE.slice(10, 30), id);
  }
});

// Maps that break a rule: each would make data read as zeros.
const UNITS = Math.ceil(IMAGE.length / 4096);
const MAPS = {
  "begins past the end": { data: [UNITS + 1, 1] },
  "goes on past the end": { data: [UNITS - 1, 2] },
  "has numbers over all bounds": { data: [2 ** 53 - 1, 2 ** 53 - 1] },
  "adds up to other bytes than it says": { data: [0, 1], data_bytes: 8192 },
  "has a unit that is no number of sectors": { data: [0, 1], unit: 5000 },
};
for (const [name, lie] of Object.entries(MAPS)) {
  test(`a map of zeros that ${name} is not believed`, async () => {
    server.extents = {
      schema: "aero.extents.v1",
      size_bytes: IMAGE.length,
      etag: server.tag,
      version: server.version,
      unit: 4096,
      ...lie,
    };
    const disk = await open();
    assert.deepEqual(await disk.read(0, IMAGE.length), IMAGE);
  });
}

function profileOf(ranges, unit = 4096) {
  return { schema: "aero.profile.v1", version: server.version, unit, ranges };
}
const PROFILES = {
  "goes on far past the end": [[0, 2 ** 40, 0, 100]],
  "begins past the end": [[2 ** 40, 2 ** 40, 0, 100]],
  "has numbers over all bounds": [[2 ** 53 - 1, 2 ** 53 - 1, 0, 100]],
};
for (const [name, ranges] of Object.entries(PROFILES)) {
  test(`a profile that ${name} stops nothing`, { timeout: 10_000 }, async t => {
    t.mock.method(Math, "random", () => 0.5);
    server.profile = profileOf(ranges);
    const disk = await open(server.base, { profile: "boot" });
    const loaded = [];
    disk.addEventListener("progress", ({ detail }) => loaded.push(detail));
    await new Promise(resolve => setTimeout(resolve, 50)); // by then it follows the profile
    assert.deepEqual(await disk.read(0, IMAGE.length), IMAGE);
    assert.ok(loaded.every(({ total }) => total <= IMAGE.length));
  });
}

test("a profile of more ranges than a profile has is left alone", async t => {
  t.mock.method(Math, "random", () => 0.5);
  server.profile = profileOf(Array.from({ length: 5000 }, () => [0, 1, 0, 100]));
  const disk = await open(server.base, { profile: "boot" });
  assert.deepEqual(await disk.read(8192, 10), IMAGE.slice(8192, 8202));
  await new Promise(resolve => setTimeout(resolve, 50));
  assert.equal(disk.stats.prefetchedBytes, 0);
});

test("a prefetch of a hole of a terabyte lets others have their turn", { timeout: 20_000 }, async () => {
  const size = 2 ** 40;
  server.fault = request => {
    if (isOf("/meta")(request)) return says({ size_bytes: size, etag: '"t"' });
    if (!isOf("/extents")(request)) return undefined;
    return says({ schema: "aero.extents.v1", size_bytes: size, etag: '"t"', unit: 4096, data: [], data_bytes: 0 });
  };
  const disk = await open(server.base, { blockSize: 32768 });
  const controller = new AbortController();
  setTimeout(() => controller.abort(), 20);
  await assert.rejects(disk.prefetch(0, size, { signal: controller.signal }), code("aborted"));
});

const MANIFESTS = {
  "a list of zeros that has no numbers": ["0", "9"],
  "a list of zeros with negative numbers": [-2, 3],
  "a list of zeros that goes past the end": [0, 999],
  "a list of zeros against the digests": [0, 2],
};
for (const [name, zeros] of Object.entries(MANIFESTS)) {
  for (const hasDigests of name.endsWith("digests") ? [true] : [true, false]) {
    test(`${name} makes no zeros of data (${hasDigests ? "with" : "without"} digests)`, async () => {
      server.hasDigests = hasDigests;
      server.fault = request => (isOf("/manifest.json")(request) ? says({ ...server.manifest(), zeros }) : undefined);
      const disk = await open(server.base, { mode: "chunks" });
      assert.deepEqual(await disk.read(0, IMAGE.length), IMAGE);
    });
  }
}

test("a manifest of nothing but brackets is `damaged`", async () => {
  server.fault = request =>
    isOf("/manifest.json")(request) ? response => response.end(Buffer.alloc(1 << 20, "[")) : undefined;
  await assert.rejects(open(server.base, { mode: "chunks" }), code("damaged"));
});

test("a document without an end is let go, and so is the rest of a refusal", { timeout: 10_000 }, async () => {
  for (const [part, status] of [
    ["/meta", 404],
    ["/extents", 404],
    ["/extents", 200],
    ["/profile", 404],
  ]) {
    let closed;
    const end = new Promise(resolve => (closed = resolve));
    server.fault = request => {
      if (!isOf(part)(request)) return undefined;
      return response => {
        response.writeHead(status);
        const more = () => {
          while (!response.destroyed && response.write(Buffer.alloc(65536, " ")));
        };
        response.on("drain", more);
        response.on("close", closed);
        more();
      };
    };
    const disk = await open(server.base, { profile: "always", blockSize: 32768 });
    assert.deepEqual(await disk.read(0, 10), IMAGE.slice(0, 10));
    await end;
  }
});
