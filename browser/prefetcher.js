/** Fetches long lists of ranges ahead, a few requests at a time, as long as that is welcome. */

import { AeroDiskError } from "./errors.js";
import { pause } from "./waiting.js";

const LEAST_AT_ONCE = 256 << 10;
const MOST_AT_ONCE = 4 << 20;
const LOOK_MILLISECONDS = 100;
const TURN_MILLISECONDS = 10;

/** @returns {boolean} whether the user asked browsers to save data */
export function savesData() {
  return globalThis.navigator?.connection?.saveData === true;
}

/** Prefetches through a BlockReader. */
export class Prefetcher {
  #reader;
  #queue;
  #rate;
  #mostUnused;

  /**
   * @param {import("./block-reader.js").BlockReader} reader
   * @param {import("./request-queue.js").RequestQueue} queue
   * @param {import("./rate-meter.js").RateMeter} rate
   * @param {number} mostUnused bytes that may wait in memory for a first read
   */
  constructor(reader, queue, rate, mostUnused) {
    this.#reader = reader;
    this.#queue = queue;
    this.#rate = rate;
    this.#mostUnused = mostUnused;
  }

  /** Whether prefetches are welcome: not after a 429, and not where the user saves data. */
  get isWelcome() {
    return !this.#queue.isRefused && !savesData();
  }

  /** Bytes of one request: as many as come in a quarter of a second, so that no read waits long for one. */
  get atOnce() {
    const likely = Math.min(MOST_AT_ONCE, this.#rate.quarterSecond);
    return Math.max(LEAST_AT_ONCE, this.#reader.blockSize, likely);
  }

  /**
   * Fetches the ranges in their order.
   *
   * @param {Iterable<[number, number]>} ranges first bytes and lengths
   * @param {(loaded: number) => void} onProgress told the bytes of the ranges that are here
   * @param {{waits: boolean}} options `waits`: whether to wait while memory is full of what nobody has read
   * @returns {Promise<boolean>} false if it stopped as it was not welcome any more
   */
  async follow(ranges, onProgress, { waits }, signal) {
    const under = new Set();
    let loaded = 0;
    let failure;
    let turn = performance.now();
    for (const [offset, length] of this.#pieces(ranges)) {
      while (!failure && (under.size >= this.#places || (waits && this.#isFull))) {
        const before = performance.now();
        await this.#change(under, signal);
        if (performance.now() - before >= 1) turn = performance.now(); // others had theirs meanwhile
      }
      if (performance.now() - turn > TURN_MILLISECONDS) {
        await pause(0, signal); // holes and blocks that are here are no wait
        turn = performance.now();
      }
      if (failure || !this.isWelcome) break;
      const piece = this.#reader
        .prefetch(offset, length, this.atOnce, signal)
        .then(
          () => onProgress((loaded += length)),
          error => {
            failure ??= error;
          },
        )
        .finally(() => under.delete(piece));
      under.add(piece);
    }
    await Promise.all(under);
    if (failure && !isRefusal(failure)) throw failure;
    return failure === undefined && this.isWelcome;
  }

  get #places() {
    return Math.max(1, Math.floor(this.#queue.limit / 2));
  }

  get #isFull() {
    return this.#reader.unusedBytes >= this.#mostUnused;
  }

  #change(under, signal) {
    return under.size >= this.#places ? Promise.race(under) : pause(LOOK_MILLISECONDS, signal);
  }

  *#pieces(ranges) {
    for (const [offset, length] of ranges) {
      for (let done = 0; done < length;) {
        const piece = Math.min(this.atOnce, length - done);
        yield [offset + done, piece];
        done += piece;
      }
    }
  }
}

function isRefusal(error) {
  return error instanceof AeroDiskError && error.status === 429;
}
