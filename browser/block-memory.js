/** Blocks in memory, those that were used last; and which of them were fetched before anybody asked. */

/** At most `limit` bytes of blocks. */
export class BlockMemory {
  #limit;
  #blocks = new Map();
  #unused = new Map();
  #bytes = 0;
  #unusedBytes = 0;

  constructor(limit) {
    this.#limit = limit;
  }

  /** The bytes that were prefetched and not read so far. */
  get unusedBytes() {
    return this.#unusedBytes;
  }

  /** @returns {Iterable<number>} the indexes of all blocks */
  indexes() {
    return this.#blocks.keys();
  }

  has(index) {
    return this.#blocks.has(index);
  }

  /** @returns {Uint8Array | undefined} the block, which becomes the one that was used last */
  get(index) {
    const block = this.#blocks.get(index);
    if (block !== undefined) {
      this.#blocks.delete(index);
      this.#blocks.set(index, block);
    }
    return block;
  }

  /** Keeps a block, and drops those that were not used for longest. */
  put(index, block, isPrefetched) {
    this.#drop(index);
    if (block.length > this.#limit) return;
    this.#blocks.set(index, block);
    this.#bytes += block.length;
    if (isPrefetched) {
      this.#unused.set(index, block.length);
      this.#unusedBytes += block.length;
    }
    for (const oldest of this.#blocks.keys()) {
      if (this.#bytes <= this.#limit) break;
      this.#drop(oldest);
    }
  }

  /** Notes that a block was read. @returns {number} its bytes, if it was prefetched and not read before; else 0 */
  noteUse(index) {
    const bytes = this.#unused.get(index) ?? 0;
    if (this.#unused.delete(index)) this.#unusedBytes -= bytes;
    return bytes;
  }

  clear() {
    this.#blocks.clear();
    this.#unused.clear();
    this.#bytes = this.#unusedBytes = 0;
  }

  #drop(index) {
    const block = this.#blocks.get(index);
    if (block === undefined) return;
    this.noteUse(index);
    this.#blocks.delete(index);
    this.#bytes -= block.length;
  }
}

/** @param {number[]} indexes in order @returns {[number, number][]} first indexes and counts of neighbours */
export function neighboursIn(indexes) {
  const found = [];
  for (const index of indexes) {
    const last = found.at(-1);
    if (last && last[0] + last[1] === index) last[1] += 1;
    else found.push([index, 1]);
  }
  return found;
}
