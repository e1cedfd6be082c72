// @ts-check
/** A saved state of a PC as a file: a line of JSON that says what it is of, then what the emulator saved. */

/**
 * @typedef {object} StateFacts
 * @property {string} image its id
 * @property {string | null} version of the image
 * @property {import("./drives.js").Drive} drive
 * @property {number} memory MiB
 * @property {string} emulator the version of v86
 */

const FORMAT = "aero.state.v1";
const MOST_FACTS = 4096;
const NEW_LINE = 0x0a;

/** @param {StateFacts} facts @param {ArrayBuffer} state @returns {Blob} */
export function writeState(facts, state) {
  return new Blob([JSON.stringify({ format: FORMAT, ...facts }), "\n", state], { type: "application/octet-stream" });
}

/**
 * @param {Blob} file
 * @returns {Promise<{ facts: StateFacts, state: ArrayBuffer }>} throws an Error, in words for people
 */
export async function readState(file) {
  const head = new Uint8Array(await file.slice(0, MOST_FACTS).arrayBuffer());
  const end = head.indexOf(NEW_LINE);
  const facts = end < 0 ? undefined : parsed(new TextDecoder().decode(head.subarray(0, end)));
  if (facts === undefined) throw new Error("This file is no saved state of this page.");
  return { facts, state: await file.slice(end + 1).arrayBuffer() };
}

/** @param {string} text @returns {StateFacts | undefined} */
function parsed(text) {
  try {
    const { format, image, version, drive, memory, emulator } = JSON.parse(text);
    const isGood = format === FORMAT && typeof image === "string" && Number.isInteger(memory) && memory > 0;
    if (!isGood || !["hda", "cdrom", "fda"].includes(drive)) return undefined;
    return { image, version: version ?? null, drive, memory, emulator: String(emulator) };
  } catch {
    return undefined;
  }
}

/**
 * Says why a state cannot go on here.
 *
 * @param {StateFacts} facts
 * @param {{ image: string, version: string | undefined, emulator: string }} here
 * @returns {string | undefined} undefined: it can
 */
export function mismatch(facts, here) {
  if (facts.image !== here.image) return `This state is of the image ${facts.image}; this is ${here.image}.`;
  if (facts.version !== (here.version ?? null)) {
    const [saved, there] = [facts.version ?? "unknown", here.version ?? "unknown"];
    return `This state is of version ${saved} of the image; the server has ${there}.`;
  }
  if (facts.emulator !== here.emulator) {
    return `This state is of v86 ${facts.emulator}; the server has ${here.emulator}.`;
  }
  return undefined;
}
