/** Where bytes are kept beyond a session: OPFS, the Cache API or IndexedDB. */

import { CacheBackend } from "./cache-backend.js";
import { DatabaseBackend } from "./database-backend.js";
import { OpfsBackend } from "./opfs-backend.js";
import { sha256Hex } from "./sha256.js";
import { atMost } from "./waiting.js";

const CLOSE_MILLISECONDS = 10_000;
const MOST_UNDER_WAY = 32 << 20;
const AWAY_MILLISECONDS = 30_000;

/** Which kinds are tried for what was asked for: the first that the browser has. */
const KINDS = {
  opfs: [OpfsBackend, DatabaseBackend],
  cache: [CacheBackend, DatabaseBackend],
};

/**
 * Values under keys of 64 hexadecimal digits, for one version of an image. A store that fails is left alone from then
 * on, or for a while if another tab has the files and does not answer: it costs speed, never a byte.
 */
export class Store {
  #backend;
  #keys;
  #onFailure;
  #underWay = 0;
  #writing = new Set();
  #closing;
  #isBroken = false;
  #isFull = false;
  #awayUntil = -Infinity;

  constructor(backend, keys, onFailure) {
    this.#backend = backend;
    this.#keys = new Set(keys);
    this.#onFailure = onFailure;
    backend.onNews = news => this.#take(news);
  }

  /**
   * Opens the first kind of store that works.
   *
   * @param {"opfs" | "cache"} kind
   * @param {string[]} names the image and the version; other versions of the image are removed, unless `keepsOthers`
   * @param {number} slotSize bytes of a value at most
   * @param {{exclusive?: boolean, keepsOthers?: boolean, onFailure: (error: unknown) => void}} options
   *   `exclusive`: no other tab may have it open
   * @returns {Promise<Store | undefined>} undefined where there is none
   */
  static async open(kind, names, slotSize, { exclusive = false, keepsOthers = false, onFailure }) {
    if (!(kind in KINDS)) throw new TypeError(`persistent is "opfs", "cache" or false, not ${kind}`);
    const path = await pathOf(names);
    for (const Backend of KINDS[kind]) {
      let backend;
      try {
        if (!Backend.isThere) continue; // in a sandbox even to look at `caches` throws
        backend = new Backend();
        return new Store(backend, await backend.open({ path, slotSize, exclusive, keepsOthers }), onFailure);
      } catch (error) {
        await backend?.close().catch(() => {});
        if (error.name === "InUseError") throw error;
        onFailure(error);
      }
    }
    return undefined;
  }

  /** Its kind: `opfs`, `cache` or `indexeddb`. */
  get kind() {
    return this.#backend.kind;
  }

  has(key) {
    return !this.#isOut && this.#keys.has(key);
  }

  /** @returns {Promise<(Uint8Array | undefined)[]>} undefined for what is not there, or not any more */
  async read(keys) {
    const values = await this.#attempt(() => this.#backend.read(keys));
    if (!values) return keys.map(() => undefined);
    values.forEach((value, index) => {
      if (!value) this.#keys.delete(keys[index]);
    });
    return values;
  }

  /** Keeps values; drops them where too many are on their way, or no room is left. */
  async write(pairs) {
    const bytes = pairs.reduce((sum, [, value]) => sum + value.length, 0);
    if (this.#isOut || this.#isFull || this.#underWay + bytes > MOST_UNDER_WAY) return;
    this.#underWay += bytes;
    const writing = this.put(pairs);
    this.#writing.add(writing);
    try {
      await writing;
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#writing.delete(writing);
      this.#underWay -= bytes;
    }
  }

  /** Keeps values, whatever it costs; rejects where they cannot be kept. */
  async put(pairs) {
    await this.#backend.write(pairs);
    for (const [key] of pairs) this.#keys.add(key);
  }

  keys() {
    return [...this.#keys];
  }

  /** Removes what has none of these keys. */
  async retain(keys) {
    const kept = new Set(keys);
    await this.#attempt(() => this.remove(this.keys().filter(key => !kept.has(key))));
  }

  /** Removes all values and notes; rejects where that fails. */
  async clear() {
    this.#keys.clear();
    await this.#backend.clear().catch(error => {
      if (error.name !== "NotFoundError") throw error; // else the user has cleared all of it
    });
    this.#isFull = false;
  }

  /** Removes values; rejects where that fails. */
  async remove(keys) {
    if (keys.length === 0) return;
    await this.#backend.remove(keys);
    for (const key of keys) this.#keys.delete(key);
    this.#isFull = false;
  }

  /** @returns {Promise<any>} what was noted under a name */
  async note(name) {
    const text = await this.#attempt(() => this.#backend.note(name));
    try {
      return text === undefined ? undefined : JSON.parse(text);
    } catch {
      return undefined; // half written: as if there were none
    }
  }

  async setNote(name, value) {
    const writing = this.#attempt(() => this.#backend.setNote(name, JSON.stringify(value)));
    this.#writing.add(writing);
    await writing;
    this.#writing.delete(writing);
  }

  /** Closes the store after what is on its way to it has arrived; once, however often it is asked to. */
  close() {
    this.#closing ??= atMost(Promise.allSettled(this.#writing), CLOSE_MILLISECONDS).then(() => this.#backend.close());
    return this.#closing;
  }

  async #attempt(act) {
    if (this.#isOut) return undefined;
    try {
      return await act();
    } catch (error) {
      this.#fail(error);
      return undefined;
    }
  }

  get #isOut() {
    return this.#isBroken || performance.now() < this.#awayUntil;
  }

  #fail(error) {
    if (error.name === "NotFoundError") return; // cleared by the user; it begins anew
    const wasOut = this.#isOut || this.#isFull;
    if (error.name === "QuotaExceededError") this.#isFull = true;
    else if (error.name === "TimeoutError") this.#awayUntil = performance.now() + AWAY_MILLISECONDS;
    else this.#isBroken = true;
    if (!wasOut) this.#onFailure(error);
  }

  /** Takes which keys have come and gone, by this tab or another one. */
  #take({ isFresh, added, removed }) {
    if (isFresh) this.#keys.clear();
    for (const key of removed) this.#keys.delete(key);
    for (const key of added) this.#keys.add(key);
  }
}

/** @returns {Promise<string[]>} names of directories, whatever the image's address has in it */
async function pathOf(names) {
  const digests = await Promise.all(names.map(name => sha256Hex(new TextEncoder().encode(name))));
  return ["aero-disk", ...digests.map(digest => digest.slice(0, 32))];
}
