// @ts-check
/** Leases of private images (http.md §12), kept for this tab alone, and never in the address of the page. */

const PLACE = "aero-leases";
const TOKEN = /^[\w-]+\.[\w-]+\.[\w-]+$/;
const LONGEST = 2048;
const MOST_IMAGES = 16;
const ID = /^(?!\.{1,2}$)[A-Za-z0-9._-]{1,128}$/;

/** A text that is no lease. */
export class LeaseError extends Error {}

/**
 * The token in a text: the token itself, or a URL that carries it.
 * @param {string} text
 */
function tokenOf(text) {
  const given = text.trim();
  const token = given.includes("=") ? (/[?&]lease=([^&#]*)/.exec(given)?.[1] ?? "") : given;
  if (token.length > LONGEST || !TOKEN.test(token)) {
    throw new LeaseError("This is no lease: it has three parts with a dot between them.");
  }
  return token;
}

/**
 * The images that a token names. The server judges it; this says where it may be shown.
 * @param {string} token
 * @returns {string[]}
 */
function imagesOf(token) {
  try {
    const payload = (token.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(payload), sign => sign.charCodeAt(0));
    const { img } = JSON.parse(new TextDecoder().decode(bytes));
    return [img].flat().filter(id => typeof id === "string" && ID.test(id));
  } catch {
    return [];
  }
}

export class Leases {
  /** @type {Map<string, string>} */
  #tokens;
  #storage;

  /** @param {Storage | undefined} storage of the tab; undefined where the browser gives none */
  constructor(storage) {
    this.#storage = storage;
    this.#tokens = read(storage);
  }

  /** @param {string} id @returns {string | undefined} the lease of an image */
  get(id) {
    return this.#tokens.get(id);
  }

  /** @returns {string[]} the images that have one */
  get ids() {
    return [...this.#tokens.keys()];
  }

  /**
   * Keeps a lease for an image.
   * @param {string} id @param {string} text a token, or a URL with one
   */
  set(id, text) {
    this.#tokens.set(id, tokenOf(text));
    this.#write();
  }

  /**
   * Keeps a lease for all images that it names.
   * @param {string} text a token, or a URL with one
   * @returns {string[]} the images
   */
  add(text) {
    const token = tokenOf(text);
    const ids = imagesOf(token);
    if (ids.length === 0 || ids.length > MOST_IMAGES) throw new LeaseError("This lease names no image.");
    for (const id of ids) this.#tokens.set(id, token);
    this.#write();
    return ids;
  }

  /** @param {string} id */
  forget(id) {
    this.#tokens.delete(id);
    this.#write();
  }

  #write() {
    try {
      this.#storage?.setItem(PLACE, JSON.stringify(Object.fromEntries(this.#tokens)));
    } catch {
      this.#storage = undefined; // full or forbidden: they last until the page is left
    }
  }
}

/** @param {Storage | undefined} storage @returns {Map<string, string>} */
function read(storage) {
  try {
    const kept = JSON.parse(storage?.getItem(PLACE) ?? "{}");
    return new Map(Object.entries(kept).filter(([id, token]) => ID.test(id) && TOKEN.test(String(token))));
  } catch {
    return new Map();
  }
}
