// @ts-check
/** A PC that runs over an image: the disk, what is written over it, and the machine; all of it ends together. */

import { AeroDisk, Overlay, v86Buffer } from "/client/aero-disk.js";
import { driveOf } from "./drives.js";
import { loadEmulator } from "./emulator-parts.js";
import { Machine } from "./machine.js";
import { mismatch, readState, writeState } from "./state-file.js";

/**
 * @typedef {import("./boot-form.js").Choice} Choice
 * @typedef {import("./emulator-parts.js").EmulatorParts} EmulatorParts
 *
 * @typedef {object} Place where the image is
 * @property {string} id
 * @property {string} url
 * @property {() => string | undefined} lease
 *
 * @typedef {object} Surroundings
 * @property {HTMLElement} screen
 * @property {(text: string) => void} onSerial
 * @property {(trouble: import("/client/aero-disk.js").Trouble) => void} onTrouble
 * @property {(text: string) => void} progress says what is done at present
 */

/** @param {Place} place @param {boolean} keep @param {AbortSignal} [signal] */
export function openDisk({ url, lease }, keep, signal) {
  const leased = lease() === undefined ? {} : { lease: () => lease() ?? "" };
  return AeroDisk.open(url, { ...leased, persistent: keep ? "opfs" : false, ...(signal && { signal }) });
}

/** Forgets all that this browser keeps of an image. @param {Place} place */
export async function forgetKept(place) {
  const disk = await openDisk(place, true);
  try {
    const top = await Overlay.open(disk, { persistent: "opfs" });
    await top.discard();
    await top.flush();
    await top.close();
    await disk.forget();
  } finally {
    await disk.close();
  }
}

export class BootSession {
  #place;
  #emulator;
  #machine;
  #memory = 0;
  /** @type {import("./drives.js").Drive} */
  #drive = "hda";
  #isOver = false;
  #opening = new AbortController();

  /** @param {Place} place @param {EmulatorParts} emulator @param {Surroundings} around */
  constructor(place, emulator, around) {
    this.#place = place;
    this.#emulator = emulator;
    this.around = around;
    this.#machine = new Machine(around.onSerial);
    /** @type {AeroDisk | undefined} */
    this.disk = undefined;
    /** @type {Overlay | undefined} */
    this.top = undefined;
  }

  get machine() {
    return this.#machine;
  }

  get #version() {
    return this.#emulator.works.find(work => work.name === "v86")?.version ?? "unknown";
  }

  get #here() {
    return { image: this.#place.id, version: this.disk?.version, emulator: this.#version };
  }

  /** @param {Choice} choice @returns {Promise<void>} once the PC runs */
  async begin(choice) {
    const { progress } = this.around;
    progress("Opening the disk …");
    this.disk = await openDisk(this.#place, choice.keep, this.#opening.signal);
    await this.#goOn();
    const saved = choice.state && (await this.#read(choice.state));
    this.#drive = saved?.facts.drive ?? (choice.drive === "auto" ? await driveOf(this.disk) : choice.drive);
    this.#memory = saved?.facts.memory ?? choice.memory;
    this.top = await this.#overlay(choice);
    progress("Loading the emulator …");
    const V86 = await loadEmulator(this.#emulator);
    await this.#goOn();
    const disk = v86Buffer(this.top, { onTrouble: this.around.onTrouble });
    const hardware = { drive: this.#drive, memory: this.#memory, disk, screen: this.around.screen };
    progress("Switching the PC on …");
    await this.#machine.powerOn(V86, this.#emulator.parts, hardware, saved?.state);
    await this.#goOn();
  }

  /** Ends what has begun if the session was ended meanwhile. */
  async #goOn() {
    if (!this.#isOver) return;
    await this.end();
    throw new Error("The PC was switched off.");
  }

  /** @param {Choice} choice @returns {Promise<Overlay>} */
  #overlay({ keep, changes }) {
    const disk = /** @type {AeroDisk} */ (this.disk);
    const options = { persistent: /** @type {"opfs" | false} */ (keep ? "opfs" : false) };
    return changes ? Overlay.import(changes.stream(), disk, options) : Overlay.open(disk, options);
  }

  /** @param {Blob} file */
  async #read(file) {
    const saved = await readState(file);
    const reason = mismatch(saved.facts, this.#here);
    if (reason !== undefined) throw new Error(`${reason} Nothing was restored.`);
    return saved;
  }

  /** @returns {Promise<Blob>} the whole PC as a file */
  async save() {
    const { image, version, emulator } = this.#here;
    const facts = { image, version: version ?? null, drive: this.#drive, memory: this.#memory, emulator };
    return writeState(facts, await this.#machine.save());
  }

  /** @param {Blob} file @returns {Promise<void>} */
  async restore(file) {
    const { facts, state } = await this.#read(file);
    if (facts.drive !== this.#drive || facts.memory !== this.#memory) {
      throw new Error("This state is of a PC with another drive or memory. Stop this one, and boot from the state.");
    }
    await this.#machine.restore(state);
  }

  /** Ends all, whatever has begun of it. */
  async end() {
    this.#isOver = true;
    const { top, disk } = this;
    this.top = this.disk = undefined;
    if (disk === undefined) this.#opening.abort();
    await this.#machine.powerOff();
    await top?.flush().catch(() => {});
    await top?.close();
    await disk?.close();
  }
}
