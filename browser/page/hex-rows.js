// @ts-check
/** Rows of a hexadecimal view: the offset, the bytes as digits, and as text. */

import { hexOffset } from "./offsets.js";

export const ROW = 16;
const LEAST_WIDTH = 8;

/** @typedef {{offset: string, digits: string[], text: string}} Row */

/** @param {number} size of the disk @returns {number} digits of an offset, an even number */
export function offsetWidth(size) {
  const digits = Math.max(0, size - 1).toString(16).length;
  return Math.max(LEAST_WIDTH, digits + (digits % 2));
}

/**
 * @param {Uint8Array} bytes
 * @param {number} start the offset of the first one
 * @param {number} width digits of an offset
 * @param {number} [perRow]
 * @returns {Row[]}
 */
export function rowsOf(bytes, start, width, perRow = ROW) {
  const rows = [];
  for (let at = 0; at < bytes.length; at += perRow) {
    const row = bytes.subarray(at, at + perRow);
    rows.push({
      offset: hexOffset(start + at, width),
      digits: Array.from(row, byte => byte.toString(16).padStart(2, "0")),
      text: asciiOf(row),
    });
  }
  return rows;
}

/** @param {Uint8Array} bytes @returns {string} a dot for all that is no printable ASCII */
export function asciiOf(bytes) {
  return Array.from(bytes, byte => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : ".")).join("");
}

/**
 * The page that a place is on.
 *
 * @param {number} offset
 * @param {number} pageSize bytes, a multiple of a row
 * @param {number} size of the disk
 * @returns {{start: number, length: number}}
 */
export function pageOf(offset, pageSize, size) {
  const last = Math.max(0, Math.ceil(size / ROW) * ROW - pageSize);
  const start = Math.min(Math.floor(Math.max(0, offset) / ROW) * ROW, last);
  return { start, length: Math.min(pageSize, size - start) };
}
