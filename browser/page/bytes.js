// @ts-check
/** Fields of sectors, and parts of a disk. Neither throws for any bytes: beyond the end all is 0. */

/** @typedef {(offset: number, length: number) => Promise<Uint8Array>} Read bytes of a disk, within its size */

/** Fields at byte offsets, little endian where the name does not say otherwise. */
export class Fields {
  #view;

  /** @param {Uint8Array} bytes */
  constructor(bytes) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get length() {
    return this.bytes.length;
  }

  /** @param {number} at */
  u8(at) {
    return this.#holds(at, 1) ? this.#view.getUint8(at) : 0;
  }

  /** @param {number} at */
  u16(at) {
    return this.#holds(at, 2) ? this.#view.getUint16(at, true) : 0;
  }

  /** @param {number} at */
  u32(at) {
    return this.#holds(at, 4) ? this.#view.getUint32(at, true) : 0;
  }

  /** @param {number} at @returns {number} rounded above 2^53 */
  u64(at) {
    return this.u32(at) + this.u32(at + 4) * 2 ** 32;
  }

  /** @param {number} at big endian */
  be16(at) {
    return this.#holds(at, 2) ? this.#view.getUint16(at) : 0;
  }

  /** @param {number} at big endian */
  be32(at) {
    return this.#holds(at, 4) ? this.#view.getUint32(at) : 0;
  }

  /** @param {number} at big endian @returns {number} rounded above 2^53 */
  be64(at) {
    return this.be32(at) * 2 ** 32 + this.be32(at + 4);
  }

  /** @param {number} at @param {string} text of one byte for each character */
  has(at, text) {
    for (let i = 0; i < text.length; i += 1) {
      if (!this.#holds(at + i, 1) || this.u8(at + i) !== text.charCodeAt(i)) return false;
    }
    return true;
  }

  /** @param {number} at @param {number} length @returns {Uint8Array} shorter where the bytes end before */
  slice(at, length) {
    return at >= 0 && at < this.length ? this.bytes.subarray(at, at + Math.max(0, length)) : new Uint8Array();
  }

  /** @param {number} at @param {number} length @returns {string} text up to a NUL, without blanks at its end */
  text(at, length) {
    return upToNul(new TextDecoder().decode(this.slice(at, length)));
  }

  /** @param {number} at @param {number} units of 2 bytes @param {boolean} [bigEndian] */
  utf16(at, units, bigEndian = false) {
    const codes = [];
    for (let i = 0; i < units && this.#holds(at + 2 * i, 2); i += 1) {
      codes.push(bigEndian ? this.be16(at + 2 * i) : this.u16(at + 2 * i));
    }
    return upToNul(String.fromCharCode(...codes));
  }

  /** @param {number} at @param {number} length @returns {string} two lower-case digits for each byte */
  hex(at, length) {
    return hexOf(this.slice(at, length));
  }

  /** @param {number} at @returns {string} a little-endian number of 8 bytes, as Windows writes serial numbers */
  u64Hex(at) {
    return hexOf(this.slice(at, 8).slice().reverse()).toUpperCase();
  }

  /** @param {number} at @returns {string} 16 bytes in the order in which they are written, as Linux does */
  uuid(at) {
    return dashed(this.hex(at, 16));
  }

  /** @param {number} at @returns {string} 16 bytes whose first three fields are little endian, as of GPT */
  guid(at) {
    const [a, b, c] = [this.u32(at), this.u16(at + 4), this.u16(at + 6)];
    const digits =
      a.toString(16).padStart(8, "0") + b.toString(16).padStart(4, "0") + c.toString(16).padStart(4, "0");
    return dashed(digits + this.hex(at + 8, 8)).toUpperCase();
  }

  /** @param {number} at @param {number} length */
  #holds(at, length) {
    return at >= 0 && at + length <= this.length;
  }
}

/** A part of a disk. */
export class Part {
  #read;

  /** @param {Read} read @param {number} start @param {number} size bytes, both within the disk */
  constructor(read, start, size) {
    this.#read = read;
    this.start = start;
    this.size = size;
  }

  /**
   * Reads what there is of a range.
   *
   * @param {number} offset
   * @param {number} length
   * @returns {Promise<Uint8Array>} shorter where the part ends before; empty for an offset that makes no sense
   */
  async read(offset, length) {
    if (!Number.isSafeInteger(offset) || offset < 0 || offset >= this.size) return new Uint8Array();
    return this.#read(this.start + offset, Math.min(length, this.size - offset));
  }

  /** @param {number} offset @param {number} length */
  async fields(offset, length) {
    return new Fields(await this.read(offset, length));
  }

  /** @param {number} offset @param {number} size @returns {Part} the part of it that there is */
  part(offset, size) {
    const start = Math.min(Math.max(0, offset), this.size);
    return new Part(this.#read, this.start + start, Math.max(0, Math.min(size, this.size - start)));
  }
}

/** @param {Uint8Array} bytes */
export function hexOf(bytes) {
  return Array.from(bytes, byte => byte.toString(16).padStart(2, "0")).join("");
}

/** @param {string} digits 32 of them */
function dashed(digits) {
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/** @param {string} text which may have any characters; views show it by `shown` of text.js */
function upToNul(text) {
  return (text.split("\0", 1)[0] ?? "").trimEnd();
}

/** @param {number} value @returns {boolean} whether it is a power of two */
export function isPowerOfTwo(value) {
  return value > 0 && Number.isInteger(Math.log2(value));
}
