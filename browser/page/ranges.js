// @ts-check
/** Ranges of a disk: of extents, boot profiles and kept blocks; and how much of each part of a map they fill. */

/** @typedef {[number, number]} Range the first byte, and the number of bytes */

const LARGEST_UNIT = 64 << 20;

/** @param {number} size of the disk @returns {number} a unit for a map of its extents: a power of two */
export function extentUnit(size) {
  return Math.min(LARGEST_UNIT, Math.max(4096, 2 ** Math.floor(Math.log2(Math.max(1, size / 8192)))));
}

/**
 * @param {{unit: number, data: number[], size_bytes: number}} document of `extents`
 * @returns {Range[]} ranges with data; empty for a document that makes no sense
 */
export function rangesOfExtents({ unit, data, size_bytes: size }) {
  /** @type {Range[]} */
  const ranges = [];
  if (!isCount(unit) || !Array.isArray(data) || !data.every(isCount)) return ranges;
  for (let i = 0, at = 0; i + 1 < data.length; i += 2) {
    const start = at + (data[i] ?? 0);
    at = start + (data[i + 1] ?? 0);
    ranges.push([start * unit, Math.min(at * unit, size) - start * unit]);
  }
  return ranges.filter(([, length]) => length > 0);
}

/** @param {{unit: number, ranges: number[][]}} document of `profile` @returns {Range[]} */
export function rangesOfProfile({ unit, ranges }) {
  if (!isCount(unit) || !Array.isArray(ranges)) return [];
  return ranges.flatMap(range => {
    const [start, count] = Array.isArray(range) ? range : [];
    return isCount(start) && isCount(count) ? [/** @type {Range} */ ([start * unit, count * unit])] : [];
  });
}

/** @param {unknown} value @returns {value is number} */
function isCount(value) {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

/** @param {Range[]} ranges that do not overlap @param {number} size @returns {number} their bytes within the disk */
export function bytesOf(ranges, size) {
  return ranges.reduce((sum, [start, length]) => sum + Math.max(0, Math.min(start + length, size) - start), 0);
}

/**
 * How much of each of `count` equal parts of a disk is covered.
 *
 * @param {Range[]} ranges
 * @param {number} size of the disk
 * @param {number} count
 * @returns {Float64Array} from 0 to 1
 */
export function filled(ranges, size, count) {
  const parts = new Float64Array(count);
  const width = size / count;
  for (const [start, length] of ranges) {
    const end = Math.min(start + length, size);
    for (let index = Math.floor(start / width); index < count && index * width < end; index += 1) {
      const covered = Math.min(end, (index + 1) * width) - Math.max(start, index * width);
      parts[index] = Math.min(1, (parts[index] ?? 0) + Math.max(0, covered) / width);
    }
  }
  return parts;
}

/**
 * @param {Float64Array} parts
 * @param {number} pieces
 * @returns {number[]} the mean of each of `pieces` equal groups of them
 */
export function summary(parts, pieces) {
  return Array.from({ length: pieces }, (_, number) => {
    const group = parts.subarray(
      Math.floor((number * parts.length) / pieces),
      Math.floor(((number + 1) * parts.length) / pieces),
    );
    return group.reduce((sum, part) => sum + part, 0) / Math.max(1, group.length);
  });
}
