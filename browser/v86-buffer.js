/** A disk as v86 takes it: `new V86({ hda: v86Buffer(top) })`, tried with v86 0.5.462. */

import { AeroDiskError, asAeroDiskError } from "./errors.js";
import { Overlay } from "./overlay.js";
import { backOff, pause } from "./waiting.js";

const STATE = "aero.v86-buffer.v1";
/** Errors that further tries cannot mend: no byte of another version ever reaches the guest. */
const FINAL = ["changed", "aborted"];

/**
 * A read or write that failed.
 *
 * @typedef {object} Trouble
 * @property {AeroDiskError} error
 * @property {number} offset
 * @property {number} length
 * @property {number} attempt how many times it has failed
 * @property {number | undefined} delay milliseconds until it is tried again; undefined: the guest waits for ever
 */

/**
 * Makes a buffer of v86. v86 cannot be told of errors: a read that fails is tried again until it succeeds, or leaves
 * the guest waiting where nothing can help (`changed`, `aborted`); each time `onTrouble` is told.
 *
 * @param {import("./disk.js").AeroDisk | Overlay} top a disk alone has its writes in memory
 * @param {{onTrouble?: (trouble: Trouble) => void}} [options]
 */
export function v86Buffer(top, { onTrouble } = {}) {
  return new V86Buffer(top instanceof Overlay ? top : Overlay.inMemory(top), onTrouble);
}

/** The names are those of v86's own buffers. */
class V86Buffer {
  #top;
  #onTrouble;
  onload = undefined;
  onprogress = undefined;

  constructor(top, onTrouble = trouble => console.warn(trouble.error)) {
    this.#top = top;
    this.#onTrouble = onTrouble;
    this.byteLength = top.size;
  }

  load() {
    this.onload?.(Object.create(null));
  }

  get(offset, length, callback, { signal } = {}) {
    const reading = () => this.#top.read(offset, length, { signal });
    this.#persist(reading, { offset, length }, signal).then(bytes => bytes && callback(bytes));
  }

  get_and_cache(offset, length, callback, options) {
    this.get(offset, length, callback, options);
  }

  /** v86 asks for what is there without waiting; it takes `undefined` for an answer. */
  get_from_cache() {
    return undefined;
  }

  set(offset, bytes, callback) {
    const copy = new Uint8Array(bytes);
    this.#persist(
      async () => {
        await this.#top.write(offset, copy);
        return copy;
      },
      { offset, length: copy.length },
    ).then(written => written && callback());
  }

  get_buffer(callback) {
    callback(undefined);
  }

  /** @returns {any[]} values that v86 can save: the writes, and the version that they are over */
  get_state() {
    const { image, runs } = this.#top.save();
    return [STATE, JSON.stringify(image), runs.map(([offset]) => offset), runs.map(([, bytes]) => bytes.slice())];
  }

  /** Throws an AeroDiskError with code `changed` for a state of another version. */
  set_state(state) {
    const [name, json, offsets, parts] = Array.isArray(state) ? state : [];
    const image = parsed(json);
    const isState = name === STATE && image && Array.isArray(offsets) && offsets.length === parts?.length;
    if (!isState || !parts.every(part => part instanceof Uint8Array))
      throw new AeroDiskError("damaged", "the state has no disk of this client");
    this.#top.restore({ image, runs: offsets.map((offset, index) => [offset, parts[index]]) });
  }

  /** Tries until it succeeds. @returns {Promise<Uint8Array | undefined>} undefined: nobody is to be called back */
  async #persist(act, part, signal) {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await act();
      } catch (caught) {
        if (signal?.aborted) return undefined;
        const error =
          caught instanceof RangeError
            ? new AeroDiskError("damaged", caught.message, { cause: caught })
            : asAeroDiskError(caught);
        const isFinal = FINAL.includes(error.code) || caught instanceof RangeError;
        const delay = isFinal ? undefined : backOff(attempt);
        this.#onTrouble({ error, ...part, attempt, delay });
        if (isFinal) return undefined;
        await pause(delay, signal).catch(() => {});
      }
    }
  }
}

/** @returns {object | undefined} undefined for what is no JSON of an object */
function parsed(json) {
  try {
    return JSON.parse(json) ?? undefined;
  } catch {
    return undefined;
  }
}
