/** IndexedDB: slower than OPFS, and there on plain http as well. */

const DATABASE = "aero-disk";
const VALUES = "values";
const HIGHEST = "\uffff";

export class DatabaseBackend {
  kind = "indexeddb";
  #database;
  #prefix;

  static get isThere() {
    return globalThis.indexedDB !== undefined;
  }

  /** @returns {Promise<string[]>} the keys that have values */
  async open({ path, keepsOthers }) {
    this.#database = await openDatabase();
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
    const transaction = this.#database.transaction(VALUES, mode);
    const ended = new Promise((resolve, reject) => {
      transaction.oncomplete = resolve;
      transaction.onabort = () => reject(transaction.error ?? new DOMException("aborted", "AbortError"));
    });
    const [found] = await Promise.all([act(transaction.objectStore(VALUES)), ended]);
    return found;
  }
}

function openDatabase() {
  const request = indexedDB.open(DATABASE, 1);
  request.onupgradeneeded = () => request.result.createObjectStore(VALUES);
  return done(request);
}

function done(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
