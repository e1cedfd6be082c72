/** Blocks in memory, those that were used last; and which of them were fetched before anybody asked. */

/** The bytes of one answer stay in one piece, if memory holds this many pieces of that size. */
const PIECES = 8;

/** Blocks that lie one behind the other in `bytes`, and leave memory together. */
class Piece {
  constructor(first, bytes, blockSize) {
    this.first = first;
    this.bytes = bytes;
    this.blockSize = blockSize;
    this.kept = new Set(Array.from({ length: Math.ceil(bytes.length / blockSize) }, (_, at) => first + at));
  }

  block(index) {
    const at = (index - this.first) * this.blockSize;
    return this.bytes.subarray(at, at + this.blockSize);
  }
}

/** At most `limit` bytes of blocks. */
export class BlockMemory {
  #limit;
  #pieces = new Set();
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

  /** @returns {Uint8Array | undefined} the block, which becomes one of those that were used last */
  get(index) {
    const piece = this.#blocks.get(index);
    if (piece === undefined) return undefined;
    this.#pieces.delete(piece);
    this.#pieces.add(piece);
    return piece.block(index);
  }

  /** Keeps blocks, which follow each other in `bytes`; drops those that were not used for longest. */
  put(first, bytes, blockSize, isPrefetched) {
    if (bytes.length <= this.#limit / PIECES) return this.#put(new Piece(first, bytes, blockSize), isPrefetched);
    for (let at = 0, index = first; at < bytes.length; at += blockSize, index += 1) {
      this.#put(new Piece(index, bytes.slice(at, at + blockSize), blockSize), isPrefetched);
    }
  }

  /** Notes that a block was read. @returns {number} its bytes, if it was prefetched and not read before; else 0 */
  noteUse(index) {
    const bytes = this.#unused.get(index) ?? 0;
    if (this.#unused.delete(index)) this.#unusedBytes -= bytes;
    return bytes;
  }

  clear() {
    this.#pieces.clear();
    this.#blocks.clear();
    this.#unused.clear();
    this.#bytes = this.#unusedBytes = 0;
  }

  #put(piece, isPrefetched) {
    for (const index of piece.kept) this.#drop(index);
    if (piece.bytes.length > this.#limit) return;
    this.#pieces.add(piece);
    this.#bytes += piece.bytes.length;
    for (const index of piece.kept) {
      this.#blocks.set(index, piece);
      if (isPrefetched) this.#noteUnused(index, piece.block(index).length);
    }
    for (const oldest of this.#pieces) {
      if (this.#bytes <= this.#limit) break;
      for (const index of oldest.kept) this.#drop(index);
    }
  }

  #noteUnused(index, bytes) {
    this.#unused.set(index, bytes);
    this.#unusedBytes += bytes;
  }

  /** Drops a block; its piece goes with the last one of it. */
  #drop(index) {
    const piece = this.#blocks.get(index);
    if (piece === undefined) return;
    this.noteUse(index);
    this.#blocks.delete(index);
    piece.kept.delete(index);
    if (piece.kept.size) return;
    this.#pieces.delete(piece);
    this.#bytes -= piece.bytes.length;
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
