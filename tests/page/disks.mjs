// Disks for tests: files, and bytes in memory with holes between them.

import { open } from "node:fs/promises";

import { Part } from "../../browser/page/bytes.js";

// A disk of `size` bytes with `pieces`, each [offset, bytes]. It refuses reads beyond its end, as the client does.
export function sparseDisk(size, pieces) {
  const read = async (offset, length) => {
    if (!(offset >= 0 && length >= 0 && offset + length <= size)) throw new RangeError(`${length} at ${offset}`);
    const bytes = new Uint8Array(length);
    for (const [at, piece] of pieces) {
      const [from, to] = [Math.max(at, offset), Math.min(at + piece.length, offset + length)];
      if (from < to) bytes.set(piece.subarray(from - at, to - at), from - offset);
    }
    return bytes;
  };
  return new Part(read, 0, size);
}

export async function withFile(path, act) {
  const file = await open(path);
  try {
    const { size } = await file.stat();
    const read = async (offset, length) => {
      const bytes = new Uint8Array(length);
      await file.read(bytes, 0, length, offset);
      return bytes;
    };
    return await act(new Part(read, 0, size));
  } finally {
    await file.close();
  }
}

// A number in little endian.
export function little(value, bytes) {
  return Uint8Array.from({ length: bytes }, (_, index) => Math.floor(value / 256 ** index) % 256);
}

export const text = words => new TextEncoder().encode(words);

// An entry of a master boot record.
export function entry(type, start, count, status = 0) {
  return Uint8Array.from([status, 0, 0, 0, type, 0, 0, 0, ...little(start, 4), ...little(count, 4)]);
}

// A sector with a table of up to four entries, and 55 AA.
export function record(...entries) {
  const sector = new Uint8Array(512);
  entries.forEach((bytes, index) => sector.set(bytes, 446 + 16 * index));
  sector.set([0x55, 0xaa], 510);
  return sector;
}
