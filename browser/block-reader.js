/** Reads one version of an image block by block: from memory, from requests under way, from a store, from the network. */

import { BlockMemory } from "./block-memory.js";
import { throwIfAborted } from "./errors.js";
import { Job } from "./request-queue.js";
import { linkedController, withSignal } from "./waiting.js";

/** One request for neighbouring blocks, and everybody who waits for it. It is given up when nobody does any more. */
class Run {
  waiters = 0;
  controller = new AbortController();

  constructor(first, job) {
    this.first = first;
    this.count = 1;
    this.job = job;
    this.isPrefetch = !job.urgent;
    /** Whether the one who began it may still add blocks. */
    this.isOpen = true;
  }

  /** Waits for the bytes, as one of several. */
  async wait(signal) {
    this.waiters += 1;
    try {
      return await withSignal(this.bytes, signal);
    } finally {
      this.waiters -= 1;
      if (this.waiters === 0) this.controller.abort();
    }
  }
}

/** Blocks of one version. */
export class BlockReader {
  #size;
  #blockSize;
  #blocksAtOnce;
  #source;
  #queue;
  #stats;
  #zeros;
  #memory;
  #runs = new Map();
  #life = new AbortController();
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
   */
  constructor({ size, blockSize, maxRequest, memory, source, queue, stats }) {
    this.#size = size;
    this.#blockSize = blockSize;
    this.#blocksAtOnce = Math.min(source.blocksAtOnce, Math.max(1, Math.floor(maxRequest / blockSize)));
    this.#source = source;
    this.#queue = queue;
    this.#stats = stats;
    this.#memory = new BlockMemory(memory);
  }

  get blockSize() {
    return this.#blockSize;
  }

  /** Bytes that were prefetched and not read so far. */
  get unusedBytes() {
    return this.#memory.unusedBytes;
  }

  /** Takes a map of the zeros: what it calls zero is not fetched from now on. */
  useZeros(zeros) {
    this.#zeros = zeros;
  }

  /** Drops the blocks in memory. */
  clear() {
    this.#memory.clear();
  }

  /** Ends everything under way; every read fails with `error` from now on. */
  end(error) {
    this.#error ??= error;
    this.#life.abort(error);
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
      if (!this.#memory.has(index) && !this.#isZero(index)) this.#request(index, false, blocks, waits);
    }
    await this.#all(signal, linked => waits.map(({ run }) => this.#orError(run.wait(linked))));
  }

  /** @returns {number} bytes of blocks of this part that are neither here nor on the way */
  missing(offset, length) {
    let bytes = 0;
    for (const index of this.#indexes(offset, length)) {
      if (!this.#memory.has(index) && !this.#runs.has(index) && !this.#isZero(index)) bytes += this.#lengthOf(index);
    }
    return bytes;
  }

  *#indexes(offset, length) {
    const end = Math.min(offset + length, this.#size);
    for (let index = Math.floor(offset / this.#blockSize); index * this.#blockSize < end; index += 1) yield index;
  }

  #lengthOf(index) {
    return Math.min(this.#blockSize, this.#size - index * this.#blockSize);
  }

  #isZero(index) {
    const start = index * this.#blockSize;
    return this.#zeros?.isZero(start, start + this.#lengthOf(index)) ?? false;
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
    } else if (last?.isOwn && last.run.isOpen && last.run.first + last.run.count === index && last.run.count < blocksAtOnce) {
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
    const run = new Run(index, new Job(urgent));
    this.#runs.set(index, run);
    const stop = () => run.controller.abort();
    this.#life.signal.addEventListener("abort", stop, { once: true });
    run.bytes = Promise.resolve()
      .then(() => this.#fetch(run))
      .finally(() => this.#life.signal.removeEventListener("abort", stop));
    run.bytes.catch(() => {}); // those who wait have it too
    return run;
  }

  async #fetch(run) {
    run.isOpen = false;
    const start = run.first * this.#blockSize;
    const length = Math.min(run.count * this.#blockSize, this.#size - start);
    try {
      const bytes = await this.#source.fetch(start, length, run.job, run.controller.signal);
      if (!this.#error) this.#keep(run, bytes);
      return bytes;
    } finally {
      for (let index = run.first; index < run.first + run.count; index += 1) {
        if (this.#runs.get(index) === run) this.#runs.delete(index); // one that was given up may have a successor
      }
    }
  }

  #keep(run, bytes) {
    if (run.isPrefetch) this.#stats.prefetchedBytes += bytes.length;
    if (run.count === 1) return this.#memory.put(run.first, bytes, run.isPrefetch);
    for (let at = 0, index = run.first; at < bytes.length; at += this.#blockSize, index += 1) {
      this.#memory.put(index, bytes.slice(at, at + this.#blockSize), run.isPrefetch); // a copy: a part would keep the whole
    }
  }

  async #finish(waits, signal) {
    this.#stats.waits += 1;
    await this.#all(signal, linked => waits.map(wait => this.#finishOne(wait, linked)));
  }

  async #finishOne({ run, target }, signal) {
    let bytes;
    try {
      bytes = await this.#orError(run.wait(signal));
    } catch (error) {
      if (!run.isPrefetch || signal.aborted || !["network", "aborted"].includes(error.code)) throw error;
      return this.#readAgain(run, target, signal); // prefetches are given up early
    }
    for (let index = run.first; index < run.first + run.count; index += 1) {
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

  /** The error that ended this reader says more than that a run was given up. */
  async #orError(promise) {
    try {
      return await promise;
    } catch (error) {
      throw this.#error ?? error;
    }
  }

  /** Waits for all; after the first failure nobody here waits for the others any more. */
  async #all(signal, begin) {
    const linked = linkedController(signal);
    try {
      await Promise.all(begin(linked.signal));
    } catch (error) {
      linked.abort(error);
      throw error;
    } finally {
      linked.unlink();
    }
  }
}

/** @returns {{from: number, to: number, length: number}} the part of a block that a read wants, and where it goes */
function copyable(start, blockLength, { whole, offset }) {
  const begin = Math.max(start, offset);
  const end = Math.min(start + blockLength, offset + whole.length);
  return { from: begin - start, to: begin - offset, length: end - begin };
}
