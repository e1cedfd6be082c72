/**
 * Values under keys of 32 bytes, packed into one file of slots, with an index beside it that is only ever appended
 * to.
 *
 * OPFS charges a file by its length, holes included, so values lie one behind the other. A record of the index: key
 * (32 bytes), slot (4), length (4), CRC-32 of the value (4), CRC-32 of the record before it (4). Length 0: the key is
 * gone. Values are flushed before the records that name them; a record that a crash tore is the end of the index.
 */

import { crc32 } from "./crc32.js";

const RECORD = 48;
const KEY = 32;

/** The two files are sync handles of OPFS, or anything with `read`, `write`, `truncate`, `getSize` and `flush`. */
export class PackedFile {
  #data;
  #index;
  #slotSize;
  #entries = new Map();
  #free = [];
  #slots = 0;
  #indexSize = 0;

  constructor(data, index, slotSize) {
    this.#data = data;
    this.#index = index;
    this.#slotSize = slotSize;
    this.#load();
  }

  /** @returns {string[]} the keys that have a value, in hexadecimal digits */
  keys() {
    return [...this.#entries.keys()];
  }

  /** @returns {Uint8Array | undefined} undefined where there is none, or where it is damaged: then it is dropped */
  get(key) {
    const entry = this.#entries.get(key);
    if (!entry) return undefined;
    const value = new Uint8Array(entry.length);
    const got = this.#data.read(value, { at: entry.slot * this.#slotSize });
    if (got === entry.length && crc32(value) === entry.checksum) return value;
    this.remove([key]);
    return undefined;
  }

  /** The records that the index has for each value that is there, at most; beyond that it is worth writing anew. */
  get recordsPerValue() {
    return this.#indexSize / RECORD / Math.max(1, this.#entries.size);
  }

  /** Puts values in the place of those that the keys have; those are there until the new ones are. */
  put(pairs) {
    if (pairs.length === 0) return;
    const fresh = new Map(pairs);
    const records = [];
    try {
      for (const [key, value] of fresh) records.push([key, this.#write(value)]);
      this.#data.flush();
      this.#append(records);
    } catch (error) {
      this.#free.push(...records.map(([, { slot }]) => slot));
      throw error;
    }
    for (const [key, entry] of records) {
      if (this.#entries.has(key)) this.#free.push(this.#entries.get(key).slot);
      this.#entries.set(key, entry);
    }
  }

  #write(value) {
    if (value.length === 0 || value.length > this.#slotSize) throw new RangeError(`a value of ${value.length} bytes`);
    const entry = { slot: this.#free.pop() ?? this.#slots++, length: value.length, checksum: crc32(value) };
    try {
      writeAll(this.#data, value, entry.slot * this.#slotSize);
    } catch (error) {
      this.#free.push(entry.slot);
      throw error;
    }
    return entry;
  }

  /** Removes values. The last one takes the files' length with it, which needs no room where there is none. */
  remove(keys) {
    const gone = [...new Set(keys)].filter(key => this.#entries.has(key));
    if (gone.length === this.#entries.size) return this.clear();
    const slots = gone.map(key => this.#entries.get(key).slot);
    this.#append(gone.map(key => [key, { slot: this.#entries.get(key).slot, length: 0, checksum: 0 }]));
    for (const key of gone) this.#entries.delete(key);
    this.#free.push(...slots);
  }

  /** Removes everything, and gives its room back: no value is named any more when its bytes go. */
  clear() {
    this.#index.truncate(0);
    this.#index.flush();
    this.#data.truncate(0);
    this.#data.flush();
    this.#entries.clear();
    this.#free = [];
    this.#slots = this.#indexSize = 0;
  }

  /** Adds records, all or none: behind a part of one no later record would be found. */
  #append(records) {
    if (records.length === 0) return;
    const bytes = new Uint8Array(records.length * RECORD);
    records.forEach(([key, entry], number) => bytes.set(recordOf(key, entry), number * RECORD));
    try {
      writeAll(this.#index, bytes, this.#indexSize);
      this.#index.flush();
    } catch (error) {
      this.#index.truncate(this.#indexSize);
      throw error;
    }
    this.#indexSize += bytes.length;
  }

  /** Writes an index with one record for each value into `index`, which is used from then on unless this throws. */
  moveIndex(index) {
    const [old, size] = [this.#index, this.#indexSize];
    index.truncate(0);
    [this.#index, this.#indexSize] = [index, 0];
    try {
      this.#append([...this.#entries]);
    } catch (error) {
      [this.#index, this.#indexSize] = [old, size];
      throw error;
    }
  }

  #load() {
    const bytes = new Uint8Array(this.#index.getSize());
    this.#index.read(bytes, { at: 0 });
    let at = 0;
    for (; at + RECORD <= bytes.length; at += RECORD) {
      if (!this.#take(bytes.subarray(at, at + RECORD))) break;
    }
    if (at < bytes.length) this.#index.truncate(at);
    this.#indexSize = at;
    this.#findFree();
  }

  #take(record) {
    const view = new DataView(record.buffer, record.byteOffset, RECORD);
    if (crc32(record.subarray(0, RECORD - 4)) !== view.getUint32(RECORD - 4, true)) return false;
    const key = hexOf(record.subarray(0, KEY));
    const [slot, length, checksum] = [0, 4, 8].map(offset => view.getUint32(KEY + offset, true));
    this.#slots = Math.max(this.#slots, slot + 1);
    if (length === 0) this.#entries.delete(key);
    else this.#entries.set(key, { slot, length, checksum });
    return true;
  }

  #findFree() {
    const used = new Set([...this.#entries.values()].map(({ slot }) => slot));
    for (let slot = 0; slot < this.#slots; slot += 1) if (!used.has(slot)) this.#free.push(slot);
  }
}

function writeAll(handle, bytes, at) {
  if (handle.write(bytes, { at }) !== bytes.length)
    throw new DOMException("the file is not as long as it should be", "QuotaExceededError");
}

function recordOf(key, { slot, length, checksum }) {
  const record = new Uint8Array(RECORD);
  const view = new DataView(record.buffer);
  for (let i = 0; i < KEY; i += 1) record[i] = parseInt(key.slice(2 * i, 2 * i + 2), 16);
  [slot, length, checksum].forEach((value, number) => view.setUint32(KEY + 4 * number, value, true));
  view.setUint32(RECORD - 4, crc32(record.subarray(0, RECORD - 4)), true);
  return record;
}

function hexOf(bytes) {
  return Array.from(bytes, byte => byte.toString(16).padStart(2, "0")).join("");
}
