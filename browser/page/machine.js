// @ts-check
/** A PC of v86 with one disk: it is switched on, saved, restored and switched off. */

const MIB = 1 << 20;
const VGA_MIB = 8;
/** Scan codes by which the keys that release the keyboard are up again in the PC. */
const KEYS_UP = [0x9d, 0xb8, 0xa2, 0xe0, 0x9d, 0xe0, 0xb8];
const CTRL_ALT_DELETE = [0x1d, 0x38, 0x53, 0x9d, 0xb8, 0xd3];

/**
 * @typedef {object} Hardware
 * @property {import("./drives.js").Drive} drive
 * @property {number} memory MiB
 * @property {object} disk a buffer of v86
 * @property {HTMLElement} screen
 */

export class Machine {
  /** @type {any} */
  #emulator;
  /** @type {(text: string) => void} */
  #onSerial;
  #isReady = false;
  #hears = false;
  /** @type {(error: Error) => void} */
  #giveUp = () => {};

  /** @param {(text: string) => void} onSerial told what the guest writes to its serial line */
  constructor(onSerial) {
    this.#onSerial = onSerial;
  }

  /**
   * Makes the PC and lets it run, from the beginning or from a saved state.
   *
   * @param {any} V86
   * @param {Record<string, string>} parts addresses of WebAssembly and firmware
   * @param {Hardware} hardware
   * @param {ArrayBuffer} [state]
   * @returns {Promise<void>} rejects with the error of the disk if the state is of another version of the image
   */
  async powerOn(V86, parts, { drive, memory, disk, screen }, state) {
    this.#emulator = new V86({
      wasm_path: parts["v86.wasm"],
      bios: { url: parts["bios.bin"] },
      vga_bios: { url: parts["vgabios.bin"] },
      memory_size: memory * MIB,
      vga_memory_size: VGA_MIB * MIB,
      [drive]: disk,
      screen_container: screen,
      acpi: false,
      autostart: false,
      disable_speaker: true,
    });
    this.#emulator.add_listener("serial0-output-byte", (/** @type {number} */ byte) =>
      this.#onSerial(String.fromCharCode(byte)),
    );
    await this.#ready();
    this.#isReady = true;
    this.listen(this.#hears);
    if (state !== undefined) await this.#emulator.restore_state(state);
    await this.#emulator.run();
  }

  /** @returns {Promise<void>} rejects if WebAssembly or the firmware cannot be had, or the PC is switched off */
  #ready() {
    return new Promise((resolve, reject) => {
      this.#giveUp = reject;
      this.#emulator.add_listener("emulator-ready", resolve);
      this.#emulator.add_listener("download-error", (/** @type {{ file_name?: string }} */ { file_name: name }) =>
        reject(new Error(`${name ?? "A part of the emulator"} cannot be had from the server.`)),
      );
    });
  }

  get isRunning() {
    return Boolean(this.#emulator?.is_running());
  }

  /** @param {string} text */
  sendSerial(text) {
    if (this.#isReady) this.#emulator.serial0_send(text);
  }

  /** Lets the PC hear keyboard and mouse, or not, as soon as there is one. @param {boolean} hears */
  listen(hears) {
    this.#hears = hears;
    if (!this.#isReady) return;
    this.#emulator.keyboard_set_enabled(hears);
    this.#emulator.mouse_set_enabled(hears);
    if (!hears && this.isRunning) this.#emulator.keyboard_send_scancodes(KEYS_UP);
  }

  sendCtrlAltDelete() {
    this.#emulator.keyboard_send_scancodes(CTRL_ALT_DELETE);
  }

  lockMouse() {
    this.#emulator.lock_mouse();
  }

  restart() {
    this.#emulator.restart();
  }

  /** @returns {Promise<ArrayBuffer>} the whole PC, with what was written to its disk */
  save() {
    return this.#emulator.save_state();
  }

  /** @param {ArrayBuffer} state */
  restore(state) {
    return this.#emulator.restore_state(state);
  }

  async powerOff() {
    const emulator = this.#emulator;
    this.#emulator = undefined;
    this.#isReady = false;
    this.#giveUp(new Error("The PC was switched off."));
    await emulator?.destroy();
  }
}
