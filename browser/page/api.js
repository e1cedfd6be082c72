// @ts-check
/** The metadata of images, and the addresses of what they have (http.md §2 and §4). */

/**
 * @typedef {object} Image
 * @property {string} id
 * @property {string} name
 * @property {string} [description]
 * @property {number} size_bytes
 * @property {string} etag
 * @property {string} last_modified
 * @property {boolean} public
 * @property {string} [version]
 * @property {string} [sha256]
 * @property {number} [recommended_chunk_size_bytes]
 *
 * @typedef {"bytes" | "manifest" | "extents" | "profile" | "meta"} Kind
 * @typedef {{ signal?: AbortSignal | undefined, id?: string, method?: string }} Asked
 * @typedef {object} Listing
 * @property {Image[]} images
 * @property {boolean} checksLeases whether private images ask for a lease here
 * @property {{ id: string, error: Failure }[]} troubles images of leases that the server did not tell of
 * @property {string} tag differs where anything of it does
 */

const PATHS = {
  bytes: "",
  manifest: "/chunked/manifest.json",
  extents: "/extents",
  profile: "/profile",
  meta: "/meta",
};
const SECONDS = 30;
const MOST_WAIT = 60;
const LINKED = "urn:aero-storage";

/** A request that brought nothing. */
export class Failure extends Error {
  /**
   * @param {"offline" | "busy" | "refused" | "missing" | "broken"} kind
   * @param {number} [status]
   * @param {number} [retryAfter] seconds
   */
  constructor(kind, status = 0, retryAfter = 5) {
    super(`${kind}${status ? `: status ${status}` : ""}`);
    this.kind = kind;
    this.status = status;
    this.retryAfter = retryAfter;
  }

  /** @param {Response} response */
  static of(response) {
    const { status } = response;
    const seconds = Number(response.headers.get("Retry-After")) || undefined;
    if (status === 429 || status === 503) return new Failure("busy", status, seconds);
    if (status === 401 || status === 403) return new Failure("refused", status);
    return new Failure(status === 404 ? "missing" : "broken", status);
  }
}

/**
 * The seconds after which to ask again, for a server that was busy.
 * @param {unknown} error
 * @returns {number} 0: asking again is of no use
 */
export function waitOf(error) {
  if (!(error instanceof Failure) || error.kind !== "busy") return 0;
  return Math.min(MOST_WAIT, Math.max(1, error.retryAfter));
}

export class Api {
  #leases;

  /** @param {{ get(id: string): string | undefined, ids: string[] }} leases */
  constructor(leases) {
    this.#leases = leases;
  }

  /**
   * All images that this caller may have: those of the server's list, and those of the leases in this tab.
   * @param {{ signal?: AbortSignal }} [options]
   * @returns {Promise<Listing>}
   */
  async list({ signal } = {}) {
    const response = await this.ask("/v1/images", { signal });
    const images = /** @type {Image[]} */ (await jsonOf(response));
    const checksLeases = /authorization/i.test(response.headers.get("Vary") ?? "");
    const listed = new Set(images.map(image => image.id));
    const ids = this.#leases.ids.filter(id => !listed.has(id));
    /** @type {Listing["troubles"]} */
    const troubles = [];
    const found = await Promise.all(ids.map(id => this.#leased(id, signal, error => troubles.push({ id, error }))));
    const told = troubles.map(({ id, error }) => [id, error.message]).sort();
    const tag = JSON.stringify([response.headers.get("ETag"), found, told, this.#leases.ids]);
    return { images: [...images, ...found.flat()], checksLeases, troubles, tag };
  }

  /**
   * @param {string} id
   * @param {{ signal?: AbortSignal | undefined }} [options]
   * @returns {Promise<Image>}
   */
  async meta(id, { signal } = {}) {
    return this.json(pathOf(id, "meta"), { signal, id });
  }

  /**
   * What an image has beside its bytes, as its metadata tells. No request for what is not there is an error then.
   * @param {string} id
   * @param {{ signal?: AbortSignal | undefined }} [options]
   * @returns {Promise<{ profile: boolean, chunks: boolean }>}
   */
  async linked(id, { signal } = {}) {
    const { headers } = await this.ask(pathOf(id, "meta"), { signal, id, method: "HEAD" });
    const links = headers.get("Link") ?? "";
    return { profile: links.includes(`"${LINKED}:profile"`), chunks: links.includes(`"${LINKED}:chunks"`) };
  }

  /**
   * The image of a lease; none if the server does not tell of it.
   * @param {string} id @param {AbortSignal | undefined} signal @param {(error: Failure) => unknown} note
   */
  async #leased(id, signal, note) {
    try {
      return [await this.meta(id, { signal })];
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      note(error);
      return [];
    }
  }

  /**
   * The address of what an image has, with the lease of the image in it.
   * @param {string} id @param {Kind} kind
   */
  url(id, kind) {
    const lease = this.#leases.get(id);
    return lease === undefined ? this.plainUrl(id, kind) : `${this.plainUrl(id, kind)}?lease=${lease}`;
  }

  /**
   * The address without a lease, which may be shown to anybody.
   * @param {string} id @param {Kind} kind
   */
  plainUrl(id, kind) {
    return new URL(pathOf(id, kind), location.origin).href;
  }

  /**
   * Asks for a path, with the lease of the image `id` in its header. A body is read by `json` or `text`.
   * @param {string} path
   * @param {Asked} [options]
   * @returns {Promise<Response>} a good response
   */
  async ask(path, { signal, id, method = "GET" } = {}) {
    const lease = id === undefined ? undefined : this.#leases.get(id);
    const headers = lease === undefined ? {} : { Authorization: `Bearer ${lease}` };
    const response = await headOf(path, { method, headers }, signal);
    if (!response.ok) throw Failure.of(response);
    return response;
  }

  /** @param {string} path @param {Asked} [options] @returns {Promise<any>} */
  async json(path, options) {
    return jsonOf(await this.ask(path, options));
  }

  /** @param {string} path @param {Asked} [options] @returns {Promise<string>} */
  async text(path, options) {
    return textOf(await this.ask(path, options));
  }
}

/** @param {string} id @param {Kind} kind */
function pathOf(id, kind) {
  return `/v1/images/${encodeURIComponent(id)}${PATHS[kind]}`;
}

/** @param {Response} response @returns {Promise<any>} */
async function jsonOf(response) {
  const text = await textOf(response);
  try {
    return JSON.parse(text);
  } catch {
    throw new Failure("broken", response.status);
  }
}

/**
 * The body of a response. It may take long, but the server may not fall silent within it.
 * @param {Response} response
 */
async function textOf(response) {
  const reader = response.body?.getReader();
  const decoder = new TextDecoder();
  let text = "";
  try {
    for (;;) {
      const { done, value } = (await inTime(reader?.read())) ?? { done: true };
      if (done) return text + decoder.decode();
      text += decoder.decode(value, { stream: true });
    }
  } catch (error) {
    reader?.cancel().catch(() => {});
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Failure("offline");
  }
}

/**
 * Rejects when a promise takes too long.
 * @template T
 * @param {Promise<T> | undefined} promise
 * @returns {Promise<T | undefined>}
 */
async function inTime(promise) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Failure("offline")), SECONDS * 1000);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Waits for the head of a response for a limited time. An end of `signal` ends its body as well.
 * @param {string} path @param {RequestInit} request @param {AbortSignal | undefined} signal
 */
async function headOf(path, request, signal) {
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), SECONDS * 1000);
  try {
    return await fetch(path, { ...request, signal: firstOf(signal, late) });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Failure("offline");
  } finally {
    clearTimeout(timer);
  }
}

/**
 * A signal that ends with `signal` and with `late`.
 * @param {AbortSignal | undefined} signal @param {AbortController} late
 */
function firstOf(signal, late) {
  if (signal === undefined) return late.signal;
  // A listener would keep each request for as long as a view is shown, which may be for days.
  if (typeof AbortSignal.any === "function") return AbortSignal.any([signal, late.signal]);
  if (signal.aborted) late.abort(signal.reason);
  signal.addEventListener("abort", () => late.abort(signal.reason), { once: true });
  return late.signal;
}
