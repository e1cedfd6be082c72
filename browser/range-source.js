/** Bytes of an image by ranges (http.md §5 and §13). */

import { readBody, Setback } from "./answers.js";
import { withWord } from "./addresses.js";
import { AeroDiskError } from "./errors.js";
import { tagOf } from "./metadata.js";

/** Fetches ranges of one version of an image. */
export class RangeSource {
  blocksAtOnce = Infinity;
  #requester;
  #addresses;
  #image;
  #longest = Infinity;

  /**
   * @param {import("./requester.js").Requester} requester
   * @param {import("./addresses.js").Addresses} addresses
   * @param {import("./metadata.js").Image} image the version that every answer has to be of
   */
  constructor(requester, addresses, image) {
    this.#requester = requester;
    this.#addresses = addresses;
    this.#image = image;
  }

  /**
   * @returns {Promise<Uint8Array>} exactly these bytes, by several requests where the server allows no longer ones
   */
  async fetch(offset, length, job, signal) {
    if (length <= this.#longest) {
      try {
        return await this.#ask(offset, length, job, signal);
      } catch (error) {
        const longest = longestAfter(error, length);
        if (longest === undefined) throw error;
        this.#longest = longest;
      }
    }
    return this.#fetchParts(offset, length, job, signal);
  }

  async #fetchParts(offset, length, job, signal) {
    const whole = new Uint8Array(length);
    for (let done = 0; done < length;) {
      const part = await this.fetch(offset + done, Math.min(this.#longest, length - done), job, signal);
      whole.set(part, done);
      done += part.length;
    }
    return whole;
  }

  #ask(offset, length, job, signal) {
    const range = `${offset}-${offset + length - 1}`;
    const what = `bytes ${range} of ${this.#addresses.name}`;
    const question = {
      url: this.#addressOf(range),
      what,
      headers: { Range: `bytes=${range}` }, // alone: `If-Range` needs a preflight
      read: async (response, onBytes) => {
        this.#check(response, range, what);
        return readBody(response, length, what, onBytes);
      },
    };
    return this.#requester.ask(question, job, signal);
  }

  /** The range in the query makes each one a URL of its own, of which a cache on the way has all or nothing. */
  #addressOf(range) {
    const { version } = this.#image;
    return version === undefined ? this.#addresses.bytes : withWord(this.#addresses.bytesOf(version), range);
  }

  #check(response, range, what) {
    const { status, headers } = response;
    if (status === 413) throw tooLong(headers, what);
    if (status === 404 || status === 410) throw doubtful("missing", `${what}: not there (${status})`, status);
    if (status === 412 || status === 416) throw doubtful("changed", `${what}: status ${status}`, status);
    if (status !== 200 && status !== 206)
      throw new Setback(new AeroDiskError("network", `${what}: status ${status}`, { status }));
    const tag = tagOf(headers);
    if (tag !== this.#image.tag)
      throw doubtful("changed", `${what}: tag ${tag} instead of ${this.#image.tag}`, status, tag);
    if (status === 200)
      throw new Setback(new AeroDiskError("network", `${what}: all of the image instead of a range`, { status }));
    this.#checkRange(headers.get("Content-Range"), range, what);
  }

  #checkRange(field, range, what) {
    const wanted = `bytes ${range}/${this.#image.size}`;
    if (field === wanted) return;
    throw doubtful("damaged", `${what}: the answer is "${field}" instead of "${wanted}"`, 206);
  }
}

/** An answer that may be of another version: `tag` is the one that it has, if it has one. */
function doubtful(code, message, status, tag = null) {
  return new Setback(Object.assign(new AeroDiskError(code, message, { status }), { tag }), { isDoubtful: true });
}

function tooLong(headers, what) {
  const error = new AeroDiskError("network", `${what}: longer than the server allows`, { status: 413 });
  return Object.assign(error, { longest: Number(headers.get("Aero-Max-Range-Bytes") ?? NaN) });
}

/**
 * @returns {number | undefined} the bytes to ask for at once after a 413: those that it allows, or else half of it
 */
function longestAfter(error, length) {
  if (error.status !== 413 || length === 1) return undefined;
  return Number.isInteger(error.longest) && error.longest > 0 && error.longest < length
    ? error.longest
    : Math.floor(length / 2);
}
