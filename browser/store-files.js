/** The files of a persistent store in OPFS: one of values, an index beside it, and notes. */

import { PackedFile } from "./packed-file.js";

const MOST_RECORDS = 4;
const TRIES = 20;
const TRY_MILLISECONDS = 50;

/** The files, open, and what the owner does with them, by the names of messages. */
export class StoreFiles {
  #words;
  #directory;
  #handles = [];
  #packed;

  /** @param {{path: string[], slotSize: number, keepsOthers: boolean}} words */
  static async open(words) {
    const files = new StoreFiles();
    files.#words = words;
    try {
      await files.#open();
    } catch (error) {
      files.close(); // a handle that stays open keeps every other tab from the file
      throw error;
    }
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

  /** Removes all values and notes. */
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
    const handle = await openHandle(this.#directory, `note-${name}`);
    try {
      handle.truncate(0);
      handle.write(new TextEncoder().encode(text), { at: 0 });
      handle.flush();
    } finally {
      handle.close();
    }
  }

  /**
   * Whether the browser's data was cleared: the handles go on as if nothing had happened, with files that nobody will
   * find again.
   */
  async isLost() {
    try {
      await this.#directory.getFileHandle("data");
      return false;
    } catch (error) {
      if (error.name === "NotFoundError") return true;
      throw error;
    }
  }

  close() {
    for (const handle of this.#handles.splice(0)) handle.close();
  }

  async #open() {
    const { path, slotSize, keepsOthers } = this.#words;
    const parent = await directoryOf(path.slice(0, -1));
    this.#directory = await parent.getDirectoryHandle(path.at(-1), { create: true });
    if (!keepsOthers) await removeSiblings(parent, path.at(-1));
    const name = await this.#indexName();
    const data = await this.#openFile("data");
    this.#packed = new PackedFile(data, await this.#openFile(name), slotSize);
    if (this.#packed.recordsPerValue > MOST_RECORDS) await this.#renewIndex(name);
  }

  async #openFile(name) {
    const handle = await openHandle(this.#directory, name);
    this.#handles.push(handle);
    return handle;
  }

  /** The index in force is the oldest: a newer one counts when it is complete, and then the older is removed. */
  async #indexName() {
    const numbers = [];
    for await (const name of this.#directory.keys())
      if (/^index-\d+$/.test(name)) numbers.push(Number(name.slice(6)));
    const [oldest = 1, ...incomplete] = numbers.sort((one, other) => one - other);
    for (const number of incomplete) await this.#directory.removeEntry(`index-${number}`);
    return `index-${oldest}`;
  }

  async #renewIndex(name) {
    const freshName = `index-${Number(name.slice(6)) + 1}`;
    const [data, old] = this.#handles;
    const fresh = await this.#openFile(freshName);
    let [unused, unusedName] = [old, name];
    try {
      this.#packed.moveIndex(fresh);
    } catch {
      [unused, unusedName] = [fresh, freshName]; // no room: the long one does as well
    }
    unused.close();
    this.#handles = [data, unused === old ? fresh : old];
    await this.#directory.removeEntry(unusedName);
  }
}

async function directoryOf(path) {
  let directory = await navigator.storage.getDirectory();
  for (const name of path) directory = await directory.getDirectoryHandle(name, { create: true });
  return directory;
}

/** Opens a file, for which a tab that was closed may still have a handle for a moment after its lock is gone. */
async function openHandle(directory, name) {
  const file = await directory.getFileHandle(name, { create: true });
  for (let tries = 1; ; tries += 1) {
    try {
      return await file.createSyncAccessHandle();
    } catch (error) {
      if (error.name !== "NoModificationAllowedError" || tries === TRIES) throw error;
      await new Promise(resolve => setTimeout(resolve, TRY_MILLISECONDS));
    }
  }
}

/** Versions that are not read any more are removed; those that another tab reads cannot be. */
async function removeSiblings(parent, own) {
  const names = [];
  for await (const name of parent.keys()) if (name !== own) names.push(name);
  for (const name of names) await parent.removeEntry(name, { recursive: true }).catch(() => {});
}
