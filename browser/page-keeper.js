/** Keeps the pages of an overlay in a persistent store, shortly after they were written. */

import { keyOfIndex } from "./block-store.js";
import { AeroDiskError } from "./errors.js";
import { PACKED_PAGE } from "./sector-pages.js";
import { Store } from "./stores.js";

const PAGES_AT_ONCE = 256;
const MOST_UNKEPT = 4096;

/** The pages of one overlay, which no other tab may have open. */
export class PageKeeper {
  #store;
  #pages;
  #onFailure;
  #unkept = new Set();
  #keeping;
  #hasFailed = false;
  /** Whether what was kept is gone, and not all of it is kept again so far. */
  #isCleared = false;

  /**
   * @param {Store} store
   * @param {import("./sector-pages.js").SectorPages} pages
   * @param {(error: AeroDiskError) => void} onFailure told when writes cannot be kept that nobody waits for
   */
  constructor(store, pages, onFailure) {
    this.#store = store;
    this.#pages = pages;
    this.#onFailure = onFailure;
  }

  /**
   * Opens what is kept for a version of an image, and reads it into `pages`.
   *
   * @param {"opfs" | "cache"} kind
   * @returns {Promise<PageKeeper | undefined>} undefined where nothing can be kept
   */
  static async open(kind, { url, version, tag }, pages, onFailure) {
    const names = [`overlay:${url}`, version ?? tag ?? ""];
    const store = await Store.open(kind, names, PACKED_PAGE, {
      exclusive: true,
      keepsOthers: true,
      onFailure: error => console.warn(error),
    }).catch(error => {
      throw asOverlayError(error);
    });
    if (!store) return undefined;
    const keeper = new PageKeeper(store, pages, onFailure);
    await keeper.#load();
    return keeper;
  }

  get kind() {
    return this.#store.kind;
  }

  /** Notes that pages were written or cleared; waits if much is not kept so far, or if the last time failed. */
  async note(numbers) {
    for (const number of numbers) this.#unkept.add(number);
    const isFirst = this.#keeping === undefined;
    const keeping = this.#keep();
    if (this.#hasFailed || this.#unkept.size > MOST_UNKEPT) await keeping;
    else keeping.catch(error => isFirst && this.#onFailure(error)); // the next write or flush tries again
  }

  /** @returns {Promise<void>} after all that was written is kept; rejects with `quota` where there is no room */
  async flush() {
    do await this.#keep();
    while (this.#unkept.size || this.#keeping);
  }

  async close() {
    try {
      await this.flush();
    } finally {
      await this.#store.close();
    }
  }

  #keep() {
    this.#keeping ??= this.#keepAll().finally(() => {
      this.#keeping = undefined;
    });
    return this.#keeping;
  }

  async #keepAll() {
    do {
      const numbers = this.#take();
      try {
        await this.#keepPages(numbers);
        this.#hasFailed = false;
      } catch (error) {
        this.#hasFailed = true;
        for (const number of numbers) this.#unkept.add(number);
        throw asOverlayError(error);
      }
    } while (this.#unkept.size);
  }

  /** @returns {number[]} pages to keep, a number of them at once; those that were cleared all at once */
  #take() {
    const cleared = [...this.#unkept].filter(number => !this.#pages.hasPage(number));
    const numbers = cleared.length ? cleared : [...this.#unkept].slice(0, PAGES_AT_ONCE);
    for (const number of numbers) this.#unkept.delete(number); // written again meanwhile: kept again
    return numbers;
  }

  /** Keeps pages; all of them, if the browser's data was cleared. */
  async #keepPages(numbers) {
    const pairs = numbers.map(number => [keyOfIndex(number), this.#pages.packed(number)]);
    try {
      await this.#store.put(pairs.filter(([, page]) => page));
    } catch (error) {
      if (error.name !== "NotFoundError" || this.#isCleared) throw error;
      for (const number of [...this.#pages.numbers(), ...numbers]) this.#unkept.add(number);
      this.#isCleared = true;
      return;
    }
    this.#isCleared = false;
    await this.#store.remove(pairs.filter(([, page]) => !page).map(([key]) => key));
  }

  async #load() {
    const keys = this.#store.keys();
    for (let first = 0; first < keys.length; first += PAGES_AT_ONCE) {
      const some = keys.slice(first, first + PAGES_AT_ONCE);
      const pages = await this.#store.read(some);
      pages.forEach((page, at) => {
        if (page?.length !== PACKED_PAGE) throw new AeroDiskError("damaged", "a page that was kept is damaged");
        this.#pages.unpack(parseInt(some[at], 16), page);
      });
    }
  }
}

function asOverlayError(error) {
  if (error instanceof AeroDiskError) return error;
  if (error.name === "InUseError")
    return new AeroDiskError("forbidden", "another tab writes to this overlay", { cause: error });
  return new AeroDiskError("quota", `what was written cannot be kept: ${error.message}`, { cause: error });
}
