// @ts-check
/** Which images of the list are shown: search, order and pages. Knows no document. */

/** @typedef {import("./api.js").Image} Image */
/** @typedef {"listed" | "name" | "size" | "changed"} Order */
/** @typedef {{ words: string, order: Order, page: number }} Query */
/** @typedef {{ image: Image, text: string | undefined }} Entry `text` is made for the first search */

export const PAGE_SIZE = 50;
/** @type {readonly Order[]} */
export const ORDERS = ["listed", "name", "size", "changed"];

const names = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

/** The images of one listing, prepared for search. */
export class Catalog {
  /** @type {Entry[]} */
  #entries;
  /** @type {Map<Order, Entry[]>} */
  #ordered = new Map();

  /** @param {Image[]} images */
  constructor(images) {
    this.#entries = images.map(image => ({ image, text: undefined }));
  }

  get count() {
    return this.#entries.length;
  }

  /**
   * One page of what is searched for.
   * @param {Query} query
   */
  find({ words, order, page }) {
    const wanted = fold(words).split(" ").filter(Boolean);
    const entries = this.#inOrder(order);
    const found = wanted.length ? entries.filter(entry => has(entry, wanted)) : entries;
    const pages = Math.max(1, Math.ceil(found.length / PAGE_SIZE));
    const shownPage = Math.min(Math.max(1, page), pages);
    const start = (shownPage - 1) * PAGE_SIZE;
    const images = found.slice(start, start + PAGE_SIZE).map(({ image }) => image);
    return { images, count: found.length, pages, page: shownPage, start };
  }

  /** @param {Order} order */
  #inOrder(order) {
    if (order === "listed") return this.#entries;
    const known = this.#ordered.get(order);
    if (known) return known;
    const sorted = [...this.#entries].sort((one, other) => compare(one.image, other.image, order));
    this.#ordered.set(order, sorted);
    return sorted;
  }
}

/** @param {Entry} entry @param {string[]} words */
function has(entry, words) {
  const text = (entry.text ??= searchText(entry.image));
  return words.every(word => text.includes(word));
}

/** @param {Image} one @param {Image} other @param {Order} order */
function compare(one, other, order) {
  if (order === "size") return other.size_bytes - one.size_bytes;
  if (order === "changed") return Date.parse(other.last_modified) - Date.parse(one.last_modified);
  return names.compare(one.name, other.name);
}

/** @param {Image} image */
function searchText({ id, name, description, version }) {
  return fold(`${id} ${name} ${description ?? ""} ${version ?? ""}`);
}

/** @param {string} text */
function fold(text) {
  return text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase().replace(/\s+/g, " ");
}

/** @param {string} hash @returns {Query} what a hash asks for: `#/?q=linux&order=size&page=2` */
export function queryOf(hash) {
  const given = new URLSearchParams(hash.split("?").slice(1).join("?"));
  const order = ORDERS.find(one => one === given.get("order")) ?? "listed";
  return {
    words: given.get("q") ?? "",
    order,
    page: Math.max(1, Number.parseInt(given.get("page") ?? "1", 10) || 1),
  };
}

/** @param {Query} query @returns {string} */
export function hashOfQuery({ words, order, page }) {
  const given = new URLSearchParams();
  if (words) given.set("q", words);
  if (order !== "listed") given.set("order", order);
  if (page > 1) given.set("page", String(page));
  return String(given) ? `#/?${given}` : "#/";
}
