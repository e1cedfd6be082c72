/** The Cache API. It takes no 206, so each block is an answer of its own, under an address that no server has. */

const CACHE = "aero-disk";
const ORIGIN = "https://aero-disk.invalid/";

export class CacheBackend {
  kind = "cache";
  #cache;
  #base;

  static get isThere() {
    return globalThis.caches !== undefined;
  }

  /** @returns {Promise<string[]>} the keys that have values */
  async open({ path, keepsOthers }) {
    this.#cache = await caches.open(CACHE);
    this.#base = `${ORIGIN}${path.join("/")}/`;
    const parent = `${ORIGIN}${path.slice(0, -1).join("/")}/`;
    const addresses = (await this.#cache.keys()).map(({ url }) => url);
    const others = addresses.filter(url => url.startsWith(parent) && !url.startsWith(this.#base));
    if (!keepsOthers) await Promise.all(others.map(url => this.#cache.delete(url)));
    const own = addresses.filter(url => url.startsWith(this.#base)).map(url => url.slice(this.#base.length));
    return own.filter(key => !key.startsWith("note-"));
  }

  read(keys) {
    return Promise.all(
      keys.map(async key => {
        const found = await this.#cache.match(this.#base + key);
        return found && new Uint8Array(await found.arrayBuffer());
      }),
    );
  }

  async write(pairs) {
    await Promise.all(pairs.map(([key, value]) => this.#cache.put(this.#base + key, new Response(value))));
  }

  async remove(keys) {
    await Promise.all(keys.map(key => this.#cache.delete(this.#base + key)));
  }

  async clear() {
    const own = (await this.#cache.keys()).filter(({ url }) => url.startsWith(this.#base));
    await Promise.all(own.map(request => this.#cache.delete(request)));
  }

  async note(name) {
    return (await this.#cache.match(`${this.#base}note-${name}`))?.text();
  }

  async setNote(name, text) {
    await this.#cache.put(`${this.#base}note-${name}`, new Response(text));
  }

  async close() {}
}
