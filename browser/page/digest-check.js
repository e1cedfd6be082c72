// @ts-check
/** Compares what is read with the digests that the server tells: of the whole image, or of its chunks. */

import { Sha256, sha256Hex, toHex } from "/client/sha256.js";

const BLOCK = 1 << 20;
const AT_ONCE = 4;
const BREATH_MILLISECONDS = 12;

/**
 * @typedef {import("./bytes.js").Read} Read
 * @typedef {(done: number, total: number) => void} OnProgress in bytes
 * @typedef {{signal?: AbortSignal, onProgress?: OnProgress}} Watch
 * @typedef {{size: number, chunkSize: number, digests: string[]}} Digests of chunks
 * @typedef {{checked: number, damaged: number[]}} Verdict
 */

/**
 * The SHA-256 of a whole disk. Its bytes come in order, as the digest takes them.
 *
 * @param {Read} read
 * @param {number} size
 * @param {Watch} [watch]
 * @returns {Promise<string>} in lower-case hexadecimal digits
 */
export async function digestOfAll(read, size, { signal, onProgress } = {}) {
  const digest = new Sha256();
  let breath = performance.now();
  for (let at = 0; at < size; at += BLOCK) {
    signal?.throwIfAborted();
    digest.update(await read(at, Math.min(BLOCK, size - at)));
    onProgress?.(Math.min(at + BLOCK, size), size);
    if (performance.now() - breath < BREATH_MILLISECONDS) continue;
    await nextTask(); // bytes that are there already would keep the page from being drawn
    breath = performance.now();
  }
  return toHex(digest.digest());
}

/**
 * Reads chunks and compares each with its digest, a few at a time.
 *
 * @param {Read} read of an image, or of its chunks by a client that throws `damaged`
 * @param {Digests} digests
 * @param {number[]} indexes of the chunks to check
 * @param {Watch} [watch]
 * @returns {Promise<Verdict>} with the indexes of damaged ones
 */
export async function checkChunks(read, { size, chunkSize, digests }, indexes, { signal, onProgress } = {}) {
  /** @type {number[]} */
  const damaged = [];
  const lengthOf = (/** @type {number} */ index) => Math.min(chunkSize, size - index * chunkSize);
  const total = indexes.reduce((sum, index) => sum + lengthOf(index), 0);
  const left = [...indexes];
  let done = 0;
  let checked = 0;
  const work = async () => {
    for (let index = left.shift(); index !== undefined; index = left.shift()) {
      signal?.throwIfAborted();
      if (!(await isSound(read, index * chunkSize, lengthOf(index), digests[index]))) damaged.push(index);
      checked += 1;
      onProgress?.((done += lengthOf(index)), total);
    }
  };
  try {
    await Promise.all(Array.from({ length: AT_ONCE }, work));
  } finally {
    left.length = 0; // the others stop as well after one has failed
  }
  return { checked, damaged: damaged.sort((one, other) => one - other) };
}

/** @param {Read} read @param {number} start @param {number} length @param {string | undefined} wanted */
async function isSound(read, start, length, wanted) {
  try {
    return (await sha256Hex(await read(start, length))) === wanted;
  } catch (error) {
    if (/** @type {{code?: string}} */ (error)?.code === "damaged") return false;
    throw error;
  }
}

/**
 * @param {any} manifest a chunk manifest
 * @returns {Digests | undefined} undefined where not all chunks have one
 */
export function digestsOf(manifest) {
  const { totalSize: size, chunkSize, chunkCount: count, chunks } = manifest ?? {};
  const isSound =
    Number.isSafeInteger(size) &&
    size > 0 &&
    Number.isSafeInteger(chunkSize) &&
    chunkSize > 0 &&
    chunkSize <= 64 << 20;
  if (!isSound || count !== Math.ceil(size / chunkSize) || !Array.isArray(chunks) || chunks.length !== count) {
    return undefined;
  }
  const digests = chunks.map(chunk => String(chunk?.sha256 ?? "").toLowerCase());
  return digests.every(digest => /^[0-9a-f]{64}$/.test(digest)) ? { size, chunkSize, digests } : undefined;
}

/**
 * A sample without repetition: the first and the last one, and others by chance.
 *
 * @param {number} count of all
 * @param {number} most
 * @param {() => number} [random]
 * @returns {number[]} in order
 */
export function sampleOf(count, most, random = Math.random) {
  if (count <= most) return Array.from({ length: count }, (_, index) => index);
  const chosen = new Set([0, count - 1].slice(0, most));
  while (chosen.size < most) chosen.add(Math.min(count - 1, Math.floor(random() * count)));
  return [...chosen].sort((one, other) => one - other);
}

/** Lets the page be drawn. A timer would do, but is slowed down to 4 ms. @returns {Promise<void>} */
function nextTask() {
  return new Promise(resolve => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(undefined);
  });
}
