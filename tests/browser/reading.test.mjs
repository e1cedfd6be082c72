// Reads of an image by ranges: right bytes, few requests, priorities, and what the counters say.

import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { AeroDisk, AeroDiskError } from "../../browser/aero-disk.js";
import { bytesOf, first, lies, LyingServer, send } from "./lying-server.mjs";

const BLOCK = 4096;
const IMAGE = bytesOf(1, 300_000);
const OPTIONS = { blockSize: BLOCK, profile: false, retryDelay: 1, readAhead: 0 };

let server;
const disks = [];

async function open(options = {}) {
  const disk = await AeroDisk.open(server.base, { ...OPTIONS, ...options });
  disks.push(disk);
  return disk;
}

beforeEach(async () => {
  server = await LyingServer.start(IMAGE);
});
afterEach(async () => {
  await Promise.all(disks.splice(0).map(disk => disk.close()));
  await server.stop();
});

function extents(image, members) {
  return {
    schema: "aero.extents.v1",
    image_id: "disk.img",
    version: server.version,
    etag: server.tag,
    size_bytes: image.length,
    unit: BLOCK,
    ...members,
  };
}

const code = wanted => error => error instanceof AeroDiskError && error.code === wanted;

test("a disk has the size, version and tag that the server tells", async () => {
  const disk = await open();
  assert.deepEqual(
    [disk.size, disk.version, disk.tag, disk.blockSize],
    [IMAGE.length, server.version, server.tag, BLOCK],
  );
});

test("a read gives exactly the bytes that were asked for, at every edge of blocks and image", async () => {
  const disk = await open({ maxRequest: 3 * BLOCK });
  const offsets = [0, 1, BLOCK - 1, BLOCK, 5 * BLOCK + 7, IMAGE.length - 1, IMAGE.length];
  for (const offset of offsets) {
    for (const length of [0, 1, BLOCK, BLOCK + 1, 9 * BLOCK]) {
      if (offset + length > IMAGE.length) continue;
      assert.deepEqual(await disk.read(offset, length), IMAGE.slice(offset, offset + length), `${offset} ${length}`);
    }
  }
});

test("a read past the end is a RangeError, and so is one that is no number of bytes", async () => {
  const disk = await open();
  for (const [offset, length] of [
    [IMAGE.length, 1],
    [0, IMAGE.length + 1],
    [-1, 2],
    [0, -1],
    [0.5, 1],
    [NaN, 1],
    [0, 2 ** 60],
  ]) {
    await assert.rejects(disk.read(offset, length), RangeError);
  }
});

test("requests for bytes name the version and the range in the URL, and have Range alone", async () => {
  const disk = await open();
  await disk.read(BLOCK, 10);
  const [{ path, query, range, headers }] = server.reads;
  assert.equal(path, `/v1/images/disk.img/versions/${server.version}`);
  assert.equal(query, `?${BLOCK}-${2 * BLOCK - 1}`);
  assert.deepEqual(range, [BLOCK, 2 * BLOCK - 1]);
  assert.equal(headers["if-range"], undefined);
  assert.equal(headers["cache-control"], "no-cache"); // that is how Node.js sends `no-store`
});

test("headers of the user's travel along, but never an If-Range", async () => {
  const disk = await open({ headers: { "X-Aero-User-Id": "ada", "If-Range": '"x"' } });
  await disk.read(0, 1);
  assert.equal(server.reads[0].headers["x-aero-user-id"], "ada");
  assert.equal(server.reads[0].headers["if-range"], undefined);
});

test("a server without versions is read under the image's own URL", async () => {
  server.hasVersions = false;
  const disk = await open();
  assert.deepEqual(await disk.read(0, 100), IMAGE.slice(0, 100));
  assert.equal(disk.version, undefined);
  assert.ok(server.reads.every(({ path }) => path === "/v1/images/disk.img"));
});

test("a server without metadata is asked for the first byte of the image", async () => {
  server.fault = ({ path }) => (path.endsWith("/meta") ? lies.status(404) : undefined);
  const disk = await open();
  assert.deepEqual([disk.size, disk.tag], [IMAGE.length, server.tag]);
  assert.deepEqual(await disk.read(5, 100), IMAGE.slice(5, 105));
});

test("an image without a byte is read: no bytes", async () => {
  server.put(new Uint8Array(0));
  assert.deepEqual(await (await open()).read(0, 0), new Uint8Array(0));
  server.fault = ({ path }) => (path.endsWith("/meta") ? lies.status(404) : undefined);
  assert.equal((await open()).size, 0);
});

test("no image at all is `missing`", async () => {
  await assert.rejects(AeroDisk.open(server.base.replace("disk.img", "none.img"), OPTIONS), code("missing"));
});

test("neighbouring blocks are one request, up to maxRequest", async () => {
  const disk = await open({ maxRequest: 8 * BLOCK });
  await disk.read(0, 16 * BLOCK);
  assert.deepEqual(
    server.reads.map(({ range }) => range[1] - range[0] + 1),
    [8 * BLOCK, 8 * BLOCK],
  );
});

test("reads that want the same block at once share one request", async () => {
  const disk = await open();
  const parts = await Promise.all([disk.read(0, 100), disk.read(50, 100), disk.read(0, 2 * BLOCK)]);
  assert.deepEqual(parts[1], IMAGE.slice(50, 150));
  assert.deepEqual(
    server.reads.map(({ range }) => range),
    [
      [0, BLOCK - 1],
      [BLOCK, 2 * BLOCK - 1],
    ],
  );
  assert.equal(disk.stats.hits.shared, 2);
});

test("blocks in memory are not asked for again, and memory has its bound", async () => {
  const disk = await open({ memory: 4 * BLOCK });
  for (let block = 0; block < 4; block += 1) await disk.read(block * BLOCK, 1);
  await disk.read(0, 1); // now block 1 is the oldest
  await disk.read(4 * BLOCK, 1);
  assert.equal(server.reads.length, 5);
  await disk.read(0, 1);
  assert.equal(server.reads.length, 5);
  await disk.read(BLOCK, 1);
  assert.equal(server.reads.length, 6);
});

test("what is in memory is told as ranges, neighbours as one, the last one cut at the end", async () => {
  const disk = await open();
  assert.deepEqual(disk.coverage(), []);
  for (const offset of [5 * BLOCK, BLOCK, 6 * BLOCK, IMAGE.length - 1]) await disk.read(offset, 1);
  const last = Math.floor(IMAGE.length / BLOCK) * BLOCK;
  assert.deepEqual(disk.coverage(), [
    [BLOCK, BLOCK],
    [5 * BLOCK, 2 * BLOCK],
    [last, IMAGE.length - last],
  ]);
});

test("what one answer brought is kept in one piece, within the bound of memory", async () => {
  const disk = await open({ memory: 16 * BLOCK });
  for (let block = 0; block < 18; block += 2) await disk.read(block * BLOCK, 2 * BLOCK);
  const before = server.reads.length;
  assert.deepEqual(await disk.read(3 * BLOCK + 1, BLOCK - 1), IMAGE.slice(3 * BLOCK + 1, 4 * BLOCK));
  assert.equal(server.reads.length, before);
  await disk.read(0, 1); // of the piece that was used longest ago
  assert.equal(server.reads.length, before + 1);
});

test("bodies that come as plain streams are read to the byte, and their length is checked", async t => {
  const ask = globalThis.fetch;
  t.mock.method(globalThis, "fetch", async (...words) => {
    const response = await ask(...words);
    return new Response(response.body?.pipeThrough(new TransformStream()), response);
  });
  const disk = await open({ retries: 2 });
  server.fault = first(({ range }) => range !== undefined, lies.shortWithoutLength);
  assert.deepEqual(await disk.read(1, 9 * BLOCK), IMAGE.slice(1, 9 * BLOCK + 1));
  assert.equal(server.reads.length, 2);
});

test("forget drops what is in memory", async () => {
  const disk = await open();
  await disk.read(0, 1);
  await disk.forget();
  await disk.read(0, 1);
  assert.equal(server.reads.length, 2);
});

test("bytes that a read gave are the caller's: changes to them change no other read", async () => {
  const disk = await open();
  (await disk.read(0, BLOCK)).fill(0);
  assert.deepEqual(await disk.read(0, BLOCK), IMAGE.slice(0, BLOCK));
});

test("no more requests are under way than `concurrency` allows", async () => {
  const disk = await open({ concurrency: 3 });
  server.mostUnderWay = 0;
  server.delay = 10;
  await Promise.all(Array.from({ length: 12 }, (_, index) => disk.read(index * 2 * BLOCK, 1)));
  assert.equal(server.mostUnderWay, 3);
});

test("prefetches have at most half of the requests, and reads go before them", async () => {
  const disk = await open({ concurrency: 4 });
  server.mostUnderWay = 0;
  server.delay = 60_000; // of the prefetches
  const controller = new AbortController();
  const { signal } = controller;
  const prefetches = Array.from({ length: 8 }, (_, index) => disk.prefetch(index * 2 * BLOCK, BLOCK, { signal }));
  while (server.reads.length < 2) await new Promise(resolve => setTimeout(resolve, 5));
  server.delay = 0;
  await disk.read(40 * BLOCK, 1);
  assert.equal(server.mostUnderWay, 3);
  assert.equal(server.reads.length, 3);
  controller.abort();
  for (const prefetch of prefetches) await assert.rejects(prefetch, code("aborted"));
});

test("a read that needs a prefetch in the queue takes it to the front", async () => {
  const disk = await open({ concurrency: 2 });
  server.delay = 10;
  const prefetches = [0, 2, 4, 6, 8].map(block => disk.prefetch(block * BLOCK, BLOCK));
  await disk.read(8 * BLOCK, 10);
  const place = server.reads.findIndex(({ range }) => range[0] === 8 * BLOCK);
  assert.ok(place <= 1, `place ${place}`);
  await Promise.all(prefetches);
  assert.equal(server.reads.length, 5);
});

test("what was prefetched is in memory, and counted as used when it is read", async () => {
  const disk = await open();
  const seen = [];
  disk.addEventListener("progress", ({ detail }) => seen.push(detail));
  assert.equal(await disk.prefetch(0, 10 * BLOCK), true);
  assert.equal(disk.stats.prefetchedBytes, 10 * BLOCK);
  assert.deepEqual(seen.at(-1), { loaded: 10 * BLOCK, total: 10 * BLOCK });
  await disk.read(0, 2 * BLOCK);
  await disk.read(0, 2 * BLOCK);
  assert.equal(disk.stats.prefetchedUsedBytes, 2 * BLOCK);
  assert.deepEqual(disk.stats.hits, { memory: 4, disk: 0, shared: 0 });
  assert.equal(server.reads.length, 1);
});

test("counters: requests, bytes of bodies, reads that waited; a copy is given", async () => {
  const disk = await open();
  const before = disk.stats;
  await disk.read(0, BLOCK);
  await disk.read(0, BLOCK);
  const after = disk.stats;
  assert.equal(after.requests - before.requests, 1);
  assert.equal(after.bytes - before.bytes, BLOCK);
  assert.equal(after.waits - before.waits, 1);
});

test("reads in a row are fetched ahead by half windows, reads at random are not", async () => {
  const disk = await open({ readAhead: 32 * BLOCK });
  for (let block = 0; block < 64; block += 1) await disk.read(block * BLOCK, BLOCK);
  assert.ok(server.reads.length <= 12, `${server.reads.length} requests`);
  const before = server.reads.length;
  for (const block of [71, 68, 73, 70]) await disk.read(block * BLOCK, 1);
  const ahead = server.reads.slice(before).filter(({ range }) => range[0] > 73 * BLOCK + BLOCK);
  assert.deepEqual(ahead, []);
});

test("a large read of the first bytes begins a row: more is asked for with it", { timeout: 10_000 }, async () => {
  server.put(bytesOf(2, 4 << 20));
  const disk = await open({ blockSize: 32 << 10, readAhead: 8 << 20 });
  const areThree = new Promise(resolve => {
    server.fault = ({ range }) => {
      if (server.reads.length === 3) resolve();
      return range && ((...words) => areThree.then(() => send(...words)));
    };
  });
  await disk.read(0, 512 << 10);
  assert.ok(server.reads.every(({ range: [from, to] }) => to - from + 1 >= 512 << 10));
});

test("holes are never fetched, and read as zeros", async () => {
  const image = bytesOf(2, 40 * BLOCK);
  image.fill(0, 4 * BLOCK, 30 * BLOCK);
  server.put(image);
  server.extents = {
    schema: "aero.extents.v1",
    image_id: "disk.img",
    version: server.version,
    etag: server.tag,
    size_bytes: image.length,
    unit: BLOCK,
    data_bytes: 14 * BLOCK,
    data: [0, 4, 26, 10],
  };
  const disk = await open();
  assert.deepEqual(await disk.read(0, image.length), image);
  assert.deepEqual(
    server.reads.map(({ range }) => range),
    [
      [0, 4 * BLOCK - 1],
      [30 * BLOCK, 40 * BLOCK - 1],
    ],
  );
  assert.equal(disk.stats.zeroBytes, 26 * BLOCK);
});

test("a block that has data in any part is fetched", async () => {
  const image = new Uint8Array(8 * BLOCK);
  image.fill(7, 3 * BLOCK + 1024, 3 * BLOCK + 1536); // amid a block
  image.fill(8, 6 * BLOCK - 512, 6 * BLOCK); // at the end of one
  server.put(image);
  server.extents = extents(image, { unit: 512, data: [(3 * BLOCK) / 512 + 2, 1, 20, 1] });
  const disk = await open();
  assert.deepEqual(await disk.read(0, image.length), image);
  assert.deepEqual(
    server.reads.map(({ range }) => range[0] / BLOCK),
    [3, 5],
  );
});

test("a map of holes of another version is not believed, nor one that breaks a rule", async () => {
  const wrong = [
    { version: "v-old" },
    { etag: '"old"' },
    { size_bytes: 5 },
    { schema: "x" },
    { unit: 0 },
    { data: [1] },
  ];
  for (const fault of wrong) {
    server.extents = extents(IMAGE, { data: [], ...fault });
    const disk = await open();
    assert.deepEqual(await disk.read(0, BLOCK), IMAGE.slice(0, BLOCK), JSON.stringify(fault));
  }
});

function profileOf(...ranges) {
  return {
    schema: "aero.profile.v1",
    image_id: "disk.img",
    version: server.version,
    name: "boot",
    unit: BLOCK,
    sessions: 3,
    recorded: "2026-11-28T12:00:00Z",
    seconds: 30,
    bytes: ranges.reduce((sum, [, count]) => sum + count * BLOCK, 0),
    ranges,
  };
}

// A disk whose profile is here.
async function openProfiled(t, options) {
  t.mock.method(Math, "random", () => 0.5);
  const disk = await open({ profile: "boot", ...options });
  await new Promise(resolve => {
    disk.addEventListener("progress", ({ detail }) => detail.loaded === detail.total && resolve());
  });
  return disk;
}

test("the profile is fetched ahead, in its order, and reads find it in memory", async t => {
  server.profile = profileOf([20, 4, 0, 100], [2, 2, 10, 66]);
  const disk = await openProfiled(t);
  assert.deepEqual(
    server.asked("/profile").map(({ query }) => query),
    ["?name=boot"],
  );
  assert.deepEqual(
    server.reads.map(({ range }) => range[0] / BLOCK).sort((a, b) => b - a),
    [20, 2],
  );
  await disk.read(20 * BLOCK, 4 * BLOCK);
  assert.equal(server.reads.length, 2);
});

test("reads within what a profile names fetch nothing behind it; reads that go on are fetched ahead", async t => {
  server.profile = profileOf([24, 4, 0, 100], [20, 4, 10, 100]);
  const disk = await openProfiled(t, { readAhead: 32 * BLOCK });
  for (let block = 20; block < 28; block += 1) await disk.read(block * BLOCK, BLOCK);
  await disk.read(2 * BLOCK, BLOCK); // what was asked for before is on its way by then
  assert.deepEqual(
    server.reads.map(({ range }) => range[0] / BLOCK).sort((a, b) => a - b),
    [2, 20, 24],
  );
  for (let block = 28; block < 60; block += 1) await disk.read(block * BLOCK, BLOCK);
  assert.ok(server.reads.length <= 3 + 10, `${server.reads.length} requests`);
});

test("a hole that a profile names is not fetched, however late the map of holes comes", async t => {
  const image = bytesOf(2, 40 * BLOCK);
  image.fill(0, 4 * BLOCK, 30 * BLOCK);
  server.put(image);
  server.extents = extents(image, { data: [0, 4, 26, 10] });
  server.profile = profileOf([2, 6, 0, 100]);
  const profileIsSent = new Promise(resolve => {
    server.fault = ({ path }) => {
      if (path.endsWith("/extents")) return (...words) => profileIsSent.then(() => send(...words));
      if (path.endsWith("/profile")) return (...words) => send(...words, "GET", resolve);
      return undefined;
    };
  });
  await openProfiled(t);
  assert.deepEqual(
    server.reads.map(({ range }) => range),
    [[2 * BLOCK, 4 * BLOCK - 1]],
  );
});

test("extents and profile are asked for beside the metadata", { timeout: 10_000 }, async t => {
  server.profile = profileOf([20, 4, 0, 100]);
  server.extents = extents(IMAGE, { data: [0, 74] });
  const others = new Set();
  const areAsked = new Promise(resolve => {
    server.fault = ({ path }) => {
      if (path.endsWith("/meta")) return (...words) => areAsked.then(() => send(...words));
      if (others.add(path.split("/").at(-1)).size === 2) resolve();
      return undefined;
    };
  });
  await openProfiled(t);
  assert.deepEqual([...others].slice(0, 2).sort(), ["extents", "profile"]);
  assert.equal(server.requests.length, 4);
});

test("extents and profile of a version that was replaced meanwhile are asked for again", async t => {
  const image = bytesOf(2, 40 * BLOCK);
  image.fill(0, 4 * BLOCK, 30 * BLOCK);
  server.put(image);
  server.extents = extents(image, { data: [0, 4, 26, 10] });
  server.profile = profileOf([2, 6, 0, 100]);
  const isEarly = path => /disk.img\/(extents|profile)$/.test(path);
  server.fault = ({ path }) =>
    isEarly(path)
      ? (response, { body, ...others }) =>
          send(response, { ...others, body: Buffer.from(body.toString().replace(server.version, "v-old")) })
      : undefined;
  await openProfiled(t);
  assert.deepEqual(
    server.reads.map(({ range }) => range),
    [[2 * BLOCK, 4 * BLOCK - 1]],
  );
});

test("one session of 20 leaves the profile alone", async t => {
  let asked = 0;
  for (let twentieth = 0; twentieth < 20; twentieth += 1) {
    t.mock.method(Math, "random", () => (twentieth + 0.5) / 20);
    const before = server.asked("/profile").length;
    await (await open({ profile: "boot" })).close();
    await new Promise(resolve => setImmediate(resolve));
    asked += server.asked("/profile").length - before;
    t.mock.restoreAll();
  }
  assert.equal(asked, 19);
});

test("where the user saves data nothing is prefetched", async t => {
  const before = Object.getOwnPropertyDescriptor(globalThis, "navigator");
  Object.defineProperty(globalThis, "navigator", { value: { connection: { saveData: true } }, configurable: true });
  t.after(() => (before ? Object.defineProperty(globalThis, "navigator", before) : delete globalThis.navigator));
  const disk = await open({ profile: "boot", readAhead: 1 << 20 });
  assert.equal(await disk.prefetch(0, 10 * BLOCK), false);
  for (let block = 20; block < 24; block += 1) await disk.read(block * BLOCK, BLOCK);
  assert.deepEqual(server.asked("/profile"), []);
  assert.deepEqual(
    server.reads.map(({ range }) => range[0] / BLOCK),
    [20, 21, 22, 23],
  );
});

test("an aborted read is `aborted`, and its request ends if nobody else wants it", { timeout: 20_000 }, async () => {
  const disk = await open();
  server.delay = 60_000;
  const [one, other] = [new AbortController(), new AbortController()];
  const alone = disk.read(0, 1, { signal: one.signal });
  const both = [disk.read(9 * BLOCK, 1, { signal: one.signal }), disk.read(9 * BLOCK, 1, { signal: other.signal })];
  while (server.underWay < 2) await new Promise(resolve => setTimeout(resolve, 1));
  server.delay = 0;
  one.abort();
  const again = alone.catch(() => disk.read(0, 10)); // at once: the request that is being given up is not joined
  await assert.rejects(alone, code("aborted"));
  await assert.rejects(both[0], code("aborted"));
  assert.deepEqual(await again, IMAGE.slice(0, 10));
  while (server.underWay > 1) await new Promise(resolve => setTimeout(resolve, 1));
  other.abort();
  await assert.rejects(both[1], code("aborted"));
  while (server.underWay > 0) await new Promise(resolve => setTimeout(resolve, 1));
});

test("a read goes on when another one that shares its request is aborted", async () => {
  const disk = await open();
  server.delay = 50;
  const controller = new AbortController();
  const reads = [disk.read(0, 10, { signal: controller.signal }), disk.read(0, 10)];
  while (server.underWay < 1) await new Promise(resolve => setTimeout(resolve, 1));
  controller.abort();
  await assert.rejects(reads[0], code("aborted"));
  assert.deepEqual(await reads[1], IMAGE.slice(0, 10));
  assert.equal(server.reads.length, 1);
});

test("a signal that is aborted already asks for nothing", async () => {
  const disk = await open();
  await assert.rejects(disk.read(0, 1, { signal: AbortSignal.abort() }), code("aborted"));
  await assert.rejects(AeroDisk.open(server.base, { signal: AbortSignal.abort() }), code("aborted"));
  assert.equal(server.reads.length, 0);
});

test("opening can be aborted", async () => {
  server.delay = 5000;
  const controller = new AbortController();
  const opening = AeroDisk.open(server.base, { ...OPTIONS, signal: controller.signal });
  while (server.underWay < 1) await new Promise(resolve => setTimeout(resolve, 1));
  controller.abort();
  await assert.rejects(opening, code("aborted"));
});

test("a closed disk ends what is under way, and reads nothing any more", async () => {
  const disk = await open();
  server.delay = 1000;
  const reading = disk.read(0, 1);
  while (server.underWay < 1) await new Promise(resolve => setTimeout(resolve, 1));
  await disk.close();
  await assert.rejects(reading, code("aborted"));
  await assert.rejects(disk.read(0, 1), code("aborted"));
  while (server.underWay > 0) await new Promise(resolve => setTimeout(resolve, 1));
});

test("options that make no sense are refused", async () => {
  for (const wrong of [{ mode: "all" }, { blockSize: 100 }, { concurrency: 0 }, { memory: -1 }, { retries: NaN }]) {
    await assert.rejects(
      AeroDisk.open(server.base, wrong),
      error => error instanceof TypeError || error instanceof RangeError,
    );
  }
});
