/** Blocks of one version in a persistent store, under keys that say what is in them. */

/** @returns {string} the key of a block that has no digest: its index */
export function keyOfIndex(index) {
  return index.toString(16).padStart(64, "0");
}

/** Blocks by their index. */
export class BlockStore {
  #store;
  #keyOf;
  #keys;

  /**
   * @param {import("./stores.js").Store} store
   * @param {(index: number) => string} keyOf a digest where there is one: versions share chunks
   * @param {string[]} [keys] the keys of all blocks, where they are digests
   */
  constructor(store, keyOf, keys) {
    this.#store = store;
    this.#keyOf = keyOf;
    this.#keys = keys;
  }

  /** @returns {number[]} the indexes of all blocks that are kept */
  indexes() {
    const all = this.#keys?.flatMap((key, index) => (this.#store.has(key) ? [index] : []));
    return all ?? this.#store.keys().flatMap(key => (this.#store.has(key) ? [parseInt(key, 16)] : []));
  }

  has(index) {
    return this.#store.has(this.#keyOf(index));
  }

  read(indexes) {
    return this.#store.read(indexes.map(this.#keyOf));
  }

  /** Keeps blocks, which follow each other in `bytes`. */
  write(first, bytes, blockSize) {
    const pairs = [];
    for (let at = 0, index = first; at < bytes.length; at += blockSize, index += 1) {
      pairs.push([this.#keyOf(index), bytes.slice(at, at + blockSize)]);
    }
    return this.#store.write(pairs);
  }
}
