// @ts-check
/** v86 and its firmware, which the server has if its operator brought them. */

/**
 * A work that the parts are of, with its licence.
 *
 * @typedef {object} Work
 * @property {string} name
 * @property {string} version
 * @property {string} licence
 * @property {string} licence_file
 * @property {string} url
 *
 * @typedef {object} EmulatorParts
 * @property {Record<string, string>} parts addresses by names; none: nothing is there
 * @property {Work[]} works
 */

const ADDRESS = "/ui/emulator.json";
const NEEDED = ["libv86.mjs", "v86.wasm", "bios.bin", "vgabios.bin"];

/**
 * @param {import("./api.js").Api} api
 * @param {AbortSignal} signal
 * @returns {Promise<EmulatorParts | undefined>} undefined: the server does not have them
 */
export async function findEmulator(api, signal) {
  const found = /** @type {EmulatorParts} */ (await api.json(ADDRESS, { signal }));
  return NEEDED.every(name => typeof found.parts[name] === "string") ? found : undefined;
}

/**
 * Loads v86 itself: 100 kB, compressed. WebAssembly and firmware come when a PC is switched on.
 *
 * @param {EmulatorParts} emulator
 * @returns {Promise<any>} the class V86
 */
export async function loadEmulator(emulator) {
  if (typeof WebAssembly !== "object") throw new Error("This browser has no WebAssembly, which the emulator needs.");
  return (await import(/** @type {string} */ (emulator.parts["libv86.mjs"]))).V86;
}
