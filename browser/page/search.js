// @ts-check
/** Search for bytes within a range of a disk. */

const BLOCK = 1 << 20;
const LONGEST = 1024;

/**
 * @typedef {object} Progress
 * @property {number} at bytes of the range that are done
 * @property {number} length of the range
 */

/**
 * Reads what to search for.
 *
 * @param {string} text
 * @param {"text" | "hex"} kind
 * @returns {Uint8Array | undefined} 1 to 1,024 bytes; undefined for a text that names none
 */
export function parsePattern(text, kind) {
  const bytes = kind === "text" ? new TextEncoder().encode(text) : parseHex(text);
  return bytes && bytes.length > 0 && bytes.length <= LONGEST ? bytes : undefined;
}

/** @param {string} text such as `55 AA`, `55aa`, `0x55 0xaa` */
function parseHex(text) {
  const digits = text.replace(/\b0x|[\s,:-]/gi, "");
  if (digits.length % 2 !== 0 || !/^[0-9a-f]+$/i.test(digits)) return undefined;
  return Uint8Array.from(digits.match(/../g) ?? [], pair => Number.parseInt(pair, 16));
}

/**
 * Finds bytes in bytes.
 *
 * @param {Uint8Array} bytes
 * @param {Uint8Array} pattern not empty
 * @param {number} [from]
 * @returns {number} where they begin; -1: they are not there
 */
export function indexOf(bytes, pattern, from = 0) {
  const first = pattern[0] ?? 0;
  for (let at = bytes.indexOf(first, from); at >= 0; at = bytes.indexOf(first, at + 1)) {
    if (at + pattern.length > bytes.length) return -1;
    if (pattern.every((byte, index) => bytes[at + index] === byte)) return at;
  }
  return -1;
}

/**
 * Searches a range, block by block; a match may lie across two.
 *
 * @param {import("./bytes.js").Read} read
 * @param {Uint8Array} pattern
 * @param {{start: number, end: number}} range bytes, the end is behind the last one
 * @param {{signal?: AbortSignal, onProgress?: (progress: Progress) => void, block?: number}} [options]
 * @returns {Promise<number | undefined>} the first match that lies within the range
 */
export async function search(read, pattern, { start, end }, { signal, onProgress, block = BLOCK } = {}) {
  const overlap = pattern.length - 1;
  for (let at = start; at + overlap < end; at += block) {
    signal?.throwIfAborted();
    const bytes = await read(at, Math.min(block + overlap, end - at));
    const found = indexOf(bytes, pattern);
    if (found >= 0) return at + found;
    onProgress?.({ at: Math.min(at + block, end) - start, length: end - start });
  }
  return undefined;
}
