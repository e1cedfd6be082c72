/** A disk image of aero-storage, read by ranges or by chunks. */

import { Addresses } from "./addresses.js";
import { BlockReader } from "./block-reader.js";
import { BlockStore } from "./block-store.js";
import { openContent } from "./content.js";
import { AeroDiskError, asAeroDiskError, throwIfAborted } from "./errors.js";
import { LeaseHolder } from "./leases.js";
import { checkedOptions } from "./options.js";
import { Prefetcher, savesData } from "./prefetcher.js";
import { fetchProfile, leavesProfileAlone } from "./profile.js";
import { RateMeter } from "./rate-meter.js";
import { ReadAhead } from "./read-ahead.js";
import { Requester } from "./requester.js";
import { RequestQueue } from "./request-queue.js";
import { Store } from "./stores.js";
import { withSignal } from "./waiting.js";

const EXTENTS_MILLISECONDS = 2000;
const WAITING_MILLISECONDS = 1000;
const PRIVATE = Symbol("AeroDisk.open makes disks");

/** Counts `requests` and `bytes` of the network, and where blocks came from. */
function freshStats() {
  return {
    requests: 0,
    bytes: 0,
    hits: { memory: 0, disk: 0, shared: 0 },
    zeroBytes: 0,
    prefetchedBytes: 0,
    prefetchedUsedBytes: 0,
    waits: 0,
  };
}

/**
 * A disk image. Events: `changed` (the image was replaced), `waiting` (a read waits for the network), `progress` (of a
 * prefetch), `error` (of something that nobody waits for); each has a `detail`.
 */
export class AeroDisk extends EventTarget {
  #addresses;
  #options;
  #stats = freshStats();
  #rate = new RateMeter();
  #queue;
  #requester;
  #content;
  #reader;
  #readAhead;
  #prefetcher;
  #store;
  #life = new AbortController();
  #confirming;
  #reprobing;
  #change;
  /** Events of the time before anybody can listen. */
  #early = [];

  /** Disks are opened by `AeroDisk.open`. */
  constructor(key, url, given) {
    super();
    if (key !== PRIVATE) throw new TypeError("disks are opened by AeroDisk.open");
    this.#options = checkedOptions(given);
    this.#addresses = new Addresses(url);
    this.#queue = new RequestQueue(this.#options.concurrency);
    this.#requester = new Requester({
      options: this.#options,
      leases: new LeaseHolder(this.#options.lease ?? this.#addresses.lease, this.#carrier()),
      queue: this.#queue,
      stats: this.#stats,
      confirm: () => this.#confirm(),
      onBytes: count => this.#rate.note(count),
      onWaiting: detail => this.#tell("waiting", detail),
    });
  }

  /**
   * Opens an image.
   *
   * @param {string | URL} url an image, a chunk manifest, or an image with a lease in its query
   * @param {object} [options] aero-disk.d.ts has them
   * @returns {Promise<AeroDisk>}
   */
  static async open(url, options = {}) {
    const { signal, ...others } = options;
    throwIfAborted(signal, "opening");
    const disk = new AeroDisk(PRIVATE, url, others);
    try {
      await withSignal(disk.#open(), signal);
    } catch (error) {
      await disk.close();
      throw error;
    }
    return disk;
  }

  /** The address of the image, without a lease. */
  get url() {
    return this.#addresses.name;
  }

  get size() {
    return this.#content.image.size;
  }

  /** What names these bytes, and no others; undefined where the server has no versions. */
  get version() {
    return this.#content.image.version;
  }

  /** The entity tag of these bytes, with its quotes. */
  get tag() {
    return this.#content.image.tag;
  }

  get blockSize() {
    return this.#content.blockSize;
  }

  /** Where blocks are kept beyond this session: `false` where they are not. */
  get persistent() {
    return this.#store?.kind ?? false;
  }

  /** Counters since the disk was opened, as they are now. */
  get stats() {
    return { ...this.#stats, hits: { ...this.#stats.hits } };
  }

  /**
   * Reads bytes.
   *
   * @param {number} offset
   * @param {number} length
   * @param {{signal?: AbortSignal}} [options]
   * @returns {Promise<Uint8Array>} exactly `length` bytes, all of this version
   */
  async read(offset, length, { signal } = {}) {
    this.#checkPart(offset, length);
    const timer = setTimeout(() => this.#tell("waiting", { reason: "slow", offset, length }), WAITING_MILLISECONDS);
    try {
      const reading = this.#reader.read(offset, length, signal);
      this.#goAhead(offset, length);
      return await reading;
    } catch (error) {
      if (error.code === "changed") this.#tellOfTag(error.tag);
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Fetches bytes that will be read, behind all reads. Stops where prefetches are not welcome: after a 429, and where
   * the user saves data.
   *
   * @returns {Promise<boolean>} whether all of them are here
   */
  async prefetch(offset, length, { signal } = {}) {
    this.#checkPart(offset, length);
    const prefetching = this.#prefetcher.follow([[offset, length]], this.#progress(length), { waits: false }, signal);
    return withSignal(prefetching, signal);
  }

  /**
   * Asks whether the image was replaced; if so, the disk is one of the new version from now on.
   *
   * @returns {Promise<boolean>} whether the disk is of another version than before
   */
  reprobe() {
    this.#reprobing ??= this.#reprobe().finally(() => { this.#reprobing = undefined; });
    return this.#reprobing;
  }

  /** Drops everything that is kept of the image. */
  async forget() {
    this.#reader.clear();
    await this.#store?.retain([]);
  }

  /** Ends everything under way; reads fail with `aborted` from now on. */
  async close() {
    const error = new AeroDiskError("aborted", "the disk is closed");
    this.#life.abort(error);
    this.#reader?.end(error);
    await this.#store?.close();
  }

  async #open() {
    await this.#use(await this.#findContent());
    await this.#begin();
    const early = this.#early;
    this.#early = undefined;
    // By then the caller has had its turn to add listeners.
    setTimeout(() => { for (const [type, detail] of early) this.#tell(type, detail); });
  }

  #findContent() {
    return openContent({
      requester: this.#requester,
      addresses: this.#addresses,
      options: this.#options,
      confirm: () => this.#confirm(),
      signal: this.#life.signal,
    });
  }

  async #use(content) {
    const { maxRequest, memory, readAhead } = this.#options;
    const { blockSize, source, image } = content;
    await this.#openStore(content);
    this.#content = content;
    this.#change = undefined;
    const store = this.#store && new BlockStore(this.#store, content.keyOf);
    this.#reader = new BlockReader({ size: image.size, blockSize, maxRequest, memory, source, queue: this.#queue, stats: this.#stats, store });
    this.#readAhead = new ReadAhead(Math.min(readAhead, Math.floor(memory / 4)));
    this.#prefetcher = new Prefetcher(this.#reader, this.#queue, this.#rate, Math.floor(memory / 2));
    if (this.#life.signal.aborted) this.#reader.end(this.#life.signal.reason);
  }

  async #openStore({ storeName, blockSize, keys }) {
    const { persistent } = this.#options;
    const old = this.#store;
    this.#store = undefined;
    await old?.close();
    if (!persistent) return;
    const onFailure = error => this.#failToKeep(error);
    this.#store = storeName && (await Store.open(persistent, [this.url, storeName], blockSize, { onFailure }));
    if (this.#life.signal.aborted) await this.#store?.close();
    else if (keys) this.#store?.retain(keys);
    if (this.persistent !== persistent) console.warn(`aero-disk: ${persistent} is not to be had; blocks are kept in ${this.persistent || "memory"}`);
  }

  #failToKeep(error) {
    const code = error?.name === "QuotaExceededError" ? "quota" : "damaged";
    this.#fail(new AeroDiskError(code, `blocks are not kept any more: ${error?.message ?? error}`, { cause: error }));
  }

  /** Waits for the map of zeros, for a while, and begins with the profile. */
  async #begin() {
    const reader = this.#reader;
    const zeros = this.#content.findZeros(this.#life.signal, this.#store).then(map => reader.useZeros(map), error => this.#fail(error));
    if (this.#options.profile && !savesData() && !leavesProfileAlone()) this.#followProfile().catch(error => this.#fail(error));
    let timer;
    await Promise.race([zeros, new Promise(resolve => { timer = setTimeout(resolve, EXTENTS_MILLISECONDS); })]);
    clearTimeout(timer);
  }

  async #followProfile() {
    const { signal } = this.#life;
    const prefetcher = this.#prefetcher;
    const { image } = this.#content;
    const found = await fetchProfile(this.#requester, this.#addresses, image, this.#options.profile, signal);
    const ranges = found.filter(([offset]) => offset < image.size);
    const total = ranges.reduce((sum, [, length]) => sum + length, 0);
    await prefetcher.follow(ranges, this.#progress(total), { waits: true }, signal);
  }

  #goAhead(offset, length) {
    const next = this.#readAhead.note(offset, length);
    if (!next || !this.#prefetcher.isWelcome) return;
    const within = Math.min(next.length, this.size - next.offset);
    if (within <= 0) return;
    this.#reader.prefetch(next.offset, within, this.#prefetcher.atOnce, this.#life.signal).catch(error => this.#fail(error));
  }

  #progress(total) {
    return loaded => this.#tell("progress", { loaded, total });
  }

  #checkPart(offset, length) {
    const isCount = value => Number.isSafeInteger(value) && value >= 0;
    if (!isCount(offset) || !isCount(length) || offset + length > this.size) {
      throw new RangeError(`${length} bytes from ${offset} on are not within the ${this.size} bytes of the disk`);
    }
  }

  /** Looks whether the image is still the one that is read; ends all reads if it is not. One look for all that ask. */
  #confirm() {
    this.#confirming ??= this.#look().finally(() => { this.#confirming = undefined; });
    return this.#confirming;
  }

  async #look() {
    const content = this.#content;
    const now = await content?.lookForChange();
    if (!now) return;
    const error = new AeroDiskError("changed", `${this.url} was replaced: its tag is ${now.tag} instead of ${content.image.tag}`);
    if (content === this.#content) {
      this.#reader.end(error);
      this.#tellChange(now);
    }
    throw error;
  }

  async #reprobe() {
    throwIfAborted(this.#life.signal, "looking at the image");
    const { image } = this.#content;
    const now = await this.#content.lookForChange();
    if (!now && !this.#change) return false;
    const content = await this.#findContent();
    this.#reader.end(new AeroDiskError("changed", `${this.url} was replaced`));
    if (now) this.#tellChange(content.image);
    await this.#use(content);
    await this.#begin();
    return image.version !== content.image.version || image.tag !== content.image.tag;
  }

  #tellChange(now) {
    const { version, tag, size } = now;
    if (this.#change?.tag === tag && this.#change.version === version) return;
    this.#change = { version, tag, size };
    this.#tell("changed", { version, tag, size, old: { ...this.#content.image } });
  }

  /** Tells of answers with another tag, where the metadata goes on with this one. */
  #tellOfTag(tag) {
    if (tag === undefined || this.#change) return;
    this.#tellChange({ version: undefined, tag, size: this.size });
  }

  /** Tells of a failure that no read has; those who wait for bytes have it from their own request. */
  #fail(error) {
    if (this.#life.signal.aborted || error?.status === 429) return;
    if (["changed", "aborted"].includes(error?.code)) return;
    this.#tell("error", { error: asAeroDiskError(error) });
  }

  #tell(type, detail) {
    if (this.#early) return void this.#early.push([type, detail]);
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #carrier() {
    const { leaseCarrier, lease } = this.#options;
    return leaseCarrier === "auto" && lease === undefined && this.#addresses.lease !== undefined ? "query" : leaseCarrier;
  }
}
