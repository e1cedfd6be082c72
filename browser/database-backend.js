/** IndexedDB: slower than OPFS, and there on plain http as well. */

import { awakeTimeout } from "./waiting.js";

const OPEN_MILLISECONDS = 10_000;
const DATABASE = "aero-disk";
const VALUES = "values";
const HIGHEST = "\uffff";

export class DatabaseBackend {
  kind = "indexeddb";
  #database;
  #prefix;
  #isCleared = false;

  static get isThere() {
    return globalThis.indexedDB !== undefined;
  }

  /** @returns {Promise<string[]>} the keys that have values */
  async open({ path, keepsOthers }) {
    await this.#openDatabase();
    this.#prefix = `${path.join("/")}/`;
    if (!keepsOthers) await this.#removeSiblings(`${path.slice(0, -1).join("/")}/`);
    const keys = await this.#inTransaction("readonly", values => done(values.getAllKeys(this.#range())));
    return keys.map(key => key.slice(this.#prefix.length)).filter(key => !key.startsWith("note-"));
  }

  read(keys) {
    return this.#inTransaction("readonly", values =>
      Promise.all(keys.map(key => done(values.get(this.#prefix + key)))),
    );
  }

  write(pairs) {
    return this.#inTransaction("readwrite", values => {
      for (const [key, value] of pairs) values.put(value, this.#prefix + key);
    });
  }

  remove(keys) {
    return this.#inTransaction("readwrite", values => {
      for (const key of keys) values.delete(this.#prefix + key);
    });
  }

  clear() {
    return this.#inTransaction("readwrite", values => void values.delete(this.#range()));
  }

  note(name) {
    return this.#inTransaction("readonly", values => done(values.get(`${this.#prefix}note-${name}`)));
  }

  setNote(name, text) {
    return this.#inTransaction("readwrite", values => void values.put(text, `${this.#prefix}note-${name}`));
  }

  async close() {
    this.#database?.close();
  }

  async #openDatabase() {
    const database = await openDatabase();
    database.onclose = () => this.#database === database && this.#forget();
    database.onversionchange = () => {
      database.close(); // somebody deletes it
      this.#forget();
    };
    this.#database = database;
  }

  /** The user cleared the browser's data: goes on with an empty database, and tells the first writer. */
  async #openAgain(mode) {
    if (!this.#database) await this.#openDatabase();
    if (mode === "readonly") return;
    this.#isCleared = false;
    throw new DOMException("the database was cleared away", "NotFoundError");
  }

  #begin(mode) {
    try {
      return this.#database.transaction(VALUES, mode);
    } catch (error) {
      if (error.name === "InvalidStateError") throw this.#lost(); // it is being closed, and `onclose` comes later
      throw error;
    }
  }

  #lost() {
    this.#forget();
    return new DOMException("the database was cleared away", "NotFoundError");
  }

  #forget() {
    this.#database = undefined;
    this.#isCleared = true;
  }

  #range() {
    return IDBKeyRange.bound(this.#prefix, this.#prefix + HIGHEST);
  }

  async #removeSiblings(parent) {
    await this.#inTransaction("readwrite", values => {
      values.delete(IDBKeyRange.bound(parent, this.#prefix, false, true));
      values.delete(IDBKeyRange.bound(this.#prefix + HIGHEST, parent + HIGHEST, true, false));
    });
  }

  /** Acts in one transaction, and waits for its end: only then is what was written there. */
  async #inTransaction(mode, act) {
    if (this.#isCleared) await this.#openAgain(mode);
    const transaction = this.#begin(mode);
    const ended = new Promise((resolve, reject) => {
      transaction.oncomplete = resolve;
      transaction.onabort = () => reject(transaction.error ?? new DOMException("aborted", "AbortError"));
    });
    try {
      const [found] = await Promise.all([act(transaction.objectStore(VALUES)), ended]);
      return found;
    } catch (error) {
      if (error.name === "UnknownError") throw this.#lost(); // in mid-transaction, by Chromium
      throw error;
    }
  }
}

function openDatabase() {
  const request = indexedDB.open(DATABASE, 1);
  request.onupgradeneeded = () => request.result.createObjectStore(VALUES);
  return new Promise((resolve, reject) => {
    const late = new DOMException("IndexedDB does not answer", "InvalidStateError");
    const forget = awakeTimeout(OPEN_MILLISECONDS, () => reject(late));
    done(request).then(resolve, reject).finally(forget);
  });
}

function done(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
