// @ts-check
/** Throughput and latency of the requests for an image over the last minutes, as the browser times them. */

const MOST = 4000;
const BIN_MILLISECONDS = 500;

/** @typedef {"ranges" | "chunks"} Kind @typedef {[number, number][]} Points times in milliseconds, and values */

/**
 * @typedef {object} Sample
 * @property {Kind} kind
 * @property {number} asked milliseconds, as `performance.now` counts
 * @property {number} first when the first byte came
 * @property {number} end when the last byte came
 * @property {number} bytes
 */

/**
 * @param {PerformanceResourceTiming} entry
 * @param {string} path of the image
 * @returns {Sample | undefined} undefined for other things, failures, and what came from the browser's cache
 */
export function sampleOfEntry(entry, path) {
  const { pathname } = new URL(entry.name);
  if (pathname !== path && !pathname.startsWith(`${path}/`)) return undefined;
  const rest = pathname.slice(path.length);
  const isChunk = rest.includes("/chunks/");
  const isRange = rest === "" || rest === "/data" || /^\/versions\/[^/]+$/.test(rest);
  if (!(isChunk || isRange) || entry.transferSize === 0 || entry.responseStart === 0) return undefined;
  return {
    kind: isChunk ? "chunks" : "ranges",
    asked: entry.requestStart,
    first: entry.responseStart,
    end: Math.max(entry.responseEnd, entry.responseStart),
    bytes: entry.encodedBodySize,
  };
}

/** The last requests of an image. */
export class Traffic {
  #path;
  /** @type {Sample[]} */
  #samples = [];
  /** @type {PerformanceObserver | undefined} */
  #observer;

  /** @param {string} path of the image, such as `/v1/images/win98` */
  constructor(path) {
    this.#path = path;
  }

  start() {
    this.#observer = new PerformanceObserver(list => {
      for (const entry of list.getEntries()) this.note(/** @type {PerformanceResourceTiming} */ (entry));
    });
    this.#observer.observe({ type: "resource" });
  }

  stop() {
    this.#observer?.disconnect();
  }

  /** @param {PerformanceResourceTiming} entry */
  note(entry) {
    const sample = sampleOfEntry(entry, this.#path);
    if (!sample) return;
    this.#samples.push(sample);
    if (this.#samples.length > MOST) this.#samples.splice(0, this.#samples.length - MOST / 2);
  }

  /** @param {Kind} kind */
  of(kind) {
    return this.#samples.filter(sample => sample.kind === kind);
  }
}

/**
 * Bytes per second, in steps of half a second. The bytes of an answer count evenly from its first to its last.
 *
 * @param {Sample[]} samples
 * @param {number} now milliseconds
 * @param {number} seconds
 * @returns {Points}
 */
export function throughput(samples, now, seconds) {
  const count = Math.ceil((seconds * 1000) / BIN_MILLISECONDS);
  const start = (Math.floor(now / BIN_MILLISECONDS) - count) * BIN_MILLISECONDS;
  const bins = new Float64Array(count);
  for (const { first, end, bytes } of samples) {
    const span = Math.max(1, end - first);
    const from = Math.max(0, Math.floor((first - start) / BIN_MILLISECONDS));
    for (let bin = from; bin < count && start + bin * BIN_MILLISECONDS < first + span; bin += 1) {
      const [left, right] = [start + bin * BIN_MILLISECONDS, start + (bin + 1) * BIN_MILLISECONDS];
      const part = Math.max(0, Math.min(right, first + span) - Math.max(left, first)) / span;
      bins[bin] = (bins[bin] ?? 0) + bytes * part;
    }
  }
  return Array.from(bins, (bytes, bin) => [
    start + (bin + 0.5) * BIN_MILLISECONDS,
    (bytes * 1000) / BIN_MILLISECONDS,
  ]);
}

/**
 * @param {Sample[]} samples
 * @param {number} now
 * @param {number} seconds
 * @returns {Points} milliseconds from the request to the first byte
 */
export function latency(samples, now, seconds) {
  const recent = samples.filter(({ end }) => end > now - seconds * 1000);
  return recent.map(({ asked, first, end }) => [end, Math.max(0, first - asked)]);
}
