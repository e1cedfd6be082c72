/** The lease of a private image: where it comes from, when it is renewed, and how it travels (http.md §12). */

import { AeroDiskError } from "./errors.js";

const EARLY_SECONDS = 60;
const IS_BROWSER = globalThis.location !== undefined;

/** @returns {object} the claims of a token; empty if it cannot be read, which is for the server to judge */
function claimsOf(token) {
  try {
    const payload = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(payload), sign => sign.charCodeAt(0)))) ?? {};
  } catch {
    return {};
  }
}

/** @returns {string} the token of what a lease function gave: a token, a URL with one, or an object with either */
function tokenOf(given) {
  const text = typeof given === "object" && given !== null ? (given.lease ?? given.token ?? given.url) : given;
  if (typeof text !== "string" || !text) throw new AeroDiskError("expired", "the lease function gave no lease");
  if (!text.includes("/")) return text;
  const token = new URL(text, "http://localhost").searchParams.get("lease");
  if (token === null) throw new AeroDiskError("expired", "the lease function gave a URL without a lease");
  return token;
}

/** One lease at a time, renewed before its end by one call for all that wait. */
export class LeaseHolder {
  #bring;
  #carrier;
  #renewing;
  #claims = {};
  #endsAt = Infinity;
  #renewAt = Infinity;
  #takenAt;
  #token;

  /**
   * @param {string | (() => unknown) | undefined} lease a token, or a function that brings a fresh one
   * @param {"auto" | "query" | "header"} carrier `auto`: in the query from other origins, as it needs no preflight
   */
  constructor(lease, carrier = "auto") {
    this.#carrier = carrier;
    if (typeof lease === "function") this.#bring = lease;
    else if (lease !== undefined && lease !== null) this.#take(tokenOf(lease));
  }

  /** Whether a fresh lease can be had. */
  get canRenew() {
    return this.#bring !== undefined;
  }

  /**
   * @returns {Promise<string | undefined>} a lease that is good as far as can be told; undefined where none is used
   */
  async current() {
    if (!this.#bring) return this.#token;
    if (this.#token === undefined || this.#isOver()) return this.#renew();
    if (Date.now() >= this.#renewAt) this.#renew().catch(() => {}); // the one in hand is good for a while
    return this.#token;
  }

  /** Brings a fresh lease after `refused` was; if another request has brought one meanwhile, that is taken. */
  async renewAfter(refused) {
    if (refused === this.#token || this.#token === undefined) await this.#renew();
  }

  /** Takes what the server says of a lease: the seconds that are left, whatever this machine's clock shows. */
  noteRemaining(token, field) {
    if (token !== this.#token || !/^\d{1,10}$/.test(field ?? "")) return;
    this.#setEnd(Date.now() + Number(field) * 1000);
  }

  /** Puts a lease on a request: into its query or its header fields. */
  attach(token, url, headers) {
    if (token === undefined) return url;
    if (!this.#goesInQuery(url)) {
      headers.set("Authorization", `Bearer ${token}`);
      return url;
    }
    const signed = new URL(url);
    const word = `lease=${encodeURIComponent(token)}`;
    signed.search = signed.search ? `${word}&${signed.search.slice(1)}` : word;
    return signed;
  }

  #goesInQuery(url) {
    if (this.#claims.uexp < Date.now() / 1000) return false; // `uexp`: the last moment for it in a URL
    if (this.#carrier !== "auto") return this.#carrier === "query";
    return IS_BROWSER && url.origin !== globalThis.location.origin;
  }

  #isOver() {
    return this.#endsAt <= Date.now();
  }

  #setEnd(endsAt) {
    const told = this.#claims.exp - this.#claims.iat;
    const lifetime = Number.isFinite(told) ? told : (endsAt - this.#takenAt) / 1000;
    this.#endsAt = endsAt;
    this.#renewAt = endsAt - Math.min(EARLY_SECONDS, lifetime / 4) * 1000;
  }

  #renew() {
    this.#renewing ??= Promise.resolve()
      .then(() => this.#bring())
      .then(given => this.#take(tokenOf(given)))
      .catch(error => {
        throw this.#failure(error);
      })
      .finally(() => {
        this.#renewing = undefined;
      });
    return this.#renewing;
  }

  #failure(error) {
    this.#renewAt = Date.now() + 5000; // not at every request
    if (error instanceof AeroDiskError) return error;
    return new AeroDiskError("expired", `no fresh lease could be had: ${error?.message ?? error}`, {
      cause: error,
    });
  }

  #take(token) {
    this.#token = token;
    this.#takenAt = Date.now();
    this.#claims = claimsOf(token);
    const end = this.#claims.exp * 1000;
    // A fresh lease that seems to be over tells of a wrong clock here: then the server's answers tell the time.
    this.#setEnd(end > Date.now() ? end : Infinity);
    return token;
  }
}
