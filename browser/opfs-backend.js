/** OPFS, by a worker: sync handles are to be had there alone. */

import { awakeTimeout } from "./waiting.js";

const BLOB_MILLISECONDS = 10_000;
/** A worker that is silent for longer is ended: Chromium may never come back from files that were cleared away. */
const ANSWER_MILLISECONDS = 10_000;
const CLOSE_MILLISECONDS = 2000;

export class OpfsBackend {
  kind = "opfs";
  /** Told of keys that came and went: `{added, removed}`, and `isFresh` where all others are gone. */
  onNews = () => {};
  #words;
  #worker;
  #opened;
  #question = 0;
  #waiting = new Map();

  static get isThere() {
    return (
      typeof Worker === "function" &&
      typeof BroadcastChannel === "function" &&
      globalThis.navigator?.storage?.getDirectory !== undefined &&
      globalThis.navigator.locks !== undefined
    );
  }

  /** @returns {Promise<string[]>} the keys that have values */
  open(words) {
    this.#words = words;
    this.#opened = this.#start(words);
    return this.#opened;
  }

  read(keys) {
    return this.#ask("read", keys);
  }

  write(pairs) {
    return this.#ask("write", pairs);
  }

  remove(keys) {
    return this.#ask("remove", keys);
  }

  clear() {
    return this.#ask("clear");
  }

  note(name) {
    return this.#ask("note", name);
  }

  setNote(name, text) {
    return this.#ask("setNote", name, text);
  }

  async close() {
    if (!this.#worker) return;
    await this.#ask("close").catch(() => {}); // every write has been answered before
    this.#stop("the store is closed");
  }

  async #start(words) {
    this.#worker = startWorker();
    this.#worker.onmessage = ({ data }) => this.#hear(data);
    this.#worker.onerror = event => this.#stop(event.message ?? "the worker of the store cannot be started");
    return this.#send("open", words);
  }

  #hear({ id, answer, news, isLost }) {
    if (news) this.onNews(news);
    else if (isLost) this.#startAnew();
    else this.#settle(id, answer);
  }

  /** The files were cleared away: a worker of its own begins with empty ones. */
  #startAnew() {
    this.#stop("the files of the store were cleared away", "NotFoundError");
    this.#opened = this.#start({ ...this.#words, keepsOthers: true, isRestart: true });
    this.#opened.then(added => this.onNews({ isFresh: true, added, removed: [] })).catch(() => {}); // calls have it
  }

  /** Ends the worker: one that could not be started answers nothing. */
  #stop(message, name = "InvalidStateError") {
    this.#worker?.terminate();
    this.#worker = undefined;
    for (const id of [...this.#waiting.keys()]) this.#settle(id, { error: [name, message] });
  }

  async #ask(name, ...words) {
    await this.#opened;
    return this.#send(name, ...words);
  }

  #send(name, ...words) {
    return new Promise((resolve, reject) => {
      if (!this.#worker) return reject(new DOMException("the store is closed", "InvalidStateError"));
      const id = (this.#question += 1);
      const milliseconds = name === "close" ? CLOSE_MILLISECONDS : ANSWER_MILLISECONDS;
      const forget = awakeTimeout(milliseconds, () => this.#stop("the worker of the store does not answer"));
      this.#waiting.set(id, { resolve, reject, forget });
      this.#worker.postMessage({ id, name, words });
    });
  }

  #settle(id, { value, error }) {
    const { resolve, reject, forget } = this.#waiting.get(id) ?? {};
    this.#waiting.delete(id);
    forget?.();
    if (error) reject?.(new DOMException(error[1], error[0]));
    else resolve?.(value);
  }
}

/** Workers cannot be loaded from another origin: a script of this one imports it. */
function startWorker() {
  const { href, origin } = new URL("./store-worker.js", import.meta.url);
  if (origin === globalThis.location?.origin) {
    return new Worker(new URL("./store-worker.js", import.meta.url), { type: "module" }); // as bundlers look for it
  }
  const blob = URL.createObjectURL(new Blob([`import ${JSON.stringify(href)};`], { type: "text/javascript" }));
  const worker = new Worker(blob, { type: "module" });
  setTimeout(() => URL.revokeObjectURL(blob), BLOB_MILLISECONDS);
  return worker;
}
