/** A PC of v86 with a serial console. `window.machine` is what drives it from outside; `window.aero` is the client. */

import * as aero from "/client/aero-disk.js";
import { V86 } from "/v86/libv86.mjs";

const MIB = 1 << 20;
/** The shell may ask the terminal where its cursor is. */
const PROMPT = /aero:\S+# (\x1b\[6n)?$/;
const PANIC = "Kernel panic";

class Machine {
  #emulator;
  #output = "";
  #commands = 0;
  #listeners = new Set();
  /** What the client's buffer told of failed reads and writes. */
  troubles = [];
  /** Every read of the disk below the overlay: offset, length and the bytes' SHA-256. */
  reads = [];

  /** Everything that the guest wrote to the serial line so far. */
  get output() {
    return this.#output;
  }

  /** Makes the PC with a disk for `hda`, or from a saved state, and lets it run. @returns {Promise<void>} once it runs */
  async powerOn(hda, state) {
    this.#output = "";
    this.#emulator = new V86({
      wasm_path: "/v86/v86.wasm",
      bios: { url: "/guest/bios.bin" },
      vga_bios: { url: "/guest/vgabios.bin" },
      memory_size: 64 * MIB,
      vga_memory_size: 2 * MIB,
      hda,
      initial_state: state && { buffer: state },
      acpi: false,
      autostart: true,
      disable_speaker: true,
      disable_keyboard: true,
      disable_mouse: true,
    });
    this.#emulator.add_listener("serial0-output-byte", byte => this.#take(String.fromCharCode(byte)));
    await new Promise(resolve => this.#emulator.add_listener("emulator-started", resolve));
  }

  /** @returns {Promise<void>} once the serial line ends with a prompt */
  prompt() {
    return this.#until(() => PROMPT.test(this.#output));
  }

  /** Runs a command of the guest's shell. @returns {Promise<{status: number, text: string}>} */
  async run(command) {
    const number = (this.#commands += 1) + 1000;
    const start = this.#output.length;
    // The shell echoes the command as it was typed, and wraps it: only what it computed is a mark.
    const done = new RegExp(`begin-${number}\\s+([^]*)end-${number}-(\\d+)\\s`);
    this.#emulator.serial0_send(`echo begin-$((${number})); ${command}; echo end-$((${number}))-$?\n`);
    await this.#until(() => done.test(this.#output.slice(start)) && PROMPT.test(this.#output));
    const [, said, status] = done.exec(this.#output.slice(start));
    const text = said.replaceAll("\r", "").replaceAll("\x1b[6n", "");
    return { status: Number(status), text };
  }

  /** Begins a command and does not wait for its end. */
  begin(command) {
    this.#emulator.serial0_send(`${command}\n`);
  }

  /** @returns {Promise<ArrayBuffer>} the whole PC, with what was written to its disk */
  save() {
    return this.#emulator.save_state();
  }

  restore(state) {
    return this.#emulator.restore_state(state);
  }

  async powerOff() {
    await this.#emulator.destroy();
  }

  /** Notes each read of a disk, to be compared with the image. */
  watch(disk) {
    const read = disk.read.bind(disk);
    disk.read = async (offset, length, options) => {
      const bytes = await read(offset, length, options);
      const digest = await crypto.subtle.digest("SHA-256", bytes);
      this.reads.push([
        offset,
        length,
        [...new Uint8Array(digest)].map(byte => byte.toString(16).padStart(2, "0")).join(""),
      ]);
      return bytes;
    };
    return disk;
  }

  /** A disk as v86 takes it, through the client's buffer. */
  through(top) {
    const onTrouble = ({ error, ...others }) =>
      this.troubles.push({ code: error.code, message: error.message, ...others });
    return aero.v86Buffer(top, { onTrouble });
  }

  #take(character) {
    this.#output += character;
    for (const listener of [...this.#listeners]) listener();
  }

  #until(isSo) {
    return new Promise((resolve, reject) => {
      const look = () => {
        const isDead = this.#output.includes(PANIC);
        if (!isDead && !isSo()) return;
        this.#listeners.delete(look);
        if (isDead) reject(new Error(`the guest's kernel gave up: ${this.#output.slice(-2000)}`));
        else resolve();
      };
      this.#listeners.add(look);
      look();
    });
  }
}

/** @returns {Promise<string>} the bytes of a stream, for JSON */
async function toBase64(stream) {
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  let text = "";
  for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return btoa(text);
}

/** @returns {ReadableStream<Uint8Array>} what `toBase64` was given */
function fromBase64(text) {
  return new Blob([Uint8Array.from(atob(text), character => character.charCodeAt(0))]).stream();
}

Object.assign(window, { machine: new Machine(), aero, toBase64, fromBase64 });
