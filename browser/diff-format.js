/**
 * The file of an export: the writes, and the version of the image that they are over.
 *
 * A line `aero-overlay-1`, a line of JSON, then records: offset (8 bytes, little endian), length (4), CRC-32 (4), the
 * bytes. The checksum is that of offset, length and bytes. The last record has length 0 and the number of records
 * before it as its offset: a file that was cut short has no such record. Its checksum is that of offset, length and
 * the JSON.
 */

import { crc32 } from "./crc32.js";
import { AeroDiskError, asAeroDiskError } from "./errors.js";

const MAGIC = "aero-overlay-1\n";
const LONGEST_HEADER = 64 << 10;
const LONGEST_RECORD = 1 << 20;
const RECORD_HEAD = 16;
const BYTES_A_PIECE = 256 << 10;

/** Yields the pieces of a file with `header` and `runs`, some 256 KiB each. */
export function* writeDiff(header, runs) {
  const json = new TextEncoder().encode(JSON.stringify(header));
  let parts = [new TextEncoder().encode(MAGIC), json, new TextEncoder().encode("\n")];
  let length = MAGIC.length + json.length + 1;
  let records = 0;
  for (const { offset, bytes } of runs) {
    parts.push(recordHead(offset, bytes.length, bytes), bytes);
    length += RECORD_HEAD + bytes.length;
    records += 1;
    if (length < BYTES_A_PIECE) continue;
    yield joined(parts, length);
    parts = [];
    length = 0;
  }
  parts.push(recordHead(records, 0, json));
  yield joined(parts, length + RECORD_HEAD);
}

/** @param {Uint8Array} covered what the checksum covers beside offset and length */
function recordHead(offset, length, covered) {
  const head = new Uint8Array(RECORD_HEAD);
  const view = new DataView(head.buffer);
  view.setBigUint64(0, BigInt(offset), true);
  view.setUint32(8, length, true);
  view.setUint32(12, crc32(head.subarray(0, 12), covered), true);
  return head;
}

function joined(parts, length) {
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/**
 * Reads a file.
 *
 * @param {ReadableStream<Uint8Array>} stream
 * @param {(header: object) => any} onHeader told the header before any record
 * @param {(offset: number, bytes: Uint8Array) => void} onRun told each record
 */
export async function readDiff(stream, onHeader, onRun) {
  const bytes = new ByteReader(stream);
  try {
    const json = await readHeader(bytes);
    await onHeader(parsed(json));
    let records = 0;
    while (await readRecord(bytes, records, json, onRun)) records += 1;
    if (!(await bytes.isAtEnd())) throw damagedFile("something follows its end");
  } finally {
    bytes.cancel();
  }
}

async function readHeader(bytes) {
  if (new TextDecoder().decode(await bytes.take(MAGIC.length)) !== MAGIC)
    throw damagedFile("it is no export of an overlay");
  return bytes.takeLine(LONGEST_HEADER);
}

function parsed(json) {
  try {
    return JSON.parse(new TextDecoder().decode(json));
  } catch (cause) {
    throw damagedFile("its header is no JSON", cause);
  }
}

async function readRecord(bytes, records, json, onRun) {
  const head = await bytes.take(RECORD_HEAD);
  const view = new DataView(head.buffer, head.byteOffset, RECORD_HEAD);
  const offset = Number(view.getBigUint64(0, true));
  const length = view.getUint32(8, true);
  if (length > LONGEST_RECORD) throw damagedFile("a record is too long");
  const body = await bytes.take(length);
  if (crc32(head.subarray(0, 12), length > 0 ? body : json) !== view.getUint32(12, true))
    throw damagedFile(`the record at ${offset} has a wrong checksum`);
  if (length > 0) onRun(offset, body);
  else if (offset !== records) throw damagedFile(`it has ${records} records instead of ${offset}`);
  return length > 0;
}

function damagedFile(reason, cause) {
  return new AeroDiskError("damaged", `the file cannot be imported: ${reason}`, { cause });
}

/** Takes bytes from a stream in lengths that the caller names. */
class ByteReader {
  #reader;
  #rest = new Uint8Array(0);

  constructor(stream) {
    this.#reader = stream.getReader();
  }

  async take(length) {
    while (this.#rest.length < length) {
      if (!(await this.#more())) throw damagedFile("it is cut short");
    }
    const taken = this.#rest.slice(0, length);
    this.#rest = this.#rest.subarray(length);
    return taken;
  }

  async takeLine(most) {
    for (;;) {
      const end = this.#rest.indexOf(10);
      if (end >= 0) return (await this.take(end + 1)).subarray(0, end);
      if (this.#rest.length > most || !(await this.#more())) throw damagedFile("its header has no end");
    }
  }

  async isAtEnd() {
    return this.#rest.length === 0 && !(await this.#more());
  }

  cancel() {
    this.#reader.cancel().catch(() => {});
  }

  async #more() {
    const { done, value } = await this.#reader.read().catch(error => {
      throw asAeroDiskError(error);
    });
    if (!done) this.#rest = joined([this.#rest, value], this.#rest.length + value.length);
    return !done;
  }
}
