/** Sectors that were written: pages of 4 KiB, each with a mark for every sector that it has. */

export const SECTOR = 512;
export const PAGE = 4096;
export const PACKED_PAGE = PAGE + 1;

/** A page; `sectors` has a bit for each sector of it that was written. */
class Page {
  constructor(generation) {
    this.generation = generation;
    this.sectors = 0;
    this.bytes = new Uint8Array(PAGE);
  }

  copy(generation) {
    const page = new Page(generation);
    page.sectors = this.sectors;
    page.bytes.set(this.bytes);
    return page;
  }
}

/** Written sectors of a disk. */
export class SectorPages {
  #size;
  #pages = new Map();
  #generation = 0;

  /** @param {number} size bytes of the disk; its last sector may be a part of one */
  constructor(size) {
    this.#size = size;
  }

  /** The bytes that the pages take. */
  get bytes() {
    return this.#pages.size * PAGE;
  }

  /** @returns {boolean} whether a sector was written */
  has(sector) {
    const page = this.#pages.get(Math.floor((sector * SECTOR) / PAGE));
    return page !== undefined && (page.sectors & maskOf(sector)) !== 0;
  }

  /** @returns {number[]} the pages that have something */
  numbers() {
    return [...this.#pages.keys()];
  }

  /** @returns {boolean} whether anything of a page was written */
  hasPage(number) {
    return this.#pages.has(number);
  }

  /** Writes whole sectors from byte `offset` on. @returns {number[]} the pages that they are in */
  write(offset, bytes) {
    const numbers = new Set();
    for (let at = 0; at < bytes.length; at += SECTOR) {
      const sector = (offset + at) / SECTOR;
      const number = Math.floor((offset + at) / PAGE);
      const page = this.#pageToWrite(number);
      numbers.add(number);
      page.bytes.set(bytes.subarray(at, at + SECTOR), (offset + at) % PAGE);
      page.sectors |= maskOf(sector);
    }
    return [...numbers];
  }

  /** Puts the sectors that were written over `bytes`, which begin at byte `offset` of the disk. */
  overlay(offset, bytes) {
    const end = offset + bytes.length;
    for (let start = offset - (offset % SECTOR); start < end; start += SECTOR) {
      if (!this.has(start / SECTOR)) continue;
      const page = this.#pages.get(Math.floor(start / PAGE));
      const from = Math.max(start, offset);
      const to = Math.min(start + SECTOR, end);
      bytes.set(page.bytes.subarray(from % PAGE, (from % PAGE) + to - from), from - offset);
    }
  }

  /** @returns {boolean} whether every byte of a part was written */
  covers(offset, length) {
    for (let sector = Math.floor(offset / SECTOR); sector * SECTOR < offset + length; sector += 1) {
      if (!this.has(sector)) return false;
    }
    return true;
  }

  /** @returns {SectorPages} the pages as they are now; later writes do not change them */
  snapshot() {
    const taken = new SectorPages(this.#size);
    taken.#pages = new Map(this.#pages);
    this.#generation += 1;
    taken.#generation = this.#generation;
    return taken;
  }

  /** @returns {number[]} the pages that had something, and have nothing now */
  clear() {
    const numbers = this.numbers();
    this.#pages.clear();
    return numbers;
  }

  /** @returns {Uint8Array | undefined} a page to be kept: the marks of its sectors, and its bytes */
  packed(number) {
    const page = this.#pages.get(number);
    if (!page) return undefined;
    const packed = new Uint8Array(PACKED_PAGE);
    packed[0] = page.sectors;
    packed.set(page.bytes, 1);
    return packed;
  }

  /** Takes a page back that `packed` gave. */
  unpack(number, packed) {
    const page = this.#pageToWrite(number);
    page.sectors = packed[0];
    page.bytes.set(packed.subarray(1));
  }

  /** Yields runs of written sectors in order: first byte, and bytes of at most a page. */
  *runs() {
    for (const number of [...this.#pages.keys()].sort((one, other) => one - other)) {
      const { sectors, bytes } = this.#pages.get(number);
      for (let from = 0; from < PAGE; from += SECTOR) {
        let to = from;
        while (to < PAGE && sectors & (1 << (to / SECTOR))) to += SECTOR;
        const end = Math.min(to, this.#size - number * PAGE);
        if (to > from) yield { offset: number * PAGE + from, bytes: bytes.subarray(from, end) };
        from = Math.max(from, to);
      }
    }
  }

  #pageToWrite(number) {
    let page = this.#pages.get(number);
    if (page?.generation !== this.#generation) {
      page = page?.copy(this.#generation) ?? new Page(this.#generation);
      this.#pages.set(number, page);
    }
    return page;
  }
}

function maskOf(sector) {
  return 1 << (sector % (PAGE / SECTOR));
}
