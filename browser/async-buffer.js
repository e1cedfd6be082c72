/** A disk as readers of zip, Parquet, GeoTIFF and SQLite files take it. */

const PIECE = 256 << 10;

/**
 * A view of a disk in the manner of `Blob` and `ArrayBuffer`: `slice(start, end)` gives a promise of an
 * `ArrayBuffer`. It also has what zip.js asks of a reader (`size`, `init`, `readUint8Array`, `createReadable`) and
 * geotiff of a source (`fileSize`, `fetch`).
 *
 * @param {import("./disk.js").AeroDisk | import("./overlay.js").Overlay} disk
 * @param {{length?: number}} [options] `length`: that of the file, where the disk is longer
 */
export function asyncBuffer(disk, { length = disk.size } = {}) {
  return new AsyncBuffer(disk, length);
}

class AsyncBuffer {
  #disk;

  constructor(disk, length) {
    this.#disk = disk;
    this.byteLength = this.size = this.fileSize = length;
  }

  async init() {}

  /** @returns {Promise<ArrayBuffer>} from `start` on, before `end`; negative ones count from the end */
  async slice(start = 0, end = this.byteLength, { signal } = {}) {
    const from = this.#position(start);
    const bytes = await this.#disk.read(from, Math.max(0, this.#position(end) - from), { signal });
    return bytes.buffer;
  }

  /** @returns {Promise<Uint8Array>} at most `count` bytes, fewer at the end */
  async readUint8Array(offset, count) {
    return new Uint8Array(await this.slice(offset, offset + count));
  }

  /** @returns {Promise<ArrayBuffer[]>} the parts, each cut at the end */
  fetch(slices, signal) {
    return Promise.all(slices.map(({ offset, length }) => this.slice(offset, offset + length, { signal })));
  }

  /** @returns {ReadableStream<Uint8Array>} `size` bytes from `offset` on, each piece read when it is asked for */
  createReadable({ offset = 0, size = this.size - offset } = {}) {
    let at = offset;
    const end = offset + size;
    return new ReadableStream({
      pull: async controller => {
        const bytes = await this.readUint8Array(at, Math.min(PIECE, end - at));
        at += bytes.length;
        if (bytes.length) controller.enqueue(bytes);
        if (at >= end || !bytes.length) controller.close();
      },
    });
  }

  #position(value) {
    const whole = Math.trunc(Number(value)) || 0;
    return whole < 0 ? Math.max(0, this.byteLength + whole) : Math.min(whole, this.byteLength);
  }
}
