/** One version of an image while a disk reads it: its blocks, prefetches, and store. */

import { BlockReader } from "./block-reader.js";
import { BlockStore } from "./block-store.js";
import { AeroDiskError } from "./errors.js";
import { Prefetcher } from "./prefetcher.js";
import { KeptProfile, NamedParts } from "./profile.js";
import { ReadAhead } from "./read-ahead.js";
import { Store } from "./stores.js";
import { atMost } from "./waiting.js";

const EXTENTS_MILLISECONDS = 2000;

/**
 * The parts of a disk that outlive its versions.
 *
 * @typedef {object} Surroundings
 * @property {object} options
 * @property {import("./requester.js").Requester} requester
 * @property {import("./addresses.js").Addresses} addresses
 * @property {import("./request-queue.js").RequestQueue} queue
 * @property {import("./rate-meter.js").RateMeter} rate
 * @property {object} stats
 * @property {AbortSignal} signal aborted when the disk is closed
 * @property {(detail: {loaded: number, total: number}) => void} onProgress
 * @property {(error: unknown) => void} onFailure told of failures that no read has
 */

/** Reads one version. */
export class VersionReader {
  #around;
  #store;
  #blocks;
  #readAhead;
  #prefetcher;
  /** The parts that the profile in force names. */
  #named;

  /** Versions are opened by `VersionReader.open`. */
  constructor(around, content, store) {
    const { options, queue, rate, stats } = around;
    const { memory, readAhead, maxRequest } = options;
    this.#around = around;
    this.content = content;
    this.#store = store;
    this.#blocks = new BlockReader({
      size: content.image.size,
      blockSize: content.blockSize,
      source: content.source,
      store: store && new BlockStore(store, content.keyOf, content.keys),
      maxRequest,
      memory,
      queue,
      stats,
    });
    this.#readAhead = new ReadAhead(Math.min(readAhead, Math.floor(memory / 4)));
    this.#prefetcher = new Prefetcher(this.#blocks, queue, rate, Math.floor(memory / 2));
  }

  /**
   * Opens a version: waits for the map of zeros, for a while, and begins with the profile.
   *
   * @param {Surroundings} around
   * @param {import("./content.js").Content} content
   */
  static async open(around, content) {
    const version = new VersionReader(around, content, await openStore(around, content));
    if (!around.signal.aborted) await version.#begin();
    if (around.signal.aborted) await version.end(around.signal.reason); // the disk was closed meanwhile
    return version;
  }

  /** The kind of store that keeps blocks beyond the session; undefined: none does. */
  get storeKind() {
    return this.#store?.kind;
  }

  /** Reads bytes, and fetches the next ones ahead. */
  read(offset, length, signal) {
    const reading = this.#blocks.read(offset, length, signal);
    if (length > 0) this.#goAhead(offset, length);
    return reading;
  }

  /** @returns {Promise<boolean>} whether all is here; false: prefetches are not welcome */
  prefetch(offset, length, signal) {
    return this.#prefetcher.follow([[offset, length]], this.#progress(length), { waits: false }, signal);
  }

  /** @returns {[number, number][]} first bytes and lengths of what is here */
  coverage() {
    return this.#blocks.coverage();
  }

  async forget() {
    this.#blocks.clear();
    await this.#store?.clear().catch(cause => {
      throw new AeroDiskError("damaged", `what is kept cannot be dropped: ${cause.message}`, { cause });
    });
  }

  /** Every read fails with `error` from now on. */
  fail(error) {
    this.#blocks.end(error);
  }

  async end(error) {
    this.fail(error);
    await this.#store?.close();
  }

  async #begin() {
    const { onFailure } = this.#around;
    const found = this.content
      .findZeros(this.#store)
      .then(map => this.#blocks.useZeros(map))
      .catch(onFailure);
    const zeros = atMost(found, EXTENTS_MILLISECONDS);
    if (this.content.hints.wantsProfile) this.#followProfile(zeros).catch(onFailure);
    await zeros;
  }

  async #followProfile(zeros) {
    const { signal } = this.#around;
    const ranges = await this.#missingProfile(zeros);
    await zeros; // a profile may name holes, of which nothing is to be fetched
    const total = ranges.reduce((sum, [, length]) => sum + length, 0);
    await this.#prefetcher.follow(ranges, this.#progress(total), { waits: true }, signal);
  }

  /** @returns {Promise<[number, number][]>} the ranges of the profile; none if the store has all of that */
  async #missingProfile(zeros) {
    const { image, hints } = this.content;
    const kept = new KeptProfile(this.#store, image, this.#around.options.profile);
    const known = await kept.ranges();
    if (known) {
      this.#named = new NamedParts(known);
      await zeros;
      if (known.every(([offset, length]) => this.#blocks.keeps(offset, length))) return [];
    }
    const found = await hints.profile(image);
    const within = found.filter(([offset]) => offset < image.size);
    const ranges = within.map(([offset, length]) => [offset, Math.min(length, image.size - offset)]);
    this.#named = new NamedParts(ranges);
    await kept.keep(ranges);
    return ranges;
  }

  /** Fetches ahead; from within a part that the profile names no further than that goes, as guests stop there. */
  #goAhead(offset, length) {
    const next = this.#readAhead.note(offset, length, this.#named?.endAt(offset + length - 1));
    if (!next || !this.#prefetcher.isWelcome) return;
    const within = Math.min(next.length, this.content.image.size - next.offset);
    const { signal, onFailure } = this.#around;
    const atOnce = Math.max(this.#prefetcher.atOnce, length);
    if (within > 0) this.#blocks.prefetch(next.offset, within, atOnce, signal).catch(onFailure);
  }

  #progress(total) {
    return loaded => this.#around.onProgress({ loaded, total });
  }
}

/** @returns {Promise<Store | undefined>} the store that was asked for, or another one, or none */
async function openStore({ options: { persistent }, addresses, onFailure }, { storeName, blockSize, keys }) {
  if (!persistent) return undefined;
  const store =
    storeName &&
    (await Store.open(persistent, [addresses.name, storeName], blockSize, {
      onFailure: error => onFailure(keepingError(error)),
    }));
  if (keys) store?.retain(keys);
  if (store?.kind !== persistent) {
    console.warn(`aero-disk: ${persistent} is not to be had; blocks are kept in ${store?.kind ?? "memory"}`);
  }
  return store;
}

function keepingError(error) {
  const code = error?.name === "QuotaExceededError" ? "quota" : "damaged";
  return new AeroDiskError(code, `blocks are not kept any more: ${error?.message ?? error}`, { cause: error });
}
