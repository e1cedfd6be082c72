/** Where an image has data; the rest reads as zeros and is never fetched (http.md §14). */

import { readText, Setback } from "./answers.js";
import { AeroDiskError } from "./errors.js";
import { parseJson } from "./metadata.js";
import { sha256Hex } from "./sha256.js";

const SCHEMA = "aero.extents.v1";
const LONGEST_DOCUMENT = 8 << 20;
const LARGEST_ZERO_CHUNK = 4 << 20;

/** Ranges with data, in order and apart from each other. Without a map everything counts as data. */
export class ExtentMap {
  #starts;
  #ends;

  /** @param {number[]} starts first bytes @param {number[]} ends the bytes after the last ones */
  constructor(starts, ends) {
    this.#starts = Float64Array.from(starts);
    this.#ends = Float64Array.from(ends);
  }

  /** @returns {ExtentMap} of pairs (gap, length) in units of `unit` bytes */
  static ofPairs(pairs, unit) {
    const starts = [];
    const ends = [];
    for (let i = 0, at = 0; i < pairs.length; i += 2) {
      starts.push((at += pairs[i]) * unit);
      ends.push((at += pairs[i + 1]) * unit);
    }
    return new ExtentMap(starts, ends);
  }

  /** @returns {boolean} whether all bytes from `start` on, before `end`, are zeros */
  isZero(start, end) {
    const index = this.#firstEndingAfter(start);
    return index === this.#ends.length || this.#starts[index] >= end;
  }

  #firstEndingAfter(start) {
    let low = 0;
    let high = this.#ends.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#ends[middle] > start) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

/** Chunks that are zeros: by the list of the manifest, and by the digest of zeros. */
export class ZeroChunks {
  #isZero;
  #chunkSize;

  constructor(isZero, chunkSize) {
    this.#isZero = isZero;
    this.#chunkSize = chunkSize;
  }

  /** @param {import("./chunk-manifest.js").Manifest} manifest */
  static async of(manifest) {
    const { count, chunkSize, zeros, digests, size } = manifest;
    const isZero = new Uint8Array(count);
    for (let i = 0, at = 0; i < zeros.length; i += 2) {
      isZero.fill(1, (at += zeros[i]), (at += zeros[i + 1]));
    }
    const last = size - (count - 1) * chunkSize;
    for (const [length, from, to] of [
      [chunkSize, 0, count - 1],
      [last, count - 1, count],
    ]) {
      if (digests === undefined || length > LARGEST_ZERO_CHUNK) continue;
      const zero = await sha256Hex(new Uint8Array(length));
      for (let index = from; index < to; index += 1) {
        if (digests[index] !== undefined) isZero[index] = digests[index] === zero ? 1 : 0; // the list may lie
      }
    }
    return new ZeroChunks(isZero, chunkSize);
  }

  isZero(start, end) {
    for (let index = Math.floor(start / this.#chunkSize); index * this.#chunkSize < end; index += 1) {
      if (!this.#isZero[index]) return false;
    }
    return true;
  }
}

/**
 * Asks for the extents of a version, or of the one that is there.
 *
 * @returns {Promise<object | undefined>} the document, where there is one
 */
export function fetchExtents(requester, addresses, version, signal) {
  const what = `extents of ${addresses.name}`;
  return requester.askAtOnce(
    {
      url: addresses.part("extents", version),
      what,
      async read(response, onBytes) {
        if (response.status >= 400 && response.status < 500) return undefined; // a server without this route
        if (response.status !== 200)
          throw new Setback(new AeroDiskError("network", `${what}: status ${response.status}`));
        return parseJson(await readText(response, LONGEST_DOCUMENT, what, onBytes), what);
      },
    },
    signal,
  );
}

/** @returns {ExtentMap | undefined} the map of a document, if it is of this version */
export function extentsOf(found, image) {
  return found && fits(found, image) ? ExtentMap.ofPairs(found.data, found.unit) : undefined;
}

/** A map of another version, or one that breaks a rule, is worse than none. */
function fits(found, image) {
  const { schema, size_bytes: size, unit, data, etag, version } = found;
  return (
    schema === SCHEMA &&
    size === image.size &&
    etag === image.tag &&
    version === image.version &&
    Number.isSafeInteger(unit) &&
    unit >= 512 &&
    unit % 512 === 0 &&
    isPairs(data) &&
    addsUp(found)
  );
}

/** @returns {boolean} whether the extents are within the image, and as many bytes as the document says */
function addsUp({ data, unit, size_bytes: size, data_bytes: told }) {
  const units = Math.ceil(size / unit);
  const end = data.reduce((sum, value) => sum + value, 0);
  const covered = data.reduce((sum, value, at) => (at % 2 ? sum + value : sum), 0);
  const excess = end === units && data.at(-1) > 0 ? units * unit - size : 0; // the last unit may be a part of one
  return end <= units && (told === undefined || told === covered * unit - excess);
}

/** @returns {number[]} pairs (gap, length) that end within `count`; none where they break a rule */
export function pairsWithin(pairs, count) {
  return isPairs(pairs) && pairs.reduce((sum, value) => sum + value, 0) <= count ? pairs : [];
}

function isPairs(data) {
  return (
    Array.isArray(data) && data.length % 2 === 0 && data.every(value => Number.isSafeInteger(value) && value >= 0)
  );
}
