// @ts-check
/** Facts that the list does not have, asked for the images that are in view, a few at a time. */

import { waitOf } from "./api.js";

/** @typedef {import("./api.js").Image} Image */
/**
 * @typedef {object} LateFacts undefined: not known
 * @property {number | undefined} dataBytes
 * @property {boolean} isUpperBound whether there may be far less data: it was counted in coarse units
 * @property {boolean | undefined} hasChunks
 * @property {number} wait seconds after which the server wants to be asked again; 0: never
 */

const AT_ONCE = 3;
const STAY_MS = 150;
const FINE_UNIT = 65536;
const COARSE_UNIT = 64 << 20;
const MOST_UNITS = 2 ** 17; // 260 kB of JSON where every other one is data

/** Knows late facts, and looks for those of the images whose elements come into view. */
export class LateFactsFinder {
  #api;
  #signal;
  #known;
  #observer;
  /** @type {Map<Element, { image: Image, tell: (facts: LateFacts) => void, timer?: number }>} */
  #watched = new Map();
  /** @type {Element[]} */
  #queue = [];
  #running = 0;

  /**
   * @param {import("./api.js").Api} api
   * @param {AbortSignal} signal
   * @param {Map<string, Promise<LateFacts>>} known earlier looks, by what the list says of an image
   */
  constructor(api, signal, known) {
    this.#api = api;
    this.#signal = signal;
    this.#known = known;
    this.#observer = new IntersectionObserver(entries => entries.forEach(entry => this.#moved(entry)));
    signal.addEventListener("abort", () => this.clear());
  }

  /** @param {Element} place @param {Image} image @param {(facts: LateFacts) => void} tell */
  watch(place, image, tell) {
    const known = this.#known.get(keyOf(image));
    if (known) {
      known.then(tell, () => {});
      return;
    }
    this.#watched.set(place, { image, tell });
    this.#observer.observe(place);
  }

  /** Watches nothing any more. */
  clear() {
    this.#observer.disconnect();
    for (const { timer } of this.#watched.values()) clearTimeout(timer);
    this.#watched.clear();
    this.#queue = [];
  }

  /** @param {IntersectionObserverEntry} entry */
  #moved({ target, isIntersecting }) {
    const watched = this.#watched.get(target);
    if (!watched) return;
    clearTimeout(watched.timer);
    this.#queue = this.#queue.filter(place => place !== target);
    if (!isIntersecting) return;
    watched.timer = setTimeout(() => {
      this.#queue.push(target);
      this.#next();
    }, STAY_MS);
  }

  #next() {
    while (this.#running < AT_ONCE) {
      const place = this.#queue.shift();
      const watched = place && this.#watched.get(place);
      if (!place || !watched) return;
      this.#watched.delete(place);
      this.#observer.unobserve(place);
      this.#running += 1;
      this.#findOnce(watched.image).then(facts => {
        this.#running -= 1;
        if (this.#signal.aborted) return;
        watched.tell(facts);
        if (facts.wait) this.#askAgain(place, watched, facts.wait);
        this.#next();
      });
    }
  }

  /**
   * Watches an element again after a while, if it is still there.
   * @param {Element} place
   * @param {{ image: Image, tell: (facts: LateFacts) => void }} watched
   * @param {number} seconds
   */
  #askAgain(place, { image, tell }, seconds) {
    setTimeout(() => {
      if (place.isConnected && !this.#signal.aborted) this.watch(place, image, tell);
    }, seconds * 1000);
  }

  /** @param {Image} image @returns {Promise<LateFacts>} */
  #findOnce(image) {
    const key = keyOf(image);
    const found = this.#known.get(key) ?? this.#find(image);
    this.#known.set(key, found);
    found.then(({ dataBytes, hasChunks }) => {
      if (dataBytes === undefined || hasChunks === undefined) this.#known.delete(key); // another look may find more
    });
    return found;
  }

  /** @param {Image} image @returns {Promise<LateFacts>} */
  async #find(image) {
    const [data, links] = await Promise.allSettled([
      this.#data(image),
      this.#api.linked(image.id, { signal: this.#signal }),
    ]);
    const failed = [data, links].map(one => (one.status === "rejected" ? waitOf(one.reason) : 0));
    return {
      ...(data.status === "fulfilled" ? data.value : { dataBytes: undefined, isUpperBound: false }),
      hasChunks: links.status === "fulfilled" ? links.value.chunks : undefined,
      wait: Math.max(...failed),
    };
  }

  /** The bytes that are data, in units that are large enough for a short answer. @param {Image} image */
  async #data({ id, size_bytes: size }) {
    const wanted = unitFor(size);
    const path = `${new URL(this.#api.plainUrl(id, "extents")).pathname}?unit=${wanted}`;
    const { data_bytes: bytes, unit } = await this.#api.json(path, { signal: this.#signal, id });
    const dataBytes = Number.isSafeInteger(bytes) ? /** @type {number} */ (bytes) : undefined;
    return { dataBytes, isUpperBound: unit > FINE_UNIT && Number(dataBytes) > 0 };
  }
}

/** @param {number} size @returns {number} a power of two, of which the image has `MOST_UNITS` at most */
function unitFor(size) {
  let unit = FINE_UNIT;
  while (unit < COARSE_UNIT && size / unit > MOST_UNITS) unit *= 2;
  return unit;
}

/** @param {Image} image */
function keyOf({ id, etag }) {
  return `${id} ${etag}`;
}
