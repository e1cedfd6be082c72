/** The URLs of an image: of its bytes, its metadata and its chunks (http.md §2). */

const IMAGE = /\/v1\/images\/[^/]+$/; // `data` and `manifest` are ids as well
const MANIFEST = /\/manifest(?:\.json)?$/;
const CHUNKED = /\/chunked(?:\/[^/]+)?\/manifest(?:\.json)?$/;
const BYTES = /\/data$/;
const VERSION = /\/versions\/([^/]+)$/;

/** @returns {string | undefined} where relative URLs begin: the page or worker, if there is one */
function pageAddress() {
  return globalThis.document?.baseURI ?? globalThis.location?.href;
}

/** The addresses of one image. Query parameters that are not `lease` stay on every one of them. */
export class Addresses {
  /** @param {string | URL} url an image, a chunk manifest, or an image with a lease in its query */
  constructor(url) {
    const given = new URL(url, pageAddress());
    /** The lease that the URL had in its query. */
    this.lease = given.searchParams.get("lease") || undefined;
    if (given.searchParams.has("lease")) given.searchParams.delete("lease");
    given.hash = "";
    this.given = given;
    this.isManifest = MANIFEST.test(given.pathname) && !IMAGE.test(given.pathname);
    if (this.isManifest) this.imagePath = given.pathname.replace(CHUNKED, "");
    else this.#takeImage(given.pathname);
  }

  #takeImage(pathname) {
    const path = IMAGE.test(pathname) ? pathname : pathname.replace(BYTES, "");
    /** The version that the URL names, if it names one. */
    this.version = IMAGE.test(path) ? undefined : VERSION.exec(path)?.[1];
    this.imagePath = this.version === undefined ? path : path.replace(VERSION, "");
  }

  /** Whether the image is known that has these bytes; of a manifest by itself it is not. */
  get isOfImage() {
    return !this.isManifest || this.imagePath !== this.given.pathname;
  }

  /** The image without lease and version: persistent stores and exports name it so. */
  get name() {
    return this.isManifest ? this.given.href : this.#at(this.imagePath).href;
  }

  /** The bytes by an address that may mean other bytes one day. */
  get bytes() {
    return this.isManifest ? this.given : this.#at(this.given.pathname);
  }

  get metadata() {
    return this.#at(`${this.imagePath}/meta`);
  }

  get manifest() {
    return this.isManifest ? this.given : this.#at(`${this.imagePath}/chunked/manifest.json`);
  }

  /** The bytes of one version: they never change below this address (http.md §13). */
  bytesOf(version) {
    return this.#at(`${this.imagePath}/versions/${version}`);
  }

  /** `extents` or `profile`, of a version where it is known. */
  part(name, version) {
    return this.#at(`${this.imagePath}${version === undefined ? "" : `/versions/${version}`}/${name}`);
  }

  #at(path) {
    const url = new URL(this.given);
    url.pathname = path;
    return url;
  }
}

/** @returns {URL} the manifest of a version, beside one whose URL names none */
export function manifestOf(manifest, version) {
  return beside(manifest, `${version}/manifest.json`);
}

/** @returns {URL} a chunk below its manifest */
export function chunkBelow(manifest, name) {
  return beside(manifest, `chunks/${name}`);
}

/** @returns {URL} `url` with one more word in its query */
export function withWord(url, word) {
  const longer = new URL(url);
  longer.search = longer.search ? `${longer.search}&${word}` : word;
  return longer;
}

function beside(url, relative) {
  const found = new URL(relative, url);
  found.search = url.search;
  return found;
}
