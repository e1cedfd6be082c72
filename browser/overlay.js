/** Writes over a disk: kept apart from the image, exported and imported. */

import { readDiff, writeDiff } from "./diff-format.js";
import { AeroDisk } from "./disk.js";
import { AeroDiskError } from "./errors.js";
import { checkChoice } from "./options.js";
import { PageKeeper } from "./page-keeper.js";
import { SECTOR, SectorPages } from "./sector-pages.js";

const SCHEMA = "aero.overlay.v1";
const RAW_PIECE = 1 << 20;
const PRIVATE = Symbol("Overlay.open makes overlays");

/** A disk that can be written to. It belongs to the version of the disk over which it was opened. */
export class Overlay {
  #disk;
  #image;
  #pages;
  #keeper;
  #turn = Promise.resolve();
  #inTurn = 0;

  /** Overlays are opened by `Overlay.open`. */
  constructor(key, disk) {
    if (key !== PRIVATE) throw new TypeError("overlays are opened by Overlay.open or Overlay.import");
    this.#disk = disk;
    const { url, size, version, tag } = disk;
    this.#image = { url, size, version, tag };
    this.#pages = new SectorPages(size);
  }

  /**
   * Opens an overlay: without any writes, or with those that are kept for this version.
   *
   * @param {AeroDisk} disk
   * @param {{persistent?: "opfs" | "cache" | false}} [options] where writes are kept beyond the session
   * @returns {Promise<Overlay>} rejects with `forbidden` if another tab has it open
   */
  static async open(disk, { persistent = false } = {}) {
    if (persistent) checkChoice("persistent", persistent);
    const top = new Overlay(PRIVATE, disk);
    const tell = error => disk.dispatchEvent(new CustomEvent("error", { detail: { error } }));
    if (persistent) top.#keeper = await PageKeeper.open(persistent, top.#image, top.#pages, tell);
    if (persistent && top.persistent !== persistent)
      console.warn(`aero-disk: ${persistent} is not to be had; writes are kept in ${top.persistent || "memory"}`);
    return top;
  }

  /** An overlay that is there at once and kept in memory. */
  static inMemory(disk) {
    return new Overlay(PRIVATE, disk);
  }

  /**
   * Opens an overlay with the writes of an export.
   *
   * @param {ReadableStream<Uint8Array>} stream what `export("diff")` gave
   * @param {AeroDisk} [disk] without one the disk is opened that the export names, with `options`
   * @returns {Promise<Overlay>} rejects with `changed` if the export is of another version, `damaged` if it is broken
   */
  static async import(stream, disk, options = {}) {
    const opened = [];
    const open = async opening => {
      opened.unshift(await opening);
      return opened[0];
    };
    try {
      const whole = await readOverlay(stream, header => disk ?? open(AeroDisk.open(header.url, options)));
      const top = await open(Overlay.open(whole.disk, options));
      top.restore(whole.save());
      await top.flush();
      return top;
    } catch (error) {
      for (const one of opened) await one.close().catch(() => {});
      throw error;
    }
  }

  get disk() {
    return this.#disk;
  }

  get size() {
    return this.#image.size;
  }

  get version() {
    return this.#image.version;
  }

  get tag() {
    return this.#image.tag;
  }

  /** Where writes are kept beyond the session: `false` where they are not. */
  get persistent() {
    return this.#keeper?.kind ?? false;
  }

  /** The bytes of memory that what was written takes. */
  get writtenBytes() {
    return this.#pages.bytes;
  }

  /**
   * Reads bytes: those that were written, and those of the disk.
   *
   * @returns {Promise<Uint8Array>} exactly `length` bytes
   */
  async read(offset, length, { signal } = {}) {
    this.#checkPart(offset, length);
    this.#checkVersion();
    const isWritten = this.#pages.covers(offset, length);
    const bytes = isWritten ? new Uint8Array(length) : await this.#disk.read(offset, length, { signal });
    this.#checkVersion();
    this.#pages.overlay(offset, bytes);
    return bytes;
  }

  /**
   * Writes bytes; sectors (512 bytes) that are written in part are read from the disk before. Later writes wait for
   * that.
   *
   * @param {number} offset
   * @param {Uint8Array} bytes
   */
  async write(offset, bytes) {
    if (!(ArrayBuffer.isView(bytes) && bytes.BYTES_PER_ELEMENT === 1))
      throw new TypeError("what is written is a Uint8Array");
    this.#checkPart(offset, bytes.length);
    this.#checkVersion();
    const copy = new Uint8Array(bytes); // `slice` of a Buffer of Node.js is no copy
    const isWhole = isAligned(offset, copy.length, this.size);
    if (isWhole && this.#inTurn === 0) return this.#put(offset, copy);
    return this.#afterOthers(() => (isWhole ? this.#put(offset, copy) : this.#writePart(offset, copy)));
  }

  #afterOthers(act) {
    this.#inTurn += 1;
    const writing = this.#turn.then(act).finally(() => {
      this.#inTurn -= 1;
    });
    this.#turn = writing.catch(() => {});
    return writing;
  }

  /** @returns {Promise<void>} after all writes so far are kept; rejects with `quota` where there is no room */
  async flush() {
    await this.#turn;
    await this.#keeper?.flush();
  }

  /** Forgets all writes. */
  async discard() {
    await this.#turn;
    const numbers = this.#pages.clear();
    await this.#keeper?.note(numbers);
    await this.flush();
  }

  /** Closes what writes are kept in; the disk stays open. */
  async close() {
    await this.#turn;
    await this.#keeper?.close();
    this.#keeper = undefined;
  }

  /**
   * Exports what was written (`diff`), or all of the disk with it (`raw`), as it is now: later writes do not change
   * it.
   *
   * @param {"diff" | "raw"} kind
   * @returns {ReadableStream<Uint8Array>}
   */
  export(kind = "diff") {
    const pages = this.#pages.snapshot();
    if (kind === "diff") return streamOf(writeDiff({ schema: SCHEMA, ...this.#image }, pages.runs()));
    if (kind === "raw") return streamOf(this.#rawPieces(pages));
    throw new TypeError(`an export is "diff" or "raw", not ${kind}`);
  }

  /** @returns {{image: object, runs: [number, Uint8Array][]}} all writes, for states of machines */
  save() {
    const runs = [...this.#pages.snapshot().runs()].map(({ offset, bytes }) => [offset, bytes]);
    return { image: { ...this.#image }, runs };
  }

  /** Puts what `save` gave in the place of all writes; throws `changed` if it is of another version. */
  restore({ image, runs }) {
    this.#checkImage(image);
    for (const [offset, bytes] of runs) this.#checkRun(offset, bytes);
    const numbers = this.#pages.clear();
    for (const [offset, bytes] of runs) numbers.push(...this.#pages.write(offset, bytes));
    this.#keeper?.note(numbers).catch(() => {}); // `flush` tells
  }

  async *#rawPieces(pages) {
    for (let offset = 0; offset < this.size; offset += RAW_PIECE) {
      const bytes = await this.#disk.read(offset, Math.min(RAW_PIECE, this.size - offset));
      this.#checkVersion();
      pages.overlay(offset, bytes);
      yield bytes;
    }
  }

  /** Reads the sectors at both ends, and writes whole ones. */
  async #writePart(offset, bytes) {
    const start = offset - (offset % SECTOR);
    const end = Math.min(this.size, Math.ceil((offset + bytes.length) / SECTOR) * SECTOR);
    const whole = await this.read(start, end - start);
    this.#pages.overlay(start, whole); // with writes that came while the disk was read
    whole.set(bytes, offset - start);
    await this.#put(start, whole);
  }

  async #put(offset, bytes) {
    const numbers = this.#pages.write(offset, bytes);
    await this.#keeper?.note(numbers);
  }

  #checkRun(offset, bytes) {
    const fits = Number.isSafeInteger(offset) && offset % SECTOR === 0 && offset + bytes.length <= this.size;
    if (!fits || !isAligned(offset, bytes.length, this.size)) {
      throw new AeroDiskError("damaged", `${bytes.length} bytes at ${offset} are no sectors of the disk`);
    }
  }

  #checkPart(offset, length) {
    const isCount = value => Number.isSafeInteger(value) && value >= 0;
    if (!isCount(offset) || !isCount(length) || offset + length > this.size) {
      throw new RangeError(`${length} bytes from ${offset} on are not within the ${this.size} bytes of the disk`);
    }
  }

  #checkVersion() {
    this.#checkImage(this.#disk);
  }

  #checkImage({ size, version, tag }) {
    const isSame = size === this.#image.size && (version ?? tag) === (this.#image.version ?? this.#image.tag);
    if (!isSame) throw new AeroDiskError("changed", "what was written is of another version of the image");
  }
}

/** Reads all of a file into memory: one that is broken changes nothing that is kept. */
async function readOverlay(stream, diskOf) {
  let image;
  let top;
  const runs = [];
  await readDiff(
    stream,
    async header => {
      checkHeader(header);
      image = header;
      top = Overlay.inMemory(await diskOf(header));
      top.restore({ image, runs: [] }); // refuses another version before the rest is read
    },
    (offset, bytes) => runs.push([offset, bytes]),
  );
  top.restore({ image, runs });
  return top;
}

function checkHeader(header) {
  const isOurs = header?.schema === SCHEMA && Number.isSafeInteger(header.size) && /^https?:/.test(header.url);
  if (!isOurs) throw new AeroDiskError("damaged", "the file cannot be imported: its header is not one of an overlay");
}

function isAligned(offset, length, size) {
  return offset % SECTOR === 0 && (length % SECTOR === 0 || offset + length === size);
}

/** @returns {ReadableStream<Uint8Array>} pieces, each made when it is asked for */
function streamOf(pieces) {
  return new ReadableStream({
    async pull(controller) {
      const { done, value } = await pieces.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    async cancel() {
      await pieces.return();
    },
  });
}
