/** OPFS, by a worker: sync handles are to be had there alone. */

import { atMost } from "./waiting.js";

const OPEN_MILLISECONDS = 10_000;
const CLOSE_MILLISECONDS = 5000;

export class OpfsBackend {
  kind = "opfs";
  #worker;
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
  async open(words) {
    this.#worker = startWorker();
    this.#worker.onmessage = ({ data: { id, answer } }) => this.#settle(id, answer);
    this.#worker.onerror = event => this.#failAll(event.message ?? "the worker of the store cannot be started");
    const timer = setTimeout(() => this.#failAll("the worker of the store does not answer"), OPEN_MILLISECONDS);
    try {
      return await this.#ask("open", words);
    } finally {
      clearTimeout(timer);
    }
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
    await atMost(
      this.#ask("close").catch(() => {}),
      CLOSE_MILLISECONDS,
    );
    this.#worker.terminate(); // its files are closed with it, also where it does not answer
    this.#worker = undefined;
    this.#failAll("the store is closed");
  }

  #ask(name, ...words) {
    return new Promise((resolve, reject) => {
      if (!this.#worker) return reject(new DOMException("the store is closed", "InvalidStateError"));
      const id = (this.#question += 1);
      this.#waiting.set(id, { resolve, reject });
      this.#worker.postMessage({ id, name, words });
    });
  }

  #settle(id, { value, error }) {
    const { resolve, reject } = this.#waiting.get(id) ?? {};
    this.#waiting.delete(id);
    if (error) reject?.(new DOMException(error[1], error[0]));
    else resolve?.(value);
  }

  #failAll(message) {
    for (const id of [...this.#waiting.keys()]) this.#settle(id, { error: ["InvalidStateError", message] });
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
  setTimeout(() => URL.revokeObjectURL(blob), OPEN_MILLISECONDS);
  return worker;
}
