/** A disk as readers of zip, Parquet, GeoTIFF and SQLite files take it. */

/**
 * A view of a disk in the manner of `Blob` and `ArrayBuffer`: `slice(start, end)` gives a promise of an `ArrayBuffer`.
 * It also has what zip.js asks of a reader: `size`, `init` and `readUint8Array`.
 *
 * @param {import("./disk.js").AeroDisk | import("./overlay.js").Overlay} disk
 * @param {{length?: number}} [options] `length`: that of the file, where the disk is longer
 */
export function asyncBuffer(disk, { length = disk.size } = {}) {
  const clamp = (position, fallback) => {
    const whole = Math.trunc(Number(position ?? fallback)) || 0;
    return whole < 0 ? Math.max(0, length + whole) : Math.min(whole, length);
  };
  const part = async (start, end, signal) => {
    const from = clamp(start, 0);
    return disk.read(from, Math.max(0, clamp(end, length) - from), { signal });
  };
  return {
    byteLength: length,
    size: length,
    async init() {},
    /** @returns {Promise<ArrayBuffer>} from `start` on, before `end`; negative ones count from the end */
    slice: async (start, end, { signal } = {}) => (await part(start, end, signal)).buffer,
    /** @returns {Promise<Uint8Array>} at most `count` bytes, fewer at the end */
    readUint8Array: (offset, count) => part(offset, offset + count),
  };
}
