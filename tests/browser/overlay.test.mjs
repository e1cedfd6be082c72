// Writes over an image, their export and import, and the buffers of emulators and readers.

import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { AeroDisk, AeroDiskError, asyncBuffer, Overlay, v86Buffer } from "../../browser/aero-disk.js";
import { writeDiff } from "../../browser/diff-format.js";
import { bytesOf, first, lies, LyingServer } from "./lying-server.mjs";

const SIZE = 300_000; // no multiple of 512
const IMAGE = bytesOf(1, SIZE);
const OPTIONS = { profile: false, retryDelay: 1, readAhead: 0, blockSize: 4096, retries: 1 };

let server;
let disk;
const disks = [];

async function open(options = {}) {
  const opened = await AeroDisk.open(server.base, { ...OPTIONS, ...options });
  disks.push(opened);
  return opened;
}

beforeEach(async () => {
  server = await LyingServer.start(IMAGE);
  disk = await open();
});
afterEach(async () => {
  await Promise.all(disks.splice(0).map(opened => opened.close()));
  await server.stop();
});

const code = wanted => error => {
  assert.ok(error instanceof AeroDiskError, String(error));
  assert.equal(error.code, wanted, error.message);
  return true;
};
const all = async stream => new Uint8Array(await new Response(stream).arrayBuffer());
const streamOf = bytes => new Blob([bytes]).stream();

function randomFrom(seed) {
  let state = seed;
  return most => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return Math.floor((state / 2 ** 32) * most);
  };
}

test("reads give what was written, and the image's bytes elsewhere, whatever the edges", async () => {
  const top = await Overlay.open(disk);
  const model = IMAGE.slice();
  const random = randomFrom(5);
  for (let round = 0; round < 200; round += 1) {
    const offset = random(SIZE);
    const length = random(Math.min(SIZE - offset, 10_000));
    const bytes = bytesOf(round, length);
    await top.write(offset, bytes);
    model.set(bytes, offset);
    const from = random(SIZE);
    const count = random(SIZE - from);
    assert.deepEqual(await top.read(from, count), model.slice(from, from + count));
  }
  assert.deepEqual(await all(top.export("raw")), model);
});

test("writes at once to parts of one sector all arrive", async () => {
  const top = await Overlay.open(disk);
  server.delay = 5;
  await Promise.all(Array.from({ length: 50 }, (_, index) => top.write(1000 + index, new Uint8Array([index]))));
  assert.deepEqual(
    await top.read(1000, 50),
    Uint8Array.from({ length: 50 }, (_, index) => index),
  );
  assert.deepEqual(await top.read(900, 100), IMAGE.slice(900, 1000));
});

test("whole sectors are written and read again without a request", async () => {
  const top = await Overlay.open(disk);
  await top.write(512, new Uint8Array(1024).fill(7));
  assert.deepEqual(await top.read(600, 100), new Uint8Array(100).fill(7));
  assert.equal(server.reads.length, 0);
});

test("the caller may use its array again after a write", async () => {
  const top = await Overlay.open(disk);
  const bytes = new Uint8Array(700).fill(1);
  const writing = top.write(10, bytes);
  bytes.fill(2);
  await writing;
  assert.deepEqual(await top.read(10, 700), new Uint8Array(700).fill(1));
});

test("the caller may use a Buffer of Node.js again too, whose `slice` is no copy", async () => {
  const top = await Overlay.open(disk);
  const bytes = Buffer.alloc(100, 1);
  const writing = top.write(700, bytes);
  bytes.fill(2);
  await writing;
  assert.deepEqual(await top.read(700, 100), new Uint8Array(100).fill(1));
  const buffer = v86Buffer(top);
  const setting = set(buffer, 900, bytes);
  bytes.fill(3);
  await setting;
  assert.deepEqual(await top.read(900, 100), new Uint8Array(100).fill(2));
});

test("of writes at once to the same place the last one counts, whole sectors or not", async () => {
  const top = await Overlay.open(disk);
  await Promise.all([
    top.write(10, new Uint8Array(20).fill(1)),
    top.write(0, new Uint8Array(512).fill(2)),
    top.write(5, new Uint8Array(3).fill(3)),
  ]);
  assert.deepEqual(await top.read(0, 30), new Uint8Array(30).fill(2).fill(3, 5, 8));
});

test("what is no bytes is no write, and no kind of store is an overlay's", async () => {
  const top = await Overlay.open(disk);
  for (const wrong of [[1, 2, 3], "text", new ArrayBuffer(512), new Uint16Array(256), undefined])
    await assert.rejects(top.write(0, wrong), TypeError);
  assert.equal(top.writtenBytes, 0);
  await assert.rejects(Overlay.open(disk, { persistent: "indexeddb" }), TypeError);
  await assert.rejects(Overlay.import(top.export("diff"), disk, { persistent: true }), TypeError);
});

test("writes and reads past the end are RangeErrors", async () => {
  const top = await Overlay.open(disk);
  await assert.rejects(top.write(SIZE - 1, new Uint8Array(2)), RangeError);
  await assert.rejects(top.read(SIZE, 1), RangeError);
  await top.write(SIZE - 1, new Uint8Array([9]));
  assert.deepEqual(await top.read(SIZE - 1, 1), new Uint8Array([9]));
});

test("an export is imported again, with and without a disk, and is small", async () => {
  const top = await Overlay.open(disk);
  await top.write(5, new Uint8Array(3000).fill(1));
  await top.write(100_000, new Uint8Array(70_000).fill(2));
  await top.write(SIZE - 10, new Uint8Array(10).fill(3));
  const file = await all(top.export("diff"));
  assert.ok(file.length < 80_000, `${file.length} bytes`);
  const raw = await all(top.export("raw"));
  assert.deepEqual(await all((await Overlay.import(streamOf(file), disk)).export("raw")), raw);
  const alone = await Overlay.import(streamOf(file), undefined, OPTIONS);
  disks.push(alone.disk);
  assert.deepEqual(await alone.read(0, SIZE), raw);
});

test("an export is of the moment when it was asked for", async () => {
  const top = await Overlay.open(disk);
  await top.write(0, new Uint8Array(200_000).fill(1));
  const [diff, raw] = [top.export("diff"), top.export("raw")];
  await top.write(0, new Uint8Array(200_000).fill(2));
  assert.deepEqual(await (await Overlay.import(diff, disk)).read(0, 200_000), new Uint8Array(200_000).fill(1));
  assert.deepEqual((await all(raw)).slice(0, 200_000), new Uint8Array(200_000).fill(1));
});

test("an export that is cut anywhere, changed anywhere or longer is `damaged`", async () => {
  const top = await Overlay.open(disk);
  await top.write(1024, bytesOf(5, 1024));
  await top.write(8192, bytesOf(6, 512));
  const file = await all(top.export("diff"));
  const random = randomFrom(3);
  for (let round = 0; round < 40; round += 1) {
    await assert.rejects(Overlay.import(streamOf(file.slice(0, random(file.length))), disk), code("damaged"));
  }
  const body = file.indexOf(10, 16) + 1;
  for (let at = body; at < file.length; at += at < body + 20 || at > file.length - 20 ? 1 : 1 + random(40)) {
    const changed = file.slice();
    changed[at] ^= 4;
    const outcome = await Overlay.import(streamOf(changed), disk).then(
      found => found,
      error => error,
    );
    if (outcome instanceof AeroDiskError) code("damaged")(outcome);
    else assert.fail(`byte ${at} of ${file.length} may be changed`);
  }
  await assert.rejects(Overlay.import(streamOf(new Uint8Array([...file, 0])), disk), code("damaged"));
  const without = new Uint8Array([...file.subarray(0, body), ...file.subarray(body + 16 + 1024)]); // one of two records
  await assert.rejects(Overlay.import(streamOf(without), disk), code("damaged"));
  await assert.rejects(Overlay.import(streamOf(IMAGE), disk), code("damaged"));
});

test("an export with a record outside of the disk, or with none that is one, is `damaged`", async () => {
  const header = { schema: "aero.overlay.v1", url: disk.url, size: SIZE, version: disk.version, tag: disk.tag };
  const bytes = new Uint8Array(512);
  const wrong = [
    [header, [{ offset: 2 ** 52, bytes }]],
    [header, [{ offset: 100, bytes }]],
    [header, [{ offset: 0, bytes: new Uint8Array(100) }]],
    [header, [{ offset: SIZE - (SIZE % 512), bytes }]],
    [{ ...header, schema: "other" }, []],
    [{ ...header, url: "file:///etc/passwd" }, []],
    [{ ...header, size: "300000" }, []],
    [null, []],
  ];
  for (const [head, runs] of wrong) {
    const file = await all(new Blob([...writeDiff(head, runs)]).stream());
    await assert.rejects(Overlay.import(streamOf(file), disk), code("damaged"));
  }
});

test("an export whose stream fails is `network`, with the reason", async () => {
  const file = await all((await Overlay.open(disk)).export("diff"));
  const stream = new ReadableStream({
    pull(controller) {
      if (this.given) return controller.error(new TypeError("the connection is gone"));
      this.given = true;
      controller.enqueue(file.subarray(0, 40));
    },
  });
  await assert.rejects(Overlay.import(stream, disk), error => code("network")(error) && /gone/.test(error.message));
});

test("an export of another version is `changed`, and so is an overlay whose disk turned to another", async () => {
  const top = await Overlay.open(disk);
  await top.write(0, new Uint8Array(512));
  const file = await all(top.export("diff"));
  server.put(bytesOf(2, SIZE));
  await disk.reprobe();
  await assert.rejects(Overlay.import(streamOf(file), disk), code("changed"));
  await assert.rejects(top.read(4096, 10), code("changed"));
  await assert.rejects(top.read(0, 10), code("changed"));
  await assert.rejects(top.write(0, new Uint8Array(512)), code("changed"));
});

const get = (buffer, ...words) => new Promise(resolve => buffer.get(...words, resolve));
const set = (buffer, ...words) => new Promise(resolve => buffer.set(...words, resolve));

test("a buffer of v86 reads and writes, over an overlay and over a disk alone", async () => {
  for (const top of [await Overlay.open(disk), disk]) {
    const buffer = v86Buffer(top);
    await new Promise(resolve => {
      buffer.onload = resolve;
      buffer.load();
    });
    assert.equal(buffer.byteLength, SIZE);
    await set(buffer, 512, new Uint8Array(512).fill(5));
    assert.deepEqual(await get(buffer, 512, 512), new Uint8Array(512).fill(5));
    assert.deepEqual(await new Promise(resolve => buffer.get_and_cache(1024, 512, resolve)), IMAGE.slice(1024, 1536));
    assert.equal(buffer.get_from_cache(512, 512), undefined);
  }
});

test("a buffer of v86 waits for a server that is away, and tells of it", async () => {
  const told = [];
  const buffer = v86Buffer(disk, { onTrouble: trouble => told.push(trouble) });
  server.fault = first(({ range }) => range, lies.reset, 3);
  assert.deepEqual(await get(buffer, 0, 512), IMAGE.slice(0, 512));
  assert.deepEqual(
    told.map(({ error, offset, length, attempt }) => [error.code, offset, length, attempt]),
    [["network", 0, 512, 1]],
  );
  assert.ok(told[0].delay > 0);
});

test("a buffer of v86 gives no byte of another version: the guest waits, and it is told of", async () => {
  const told = [];
  const trouble = new Promise(resolve => {
    const buffer = v86Buffer(disk, {
      onTrouble: found => {
        told.push(found);
        resolve();
      },
    });
    server.put(bytesOf(2, SIZE));
    buffer.get(0, 512, () => assert.fail("bytes of another version"));
  });
  await trouble;
  await disk.reprobe();
  await new Promise(resolve => setTimeout(resolve, 20));
  assert.deepEqual(
    told.map(({ error, delay }) => [error.code, delay]),
    [["changed", undefined]],
  );
});

test("a read of v86 that is aborted calls nobody back", async () => {
  const controller = new AbortController();
  const buffer = v86Buffer(disk, { onTrouble: () => assert.fail("no trouble") });
  server.delay = 20;
  buffer.get(0, 512, () => assert.fail("called back"), { signal: controller.signal });
  controller.abort();
  await new Promise(resolve => setTimeout(resolve, 40));
});

test("a state of v86 has the writes, and is refused by a disk of another version", async () => {
  const buffer = v86Buffer(disk);
  await set(buffer, 512, new Uint8Array(512).fill(5));
  const state = structuredClone(buffer.get_state());
  await set(buffer, 512, new Uint8Array(512).fill(6));
  await set(buffer, 2048, new Uint8Array(512).fill(6));
  buffer.set_state(state);
  assert.deepEqual(
    await get(buffer, 0, 4096),
    new Uint8Array([...IMAGE.slice(0, 512), ...new Uint8Array(512).fill(5), ...IMAGE.slice(1024, 4096)]),
  );
  server.put(bytesOf(2, SIZE));
  const other = v86Buffer(await open());
  assert.throws(() => other.set_state(state), code("changed"));
  assert.throws(() => other.set_state([[]]), code("damaged"));
});

test("a state that is broken is `damaged`, and changes nothing", async () => {
  const buffer = v86Buffer(disk);
  await set(buffer, 512, new Uint8Array(512).fill(5));
  const [name, image, offsets, parts] = buffer.get_state();
  const wrong = [
    undefined,
    [name],
    [name, "{"],
    [name, "null", offsets, parts],
    [name, image],
    [name, image, offsets],
    [name, image, offsets, []],
    [name, image, offsets, ["text"]],
    [name, image, [2 ** 40], parts],
    [name, image, ["512"], parts],
    [name, image, [513], parts],
  ];
  for (const state of wrong) assert.throws(() => buffer.set_state(state), code("damaged"), JSON.stringify(state));
  assert.deepEqual(await get(buffer, 512, 512), new Uint8Array(512).fill(5));
});

const ODD_SLICES = [
  [NaN, 5],
  [1.9, 5.9],
  [-1.5],
  [undefined, undefined],
  [undefined, 7],
  [-Infinity, 7],
  [SIZE - 7, Infinity],
  [0, -Infinity],
  ["3", "9"],
  [null, 9],
  [-(2 ** 60), 4],
];

test("asyncBuffer slices as ArrayBuffer does, and reads as zip.js asks", async () => {
  const buffer = asyncBuffer(disk);
  assert.equal(buffer.byteLength, SIZE);
  for (const words of [[], [10], [10, 20], [-20], [-20, -10], [5, 2 ** 40], [SIZE + 5], [20, 10], ...ODD_SLICES]) {
    const part = await buffer.slice(...words);
    assert.ok(part instanceof ArrayBuffer);
    assert.deepEqual(new Uint8Array(part), new Uint8Array(IMAGE.buffer.slice(...words)), String(words));
  }
  assert.deepEqual(await buffer.readUint8Array(SIZE - 5, 100), IMAGE.slice(-5));
  const file = asyncBuffer(disk, { length: 1000 });
  assert.deepEqual(new Uint8Array(await file.slice(-10)), IMAGE.slice(990, 1000));
});
