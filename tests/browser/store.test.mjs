// Bytes that are kept beyond a session: a packed file that survives crashes, and a store whose failures cost no byte.

import assert from "node:assert/strict";
import { test } from "node:test";

import { BlockReader } from "../../browser/block-reader.js";
import { BlockStore, keyOfIndex } from "../../browser/block-store.js";
import { PageKeeper } from "../../browser/page-keeper.js";
import { PackedFile } from "../../browser/packed-file.js";
import { RequestQueue } from "../../browser/request-queue.js";
import { SectorPages } from "../../browser/sector-pages.js";
import { plainSha256, Sha256, sha256Hex, toHex } from "../../browser/sha256.js";
import { Store } from "../../browser/stores.js";
import { bytesOf, sha256 } from "./lying-server.mjs";

const SLOT = 4096;

// A sync handle of OPFS in memory. A crash loses all or a part of those that were not flushed.
class Handle {
  bytes = new Uint8Array(0);
  flushed = new Uint8Array(0);
  limit = Infinity;
  /** Up to here bytes are written, those behind it are not, and nobody is told but by their number. */
  longest = Infinity;

  getSize() {
    return this.bytes.length;
  }

  read(target, { at }) {
    const part = this.bytes.subarray(at, at + target.length);
    target.set(part);
    return part.length;
  }

  write(whole, { at }) {
    if (at + whole.length > this.limit) throw new DOMException("full", "QuotaExceededError");
    const source = whole.subarray(0, Math.max(0, this.longest - at));
    this.truncate(Math.max(this.bytes.length, at + source.length));
    this.bytes.set(source, at);
    return source.length;
  }

  truncate(size) {
    const bytes = new Uint8Array(size);
    bytes.set(this.bytes.subarray(0, size));
    this.bytes = bytes;
  }

  flush() {
    this.flushed = this.bytes.slice();
  }

  crash(kept) {
    this.bytes = this.bytes.slice(
      0,
      this.flushed.length + Math.floor(kept * (this.bytes.length - this.flushed.length)),
    );
  }
}

const open = (data, index) => new PackedFile(data, index, SLOT);
const value = (seed, length = SLOT) => bytesOf(seed, length);

test("values are there again when the files are opened again", () => {
  const [data, index] = [new Handle(), new Handle()];
  const file = open(data, index);
  file.put([
    [keyOfIndex(1), value(1)],
    [keyOfIndex(2), value(2, 100)],
  ]);
  file.put([[keyOfIndex(1), value(3)]]);
  file.remove([keyOfIndex(2)]);
  file.put([[keyOfIndex(5), value(5)]]);
  for (const found of [file, open(data, index)]) {
    assert.deepEqual(found.keys().sort(), [keyOfIndex(1), keyOfIndex(5)]);
    assert.deepEqual(found.get(keyOfIndex(1)), value(3));
    assert.deepEqual(found.get(keyOfIndex(5)), value(5));
    assert.equal(found.get(keyOfIndex(2)), undefined);
  }
});

test("the file is packed: slots of values that are gone are used again", () => {
  const [data, index] = [new Handle(), new Handle()];
  for (let round = 0; round < 10; round += 1) {
    const file = open(data, index);
    file.put(Array.from({ length: 8 }, (_, number) => [keyOfIndex(100 * round + number), value(round)]));
    file.remove(file.keys().filter(key => key !== keyOfIndex(100 * round)));
  }
  assert.ok(data.getSize() <= 12 * SLOT, `${data.getSize()} bytes`);
});

test("after a crash at any point every value is the old one, the new one or missing", () => {
  for (const [keptData, keptIndex] of [
    [0, 0],
    [1, 0],
    [0, 1],
    [0.5, 0.5],
    [0, 0.7],
    [1, 0.3],
  ]) {
    const [data, index] = [new Handle(), new Handle()];
    open(data, index).put([
      [keyOfIndex(1), value(1)],
      [keyOfIndex(2), value(2)],
    ]);
    const file = open(data, index);
    data.flush = index.flush = () => {}; // from here on nothing is certain to be on disk
    file.put([
      [keyOfIndex(1), value(11)],
      [keyOfIndex(3), value(13)],
    ]);
    data.crash(keptData);
    index.crash(keptIndex);
    const found = open(data, index);
    const seeds = { 1: [1, 11], 2: [2], 3: [13] };
    for (const [key, allowed] of Object.entries(seeds)) {
      const got = found.get(keyOfIndex(Number(key)));
      assert.ok(
        got === undefined || allowed.some(seed => Buffer.from(got).equals(value(seed))),
        `${key} after ${keptData} ${keptIndex}`,
      );
    }
    assert.deepEqual(found.get(keyOfIndex(2)), value(2));
  }
});

test("a file without values takes no room", () => {
  const data = new Handle();
  const index = new Handle();
  const file = open(data, index);
  const emptied = [keys => file.remove(keys), () => file.clear()];
  for (const empty of emptied) {
    file.put([1, 2, 3].map(number => [keyOfIndex(number), value(number)]));
    empty([1, 2, 3].map(keyOfIndex));
    assert.deepEqual(file.keys(), []);
    assert.deepEqual([data.getSize(), index.getSize()], [0, 0]);
  }
  file.put([[keyOfIndex(7), value(7)]]);
  assert.deepEqual(open(data, index).get(keyOfIndex(7)), value(7));
});

test("a value that was damaged is dropped", () => {
  const [data, index] = [new Handle(), new Handle()];
  const file = open(data, index);
  file.put([[keyOfIndex(1), value(1)]]);
  data.bytes[77] ^= 1;
  assert.equal(file.get(keyOfIndex(1)), undefined);
  assert.deepEqual(open(data, index).keys(), []);
});

test("without room nothing is half there, and what is there stays", () => {
  const [data, index] = [new Handle(), new Handle()];
  const file = open(data, index);
  file.put([[keyOfIndex(1), value(1)]]);
  data.limit = 2 * SLOT;
  assert.throws(
    () =>
      file.put([
        [keyOfIndex(1), value(2)],
        [keyOfIndex(2), value(3)],
      ]),
    { name: "QuotaExceededError" },
  );
  assert.deepEqual(file.get(keyOfIndex(1)), value(1));
  assert.deepEqual(open(data, index).keys(), [keyOfIndex(1)]);
});

test("what is removed or replaced after the index had no room stays removed", () => {
  const [data, index] = [new Handle(), new Handle()];
  const file = open(data, index);
  file.put([
    [keyOfIndex(1), value(1)],
    [keyOfIndex(2), value(2)],
  ]);
  index.longest = index.bytes.length + 20;
  assert.throws(() => file.put([[keyOfIndex(3), value(3)]]), { name: "QuotaExceededError" });
  index.longest = Infinity;
  file.put([[keyOfIndex(1), value(11)]]);
  file.remove([keyOfIndex(2)]);
  const found = open(data, index);
  assert.deepEqual(found.keys(), [keyOfIndex(1)]);
  assert.deepEqual(found.get(keyOfIndex(1)), value(11));
});

test("the last value takes the files' length with it, and needs no room for that", () => {
  const [data, index] = [new Handle(), new Handle()];
  const file = open(data, index);
  file.put(Array.from({ length: 8 }, (_, number) => [keyOfIndex(number), value(number)]));
  index.limit = index.bytes.length;
  file.remove(file.keys());
  assert.deepEqual([data.getSize(), index.getSize()], [0, 0]);
  file.put([[keyOfIndex(1), value(20)]]);
  assert.deepEqual(open(data, index).get(keyOfIndex(1)), value(20));
});

test("an index that cannot be written anew stays in force", () => {
  const [data, index, fresh] = [new Handle(), new Handle(), new Handle()];
  const file = open(data, index);
  for (let round = 0; round < 10; round += 1) file.put([[keyOfIndex(1), value(round)]]);
  fresh.limit = 0;
  assert.throws(() => file.moveIndex(fresh), { name: "QuotaExceededError" });
  file.put([[keyOfIndex(2), value(20)]]);
  assert.deepEqual(open(data, index).get(keyOfIndex(2)), value(20));
});

test("an index that is written anew has one record for each value", () => {
  const [data, index, fresh] = [new Handle(), new Handle(), new Handle()];
  const file = open(data, index);
  for (let round = 0; round < 10; round += 1) file.put([[keyOfIndex(1), value(round)]]);
  assert.equal(file.recordsPerValue, 10);
  file.moveIndex(fresh);
  assert.equal(file.recordsPerValue, 1);
  file.put([[keyOfIndex(2), value(20)]]);
  const found = open(data, fresh);
  assert.deepEqual(found.get(keyOfIndex(1)), value(9));
  assert.deepEqual(found.get(keyOfIndex(2)), value(20));
});

// A backend in memory, which fails as it is told.
class Backend {
  values = new Map();
  failure = undefined;
  failures = [];

  #check() {
    if (this.failures.length) throw new DOMException("told to", this.failures.shift());
    if (this.failure) throw new DOMException("told to", this.failure);
  }

  async read(keys) {
    this.#check();
    return keys.map(key => this.values.get(key));
  }

  async write(pairs) {
    this.#check();
    for (const [key, bytes] of pairs) this.values.set(key, bytes);
  }

  async remove(keys) {
    for (const key of keys) this.values.delete(key);
  }

  async clear() {
    this.#check();
    this.values.clear();
  }

  async close() {
    if (this.isClosed) throw new DOMException("closed already", "InvalidStateError");
    this.isClosed = true;
  }
}

const BLOCK = 512;
const IMAGE = bytesOf(4, 20 * BLOCK + 100);

function reader(backend, failures = []) {
  let fetched = 0;
  const store = new Store(backend, backend.values.keys(), error => failures.push(error.name));
  const stats = {
    hits: { memory: 0, disk: 0, shared: 0 },
    waits: 0,
    zeroBytes: 0,
    prefetchedBytes: 0,
    prefetchedUsedBytes: 0,
  };
  const source = {
    blocksAtOnce: Infinity,
    async fetch(offset, length) {
      fetched += 1;
      return IMAGE.slice(offset, offset + length);
    },
  };
  const blocks = new BlockReader({
    size: IMAGE.length,
    blockSize: BLOCK,
    maxRequest: 1 << 20,
    memory: 0,
    source,
    queue: new RequestQueue(4),
    stats,
    store: new BlockStore(store, keyOfIndex),
  });
  return { blocks, store, stats, fetched: () => fetched };
}

test("blocks that are kept are not fetched by a later session", async () => {
  const backend = new Backend();
  const first = reader(backend);
  assert.deepEqual(await first.blocks.read(700, 5000), IMAGE.slice(700, 5700));
  await first.blocks.prefetch(20 * BLOCK, 100, 1 << 20);
  await first.store.close();
  const second = reader(backend);
  assert.deepEqual(await second.blocks.read(700, 5000), IMAGE.slice(700, 5700));
  assert.deepEqual(await second.blocks.read(20 * BLOCK, 100), IMAGE.slice(20 * BLOCK));
  assert.equal(second.fetched(), 0);
  assert.equal(second.stats.hits.disk, 12);
  assert.equal(second.stats.waits, 0);
});

test("what is kept is told as ranges, by the index of blocks or by their digests", async () => {
  const backend = new Backend();
  const { blocks, store } = reader(backend);
  await blocks.read(700, 1000);
  await blocks.read(20 * BLOCK, 100);
  await store.close();
  const kept = [
    [BLOCK, 3 * BLOCK],
    [20 * BLOCK, 100],
  ];
  assert.deepEqual(reader(backend).blocks.coverage(), kept);
  const digests = ["aa", "bb", "aa", "cc"];
  const byDigest = new Store(backend, ["aa", "cc", "dd"], () => {});
  assert.deepEqual(new BlockStore(byDigest, index => digests[index], digests).indexes(), [0, 2, 3]);
});

test("blocks that are lost in mid-session are fetched, and so are those of a store that fails", async () => {
  const backend = new Backend();
  const failures = [];
  const { blocks, stats } = reader(backend, failures);
  await blocks.read(0, 4 * BLOCK);
  backend.values.delete(keyOfIndex(1));
  assert.deepEqual(await blocks.read(0, 4 * BLOCK), IMAGE.slice(0, 4 * BLOCK));
  backend.failure = "InvalidStateError";
  assert.deepEqual(await blocks.read(0, 6 * BLOCK), IMAGE.slice(0, 6 * BLOCK));
  assert.deepEqual(await blocks.read(0, 6 * BLOCK), IMAGE.slice(0, 6 * BLOCK));
  assert.deepEqual(failures, ["InvalidStateError"]);
  assert.equal(stats.hits.disk, 0);
});

test("without room no more is kept, and that is told of once; blocks that are kept are read", async () => {
  const backend = new Backend();
  const failures = [];
  const { blocks, stats } = reader(backend, failures);
  await blocks.read(0, BLOCK);
  await new Promise(resolve => setImmediate(resolve));
  backend.failure = "QuotaExceededError";
  await blocks.read(BLOCK, BLOCK);
  await new Promise(resolve => setImmediate(resolve));
  backend.failure = undefined;
  await blocks.read(2 * BLOCK, BLOCK);
  await blocks.read(0, BLOCK);
  assert.deepEqual(failures, ["QuotaExceededError"]);
  assert.equal(stats.hits.disk, 1);
  assert.equal(backend.values.size, 1);
});

test("a store is closed once, however often and at whatever time it is asked to", async () => {
  const { store } = reader(new Backend());
  await Promise.all([store.close(), store.close()]);
  await store.close();
});

test("a store is closed behind the notes that are on their way", async () => {
  const done = [];
  const backend = new Backend();
  backend.setNote = async name => {
    await new Promise(resolve => setImmediate(resolve));
    done.push(name);
  };
  backend.close = async () => void done.push("close");
  const { store } = reader(backend);
  store.setNote("extents", null);
  await store.close();
  assert.deepEqual(done, ["extents", "close"]);
});

test("a store that fails is cleared all the same, or says that it is not", async () => {
  const backend = new Backend();
  const { blocks, store } = reader(backend);
  await blocks.read(0, 4 * BLOCK);
  backend.failure = "InvalidStateError";
  await blocks.read(4 * BLOCK, BLOCK);
  await assert.rejects(store.clear(), { name: "InvalidStateError" });
  backend.failure = undefined;
  await store.clear();
  assert.equal(backend.values.size, 0);
});

test("pages are kept, those that were cleared are not; without room it is `quota` until there is some", async () => {
  const backend = new Backend();
  const pages = new SectorPages(1 << 20);
  const told = [];
  const keeper = new PageKeeper(new Store(backend, [], () => {}), pages, ({ code }) => told.push(code));
  await keeper.note(pages.write(0, bytesOf(1, 8192)));
  await keeper.note(pages.write(512, bytesOf(2, 512)));
  await keeper.flush();
  assert.deepEqual([...backend.values.keys()], [keyOfIndex(0), keyOfIndex(1)]);
  const back = new SectorPages(1 << 20);
  for (const [key, page] of backend.values) back.unpack(parseInt(key, 16), page);
  assert.deepEqual([...back.runs()], [...pages.runs()]);
  backend.failure = "QuotaExceededError";
  await keeper.note(pages.write(8192, bytesOf(3, 512)));
  await assert.rejects(keeper.flush(), { code: "quota" });
  await assert.rejects(keeper.note(pages.write(16384, bytesOf(4, 512))), { code: "quota" });
  backend.failure = undefined;
  await keeper.note(pages.write(16384, bytesOf(4, 512)));
  await keeper.flush();
  assert.deepEqual([...backend.values.keys()].map(key => parseInt(key, 16)).sort(), [0, 1, 2, 4]);
  await keeper.note(pages.clear());
  await keeper.close();
  assert.equal(backend.values.size, 0);
  assert.deepEqual(told, ["quota"]);
});

test("pages that were cleared away are kept again, all of them; without end they are not", async () => {
  const backend = new Backend();
  const pages = new SectorPages(1 << 20);
  const keeper = new PageKeeper(new Store(backend, [], () => {}), pages, () => {});
  await keeper.note(pages.write(0, bytesOf(1, 8192)));
  await keeper.flush();
  backend.values.clear();
  backend.failures = ["NotFoundError"];
  await keeper.flush();
  assert.deepEqual([...backend.values.keys()], [keyOfIndex(0), keyOfIndex(1)]);
  backend.failure = "NotFoundError";
  await assert.rejects(keeper.flush(), { code: "quota" });
});

test("an owner that does not answer is left alone for a while, and told of once", async () => {
  const backend = new Backend();
  const failures = [];
  const { blocks, store } = reader(backend, failures);
  await blocks.read(0, BLOCK);
  await new Promise(resolve => setImmediate(resolve));
  backend.failure = "TimeoutError";
  assert.deepEqual(await blocks.read(0, BLOCK), IMAGE.slice(0, BLOCK));
  assert.deepEqual(await blocks.read(0, BLOCK), IMAGE.slice(0, BLOCK));
  assert.equal(store.has(keyOfIndex(0)), false);
  assert.deepEqual(store.keys(), [keyOfIndex(0)]);
  assert.deepEqual(failures, ["TimeoutError"]);
});

test("a store takes what other tabs have kept and removed", async () => {
  const backend = new Backend();
  const { store } = reader(backend);
  backend.onNews({ added: ["a", "b"], removed: [] });
  backend.onNews({ added: ["c"], removed: ["a"] });
  assert.deepEqual(store.keys(), ["b", "c"]);
  backend.onNews({ isFresh: true, added: ["d"], removed: [] });
  assert.deepEqual(store.keys(), ["d"]);
});

test("SHA-256 of bytes that come in pieces of any lengths is that of the whole", () => {
  const bytes = bytesOf(5, 5000);
  for (const step of [1, 7, 55, 63, 64, 65, 127, 128, 129, 1000, 5000]) {
    const digest = new Sha256();
    for (let at = 0; at < bytes.length; at += step) digest.update(bytes.subarray(at, at + step));
    assert.equal(toHex(digest.update(new Uint8Array()).digest()), sha256(bytes), `${step}`);
  }
});

test("SHA-256 in plain JavaScript is the one of the platform", async () => {
  for (const length of [0, 1, 55, 56, 63, 64, 65, 119, 120, 1000, 100_003]) {
    const bytes = bytesOf(length, length);
    assert.equal(toHex(plainSha256(bytes)), sha256(bytes));
    assert.equal(await sha256Hex(bytes), sha256(bytes));
  }
});
