/** Bytes of an image by chunks, each checked against its digest where that is known (http.md §6). */

import { readBody, Setback } from "./answers.js";
import { chunkBelow, withWord } from "./addresses.js";
import { AeroDiskError } from "./errors.js";
import { reprDigest, sha256Hex, toHex } from "./sha256.js";

/** Fetches chunks of one version of an image. */
export class ChunkSource {
  /** Each chunk is an answer of its own. */
  blocksAtOnce = 1;
  #requester;
  #manifest;
  #verify;
  #confirm;

  /**
   * @param {import("./requester.js").Requester} requester
   * @param {import("./chunk-manifest.js").Manifest} manifest
   * @param {boolean} verify
   * @param {() => Promise<void>} confirm rejects if the manifest has been replaced
   */
  constructor(requester, manifest, verify, confirm) {
    this.#requester = requester;
    this.#manifest = manifest;
    this.#verify = verify;
    this.#confirm = confirm;
  }

  /** @returns {Promise<Uint8Array>} the chunk that begins at `offset`, which has `length` bytes */
  async fetch(offset, length, job, signal) {
    const index = offset / this.#manifest.chunkSize;
    const url = chunkBelow(this.#manifest.url, `${String(index).padStart(this.#manifest.width, "0")}.bin`);
    const first = await this.#ask(index, url, length, "default", job, signal);
    if (first.complaint === undefined) return first.bytes;
    const again = await this.#ask(index, withWord(url, `fresh=${nonce()}`), length, "reload", job, signal);
    if (again.complaint === undefined) return again.bytes;
    await this.#confirm();
    throw Object.assign(
      new AeroDiskError("damaged", `chunk ${index} (${url.origin}${url.pathname}): ${again.complaint}`),
      { chunk: index },
    );
  }

  #ask(index, url, length, cache, job, signal) {
    const what = `chunk ${index} (${url.origin}${url.pathname})`;
    const question = {
      url,
      what,
      cache,
      read: async (response, onBytes) => {
        question.cache = "reload"; // a next try goes past an answer that a cache may have kept
        checkStatus(response.status, what);
        const bytes = await readBody(response, length, what, onBytes);
        return { bytes, complaint: await this.#complaintOf(bytes, index, response.headers) };
      },
    };
    return this.#requester.ask(question, job, signal);
  }

  async #complaintOf(bytes, index, headers) {
    const wanted = this.#verify
      ? (this.#manifest.digests?.[index] ?? reprDigest(headers.get("Repr-Digest")))
      : undefined;
    if (!wanted) return undefined;
    const found = await sha256Hex(bytes);
    return found === wanted ? undefined : `its SHA-256 is ${found} instead of ${wanted}`;
  }
}

function checkStatus(status, what) {
  if (status === 404 || status === 410) {
    throw new Setback(new AeroDiskError("missing", `${what}: not there (${status})`, { status }), {
      isDoubtful: true,
    });
  }
  if (status !== 200) throw new Setback(new AeroDiskError("network", `${what}: status ${status}`, { status }));
}

function nonce() {
  return toHex(crypto.getRandomValues(new Uint8Array(8)));
}
