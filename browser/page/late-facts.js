// @ts-check
/** Facts that the list does not have, asked for the images that are in view, a few at a time. */

import { Failure } from "./api.js";

/** @typedef {import("./api.js").Image} Image */
/** @typedef {{ dataBytes: number | undefined, hasChunks: boolean | undefined }} LateFacts undefined: not known */

const AT_ONCE = 3;
const STAY_MS = 150;
const FINE_UNIT = 65536;
const COARSE_UNIT = 1 << 20;
const FINE_UP_TO = 64 * 2 ** 30;

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
        this.#next();
      });
    }
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
    const [dataBytes, hasChunks] = await Promise.all([this.#dataBytes(image), this.#hasChunks(image)]);
    return { dataBytes, hasChunks };
  }

  /** The bytes that are data, in units small enough for a short answer. @param {Image} image */
  async #dataBytes({ id, size_bytes: size }) {
    const unit = size <= FINE_UP_TO ? FINE_UNIT : COARSE_UNIT;
    try {
      const path = `${new URL(this.#api.plainUrl(id, "extents")).pathname}?unit=${unit}`;
      const response = await this.#api.ask(path, { signal: this.#signal, id });
      const { data_bytes: bytes } = await response.json();
      return Number.isSafeInteger(bytes) ? /** @type {number} */ (bytes) : undefined;
    } catch {
      return undefined;
    }
  }

  /** @param {Image} image */
  async #hasChunks({ id }) {
    try {
      const path = new URL(this.#api.plainUrl(id, "manifest")).pathname;
      await this.#api.ask(path, { signal: this.#signal, id, method: "HEAD" });
      return true;
    } catch (error) {
      return error instanceof Failure && error.kind === "missing" ? false : undefined;
    }
  }
}

/** @param {Image} image */
function keyOf({ id, etag }) {
  return `${id} ${etag}`;
}
