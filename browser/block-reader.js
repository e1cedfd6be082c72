/** Reads one version of an image block by block: from memory, requests under way, a store, or the network. */

import { BlockMemory, neighboursIn } from "./block-memory.js";
import { copyable, joined, Run } from "./block-run.js";
import { throwIfAborted } from "./errors.js";
import { Job } from "./request-queue.js";
import { withSignal } from "./waiting.js";

/** Blocks of one version. */
export class BlockReader {
  #size;
  #blockSize;
  #blocksAtOnce;
  #source;
  #queue;
  #stats;
  #store;
  #zeros;
  #memory;
  #runs = new Map();
  #error;

  /**
   * @param {object} parts
   * @param {number} parts.size
   * @param {number} parts.blockSize
   * @param {number} parts.maxRequest bytes that one request asks for at most
   * @param {number} parts.memory bytes of blocks that are kept
   * @param {{fetch: Function, blocksAtOnce: number}} parts.source
   * @param {import("./request-queue.js").RequestQueue} parts.queue
   * @param {object} parts.stats
   * @param {import("./block-store.js").BlockStore | undefined} parts.store
   */
  constructor({ size, blockSize, maxRequest, memory, source, queue, stats, store }) {
    this.#size = size;
    this.#blockSize = blockSize;
    this.#blocksAtOnce = Math.min(source.blocksAtOnce, Math.max(1, Math.floor(maxRequest / blockSize)));
    this.#source = source;
    this.#queue = queue;
    this.#stats = stats;
    this.#store = store;
    this.#memory = new BlockMemory(memory);
  }

  get blockSize() {
    return this.#blockSize;
  }

  /** Bytes that were prefetched and not read so far. */
  get unusedBytes() {
    return this.#memory.unusedBytes;
  }

  /** Takes a map of the zeros: zeros are not fetched from now on. */
  useZeros(zeros) {
    this.#zeros = zeros;
  }

  /** @returns {boolean} whether the store has all blocks of a part that are not zeros */
  keeps(offset, length) {
    for (const index of this.#indexes(offset, length)) {
      if (!this.#isZero(index) && !this.#isStored(index)) return false;
    }
    return true;
  }

  /** @returns {[number, number][]} first bytes and lengths of what is in memory or in the store, in order */
  coverage() {
    const indexes = new Set([...this.#memory.indexes(), ...(this.#store?.indexes() ?? [])]);
    return neighboursIn([...indexes].sort((one, other) => one - other)).map(([first, count]) => {
      const start = first * this.#blockSize;
      return [start, Math.min(count * this.#blockSize, this.#size - start)];
    });
  }

  /** Drops the blocks in memory. */
  clear() {
    this.#memory.clear();
  }

  /** Ends everything under way; every read fails with `error` from now on. */
  end(error) {
    this.#error ??= error;
    for (const run of new Set(this.#runs.values())) run.controller.abort();
    this.#memory.clear();
  }

  /** @returns {Promise<Uint8Array>} exactly these bytes, which the caller may keep */
  async read(offset, length, signal) {
    throwIfAborted(signal);
    const whole = new Uint8Array(length);
    const waits = this.#collect(offset, whole);
    if (waits.length) await this.#finish(waits, signal);
    if (this.#error) throw this.#error;
    return whole;
  }

  /**
   * Fetches blocks that are not here, behind all reads.
   *
   * @param {number} atOnce bytes of one request at most
   * @returns {Promise<void>} rejects with the first failure
   */
  async prefetch(offset, length, atOnce, signal) {
    const blocks = Math.min(this.#blocksAtOnce, Math.max(1, Math.floor(atOnce / this.#blockSize)));
    if (this.#error) throw this.#error;
    const waits = [];
    for (const index of this.#indexes(offset, length)) {
      if (!this.#memory.has(index) && !this.#isZero(index) && !this.#isStored(index))
        this.#request(index, false, blocks, waits);
    }
    await this.#all(waits, signal, ({ run }) => run.bytes);
  }

  *#indexes(offset, length) {
    const end = length > 0 ? Math.min(offset + length, this.#size) : 0;
    for (let index = Math.floor(offset / this.#blockSize); index * this.#blockSize < end; index += 1) yield index;
  }

  #lengthOf(index) {
    return Math.min(this.#blockSize, this.#size - index * this.#blockSize);
  }

  #isZero(index) {
    const start = index * this.#blockSize;
    return this.#zeros?.isZero(start, start + this.#lengthOf(index)) ?? false;
  }

  #isStored(index) {
    return this.#store?.has(index) ?? false;
  }

  /** Copies what is here into `whole`. @returns {object[]} the runs to wait for, each with what to copy of it */
  #collect(offset, whole) {
    const waits = [];
    if (this.#error) throw this.#error;
    for (const index of this.#indexes(offset, whole.length)) {
      const target = { whole, offset };
      const held = this.#memory.get(index);
      if (held !== undefined) {
        this.#stats.hits.memory += 1;
        this.#deliver(index, held, 0, target);
      } else if (this.#isZero(index)) {
        this.#stats.zeroBytes += copyable(index * this.#blockSize, this.#lengthOf(index), target).length;
      } else {
        this.#request(index, true, this.#blocksAtOnce, waits, target);
      }
    }
    return waits;
  }

  /** Adds a wait for the run that brings a block: one under way, the one before if it can be longer, or a new one. */
  #request(index, urgent, blocksAtOnce, waits, target) {
    const known = this.#runs.get(index);
    const last = waits.at(-1);
    if (known && !known.controller.signal.aborted) {
      if (urgent) this.#hurry(known);
      if (known !== last?.run) waits.push({ run: known, target });
    } else if (last?.isOwn && last.run.mayTake(index, this.#isStored(index), blocksAtOnce)) {
      last.run.count += 1;
      this.#runs.set(index, last.run);
    } else {
      const run = this.#start(index, urgent);
      waits.push({ run, target, isOwn: true });
    }
  }

  #hurry(run) {
    if (!run.job.urgent) {
      run.job.urgent = true;
      this.#queue.start();
    }
    this.#stats.hits.shared += 1;
  }

  /** Begins a run, which takes up further blocks until the caller is through with its own. */
  #start(index, urgent) {
    const run = new Run(index, new Job(urgent), this.#isStored(index));
    this.#runs.set(index, run);
    run.bytes = Promise.resolve().then(() => this.#fetch(run));
    run.bytes.catch(() => {}); // those who wait have it too
    return run;
  }

  async #fetch(run) {
    run.isOpen = false;
    try {
      const bytes = (run.isStored && (await this.#fromStore(run))) || (await this.#fromSource(run));
      if (!this.#error) this.#keep(run, bytes);
      return bytes;
    } finally {
      for (const index of run.indexes) {
        if (this.#runs.get(index) === run) this.#runs.delete(index); // one that was given up may have a successor
      }
    }
  }

  /** @returns {Promise<Uint8Array | undefined>} undefined if the store does not have all of it any more */
  async #fromStore(run) {
    const blocks = await this.#store.read(run.indexes);
    const isWhole = blocks.every((block, at) => block?.length === this.#lengthOf(run.first + at));
    if (!isWhole) return undefined;
    this.#stats.hits.disk += run.count;
    return joined(blocks);
  }

  async #fromSource(run) {
    const start = run.first * this.#blockSize;
    const length = Math.min(run.count * this.#blockSize, this.#size - start);
    const bytes = await this.#source.fetch(start, length, run.job, run.controller.signal);
    if (!this.#error) this.#store?.write(run.first, bytes, this.#blockSize);
    return bytes;
  }

  #keep(run, bytes) {
    if (run.isPrefetch) this.#stats.prefetchedBytes += bytes.length;
    this.#memory.put(run.first, bytes, this.#blockSize, run.isPrefetch);
  }

  async #finish(waits, signal) {
    if (waits.some(({ run }) => !run.isStored)) this.#stats.waits += 1;
    await this.#all(waits, signal, (wait, all) => this.#finishOne(wait, signal, all));
  }

  async #finishOne({ run, target }, signal, all) {
    let bytes;
    try {
      bytes = await run.bytes;
    } catch (error) {
      const mayTryAgain =
        run.isPrefetch && !all.isOver && !this.#error && ["network", "aborted"].includes(error.code);
      if (!mayTryAgain) throw error;
      return this.#readAgain(run, target, signal); // prefetches are given up early
    }
    for (const index of run.indexes) {
      this.#deliver(index, bytes, (index - run.first) * this.#blockSize, target);
    }
  }

  async #readAgain(run, target, signal) {
    const { from, to, length } = copyable(run.first * this.#blockSize, run.count * this.#blockSize, target);
    target.whole.set(await this.read(run.first * this.#blockSize + from, length, signal), to);
  }

  /** Copies what `target` wants of a block, which begins at `at` in `bytes`. */
  #deliver(index, bytes, at, target) {
    const { from, to, length } = copyable(index * this.#blockSize, this.#lengthOf(index), target);
    if (length <= 0) return;
    target.whole.set(bytes.subarray(at + from, at + from + length), to);
    this.#stats.prefetchedUsedBytes += this.#memory.noteUse(index);
  }

  /** Waits for all runs; after the first failure nobody here waits for the others any more. */
  async #all(waits, signal, act) {
    const all = { isOver: false };
    const leaves = waits.map(({ run }) => run.join());
    try {
      await withSignal(Promise.all(waits.map(wait => act(wait, all))), signal);
    } catch (error) {
      throw this.#error ?? error; // it says more than that a run was given up
    } finally {
      all.isOver = true;
      for (const leave of leaves) leave();
    }
  }
}
