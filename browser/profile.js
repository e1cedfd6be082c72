/** Boot profiles: parts that a guest will read, fetched before it asks (http.md §15). A hint, never more. */

import { readText, Setback } from "./answers.js";
import { AeroDiskError } from "./errors.js";
import { parseJson } from "./metadata.js";

const SCHEMA = "aero.profile.v1";
const LONGEST_DOCUMENT = 1 << 20;
const SESSIONS_WITHOUT = 20;
const MOST_RANGES = 4096;

/**
 * @returns {boolean} whether this session leaves the profile alone, as one of 20 does: profiles are learned from
 * those
 */
export function leavesProfileAlone() {
  return Math.random() * SESSIONS_WITHOUT < 1;
}

/** Asks for the profile of a version, or of the one that is there. @returns {Promise<object | undefined>} if any */
export function fetchProfile(requester, addresses, version, signal, name) {
  const what = `profile ${name} of ${addresses.name}`;
  const url = addresses.part("profile", version);
  url.searchParams.set("name", name);
  return requester.askAtOnce(
    {
      url,
      what,
      cache: "no-cache",
      async read(response, onBytes) {
        if (response.status >= 400 && response.status < 500) return undefined;
        if (response.status !== 200)
          throw new Setback(new AeroDiskError("network", `${what}: status ${response.status}`));
        return parseJson(await readText(response, LONGEST_DOCUMENT, what, onBytes), what);
      },
    },
    signal,
  );
}

/**
 * @returns {[number, number][] | undefined} first bytes and lengths, in the order of time; undefined if the document
 * is not a profile of this version
 */
export function rangesOf(found, image) {
  if (!found || !fits(found, image)) return undefined;
  return found.ranges.map(([start, count]) => [start * found.unit, count * found.unit]);
}

/** The parts that a profile names, joined where they touch. */
export class NamedParts {
  #parts = [];

  /** @param {[number, number][]} ranges first bytes and lengths */
  constructor(ranges) {
    for (const [start, length] of [...ranges].sort(([one], [other]) => one - other)) {
      const last = this.#parts.at(-1);
      if (last && start <= last.end) last.end = Math.max(last.end, start + length);
      else this.#parts.push({ start, end: start + length });
    }
  }

  /** @returns {number | undefined} where the part ends that a byte is in; undefined: it is in none */
  endAt(offset) {
    let low = 0;
    let high = this.#parts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#parts[middle].end > offset) high = middle;
      else low = middle + 1;
    }
    return this.#parts[low]?.start <= offset ? this.#parts[low].end : undefined;
  }
}

/** A profile in a store: a later session does not ask for it again if the store has all blocks that it names. */
export class KeptProfile {
  #store;
  #image;
  #note;

  /**
   * @param {import("./stores.js").Store | undefined} store
   * @param {import("./metadata.js").Image} image
   * @param {string} name
   */
  constructor(store, image, name) {
    this.#store = /^[\w.-]{1,128}$/.test(name) ? store : undefined;
    this.#image = image;
    this.#note = `profile-${name}`;
  }

  /** @returns {Promise<[number, number][] | undefined>} the ranges that were kept for this version */
  async ranges() {
    const kept = await this.#store?.note(this.#note);
    return kept?.version === this.#image.version ? kept?.ranges : undefined;
  }

  async keep(ranges) {
    if (ranges.length) await this.#store?.setNote(this.#note, { version: this.#image.version, ranges });
  }
}

function fits({ schema, version, unit, ranges }, image) {
  const isCount = value => Number.isSafeInteger(value) && value >= 0;
  return (
    schema === SCHEMA &&
    version === image.version &&
    isCount(unit) &&
    unit >= 512 &&
    Array.isArray(ranges) &&
    ranges.length <= MOST_RANGES &&
    ranges.every(range => Array.isArray(range) && isCount(range[0]) && isCount(range[1]))
  );
}
