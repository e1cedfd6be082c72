/** A disk image of aero-storage, read by ranges or by chunks. */

import { Addresses } from "./addresses.js";
import { openContent } from "./content.js";
import { AeroDiskError, asAeroDiskError, throwIfAborted } from "./errors.js";
import { LeaseHolder } from "./leases.js";
import { isSame } from "./metadata.js";
import { checkedOptions } from "./options.js";
import { RateMeter } from "./rate-meter.js";
import { Requester } from "./requester.js";
import { RequestQueue } from "./request-queue.js";
import { VersionReader } from "./version-reader.js";
import { withSignal } from "./waiting.js";

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
 * A disk image. Events: `changed` (the image was replaced), `waiting` (a read waits for the network), `progress` (of
 * a prefetch), `error` (of something that nobody waits for); each has a `detail`.
 */
export class AeroDisk extends EventTarget {
  #addresses;
  #options;
  #stats = freshStats();
  #rate = new RateMeter();
  #queue;
  #requester;
  #version;
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
    return this.#version.content.image.size;
  }

  /** Names these bytes, and no others; undefined where the server has no versions. */
  get version() {
    return this.#version.content.image.version;
  }

  /** The entity tag of these bytes, with its quotes. */
  get tag() {
    return this.#version.content.image.tag;
  }

  get blockSize() {
    return this.#version.content.blockSize;
  }

  /** Where blocks are kept beyond this session: `false` where they are not. */
  get persistent() {
    return this.#version.storeKind ?? false;
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
      return await this.#version.read(offset, length, signal);
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
    throwIfAborted(signal, "prefetching");
    return withSignal(this.#version.prefetch(offset, length, signal), signal);
  }

  /** @returns {[number, number][]} first bytes and lengths of all that is here, in memory or kept, zeros apart */
  coverage() {
    return this.#version.coverage();
  }

  /**
   * Asks whether the image was replaced; if so, the disk is one of the new version from now on.
   *
   * @returns {Promise<boolean>} whether the disk is of another version than before
   */
  reprobe() {
    this.#reprobing ??= this.#reprobe().finally(() => {
      this.#reprobing = undefined;
    });
    return this.#reprobing;
  }

  /** Drops everything that is kept of the image. */
  async forget() {
    await this.#version.forget();
  }

  /** Ends everything under way; reads fail with `aborted` from now on. */
  async close() {
    const error = new AeroDiskError("aborted", "the disk is closed");
    this.#life.abort(error);
    this.#queue.end();
    await this.#version?.end(error);
  }

  async #open() {
    await this.#use(await this.#findContent());
    const early = this.#early;
    this.#early = undefined;
    // By then the caller has had its turn to add listeners.
    setTimeout(() => {
      for (const [type, detail] of early) this.#tell(type, detail);
    });
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
    this.#change = undefined;
    this.#version = await VersionReader.open(this.#surroundings(), content);
  }

  #surroundings() {
    return {
      options: this.#options,
      requester: this.#requester,
      addresses: this.#addresses,
      queue: this.#queue,
      rate: this.#rate,
      stats: this.#stats,
      signal: this.#life.signal,
      onProgress: detail => this.#tell("progress", detail),
      onFailure: error => this.#fail(error),
    };
  }

  #checkPart(offset, length) {
    const isCount = value => Number.isSafeInteger(value) && value >= 0;
    if (!isCount(offset) || !isCount(length) || offset + length > this.size) {
      throw new RangeError(`${length} bytes from ${offset} on are not within the ${this.size} bytes of the disk`);
    }
  }

  /**
   * Looks whether the image is still the one that is read; ends all reads if it is not. One look for all that ask.
   */
  #confirm() {
    this.#confirming ??= this.#look().finally(() => {
      this.#confirming = undefined;
    });
    return this.#confirming;
  }

  async #look() {
    const version = this.#version;
    const now = await version?.content.lookForChange();
    if (!now) return;
    const error = new AeroDiskError(
      "changed",
      `${this.url} was replaced: its tag is ${now.tag} instead of ${version.content.image.tag}`,
    );
    if (version === this.#version) {
      version.fail(error);
      this.#tellChange(now);
    }
    throw error;
  }

  async #reprobe() {
    throwIfAborted(this.#life.signal, "looking at the image");
    const old = this.#version;
    const now = await old.content.lookForChange();
    if (!now && !this.#change) return false;
    const content = await this.#findContent();
    await old.end(new AeroDiskError("changed", `${this.url} was replaced`));
    if (now) this.#tellChange(content.image);
    await this.#use(content);
    return !isSame(old.content.image, content.image);
  }

  #tellChange(now) {
    const { version, tag, size } = now;
    if (this.#change?.tag === tag && this.#change.version === version) return;
    this.#change = { version, tag, size };
    this.#tell("changed", { version, tag, size, old: { ...this.#version.content.image } });
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
    return leaseCarrier === "auto" && lease === undefined && this.#addresses.lease !== undefined
      ? "query"
      : leaseCarrier;
  }
}
