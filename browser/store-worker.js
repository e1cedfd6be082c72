/**
 * The worker of a persistent store: it has the files of OPFS open, or asks the worker of another tab that has them.
 *
 * One worker is the owner: it holds a lock of `navigator.locks`, since a file has one sync handle at a time. Others
 * ask it over a BroadcastChannel, and one of them becomes the owner when it goes.
 */

import { PackedFile } from "./packed-file.js";

const ANSWER_MILLISECONDS = 2000;
const MOST_RECORDS = 4;

/** The files, and what the owner does with them, by the names of messages. */
class Files {
  #directory;
  #handles = [];
  #packed;

  static async open({ path, slotSize, keepsOthers }) {
    const files = new Files();
    const parent = await directoryOf(path.slice(0, -1));
    files.#directory = await parent.getDirectoryHandle(path.at(-1), { create: true });
    if (!keepsOthers) await removeSiblings(parent, path.at(-1));
    const names = await files.#indexNames();
    const data = await files.#openFile("data");
    files.#packed = new PackedFile(data, await files.#openFile(names[0]), slotSize);
    if (files.#packed.recordsPerValue > MOST_RECORDS) await files.#renewIndex(names[0]);
    return files;
  }

  keys() {
    return this.#packed.keys();
  }

  read(keys) {
    return keys.map(key => this.#packed.get(key));
  }

  write(pairs) {
    this.#packed.put(pairs);
  }

  remove(keys) {
    this.#packed.remove(keys);
  }

  retain(keys) {
    this.#packed.retain(keys);
  }

  async clear() {
    this.#packed.clear();
    const notes = [];
    for await (const name of this.#directory.keys()) if (name.startsWith("note-")) notes.push(name);
    for (const name of notes) await this.#directory.removeEntry(name);
  }

  async note(name) {
    try {
      const file = await (await this.#directory.getFileHandle(`note-${name}`)).getFile();
      return await file.text();
    } catch (error) {
      if (error.name === "NotFoundError") return undefined;
      throw error;
    }
  }

  async setNote(name, text) {
    const handle = await (
      await this.#directory.getFileHandle(`note-${name}`, { create: true })
    ).createSyncAccessHandle();
    try {
      handle.truncate(0);
      handle.write(new TextEncoder().encode(text), { at: 0 });
      handle.flush();
    } finally {
      handle.close();
    }
  }

  close() {
    for (const handle of this.#handles.splice(0)) handle.close();
  }

  async #openFile(name) {
    const handle = await (await this.#directory.getFileHandle(name, { create: true })).createSyncAccessHandle();
    this.#handles.push(handle);
    return handle;
  }

  /** The index in force is the oldest: a newer one counts when it is complete, and then the older is removed. */
  async #indexNames() {
    const numbers = [];
    for await (const name of this.#directory.keys())
      if (/^index-\d+$/.test(name)) numbers.push(Number(name.slice(6)));
    const [oldest = 1, ...incomplete] = numbers.sort((one, other) => one - other);
    for (const number of incomplete) await this.#directory.removeEntry(`index-${number}`);
    return [`index-${oldest}`];
  }

  async #renewIndex(name) {
    const fresh = await this.#openFile(`index-${Number(name.slice(6)) + 1}`);
    const [old] = this.#handles.splice(1, 1);
    this.#packed.moveIndex(fresh);
    old.close();
    await this.#directory.removeEntry(name);
  }
}

async function directoryOf(path) {
  let directory = await navigator.storage.getDirectory();
  for (const name of path) directory = await directory.getDirectoryHandle(name, { create: true });
  return directory;
}

/** Versions that are not read any more are removed; those that another tab reads cannot be. */
async function removeSiblings(parent, own) {
  const names = [];
  for await (const name of parent.keys()) if (name !== own) names.push(name);
  for (const name of names) await parent.removeEntry(name, { recursive: true }).catch(() => {});
}

/** The store as this tab sees it: its own files, or those of the owner. */
class Store {
  #files;
  #channel;
  #question = 0;
  #answers = new Map();
  #release;
  #giveUp = new AbortController();
  #words;
  #me = `${Date.now()}-${Math.random()}`;

  async open(words) {
    this.#words = words;
    const lock = `aero-disk:${words.path.join("/")}`;
    this.#channel = new BroadcastChannel(lock);
    this.#channel.onmessage = ({ data }) => this.#hear(data);
    const isOwner = await this.#own(lock, { ifAvailable: true });
    if (!isOwner && words.exclusive) throw new DOMException("another tab has it open", "InUseError");
    if (!isOwner) this.#own(lock, { signal: this.#giveUp.signal }).catch(() => {});
    return this.call("keys");
  }

  /** Does something with the files, or has the owner do it. */
  async call(name, ...words) {
    if (this.#files) return this.#files[name](...words);
    return this.#ask(name, words);
  }

  async close() {
    this.#giveUp.abort();
    this.#channel?.close();
    this.#files?.close();
    this.#release?.();
  }

  /** @returns {Promise<boolean>} whether this worker has the lock, which it holds until it is closed */
  #own(lock, options) {
    return new Promise((resolve, reject) => {
      navigator.locks
        .request(lock, options, async held => {
          if (!held) return resolve(false);
          this.#files = await Files.open(this.#words);
          const released = new Promise(release => {
            this.#release = release;
          });
          resolve(true);
          await released;
        })
        .catch(reject);
    });
  }

  #ask(name, words) {
    return new Promise((resolve, reject) => {
      const id = `${this.#me}-${(this.#question += 1)}`;
      const timer = setTimeout(
        () => this.#settle(id, { error: ["TimeoutError", "the owner of the store does not answer"] }),
        ANSWER_MILLISECONDS,
      );
      this.#answers.set(id, { resolve, reject, timer });
      this.#channel.postMessage({ id, name, words });
    });
  }

  async #hear({ id, name, words, answer }) {
    if (answer) return this.#settle(id, answer);
    if (this.#files) this.#channel.postMessage({ id, answer: await answerOf(() => this.#files[name](...words)) });
  }

  #settle(id, { value, error }) {
    const waiting = this.#answers.get(id);
    if (!waiting) return;
    this.#answers.delete(id);
    clearTimeout(waiting.timer);
    if (error) waiting.reject(new DOMException(error[1], error[0]));
    else waiting.resolve(value);
  }
}

async function answerOf(act) {
  try {
    return { value: await act() };
  } catch (error) {
    return { error: [error.name, error.message] };
  }
}

const store = new Store();
self.onmessage = async ({ data: { id, name, words } }) => {
  const act = () => (name === "open" || name === "close" ? store[name](...words) : store.call(name, ...words));
  self.postMessage({ id, answer: await answerOf(act) });
};
