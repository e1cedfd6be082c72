// @ts-check
/** The first sector of a disk: the jump, the name of the program that made it, its texts. */

import { isSigned } from "./partition-mbr.js";

const SHORTEST_TEXT = 5;
const MOST_TEXTS = 32;

/** Words by which boot loaders are known, in the order in which they are looked for. */
const LOADERS = [
  ["GRUB ", "GRUB"],
  ["LILO", "LILO"],
  ["SYSLINUX", "Syslinux"],
  ["EXTLINUX", "Extlinux"],
  ["isolinux", "Isolinux"],
  ["BOOTMGR", "Windows Boot Manager"],
  ["NTLDR", "Windows NT loader"],
  ["FreeDOS", "FreeDOS"],
  ["IO      SYS", "MS-DOS or Windows 9x"],
  ["IBMBIO  COM", "PC DOS or DR-DOS"],
  ["Invalid partition table", "a standard master boot record"],
  ["Missing operating system", "a standard master boot record"],
  ["This is not a bootable disk", "a placeholder of mkfs.fat"],
];

/**
 * @typedef {object} BootSector
 * @property {string | undefined} jump the instruction that it begins with
 * @property {string} oem the name in bytes 3 to 10, where it is text
 * @property {boolean} isSigned whether it ends with 55 AA
 * @property {boolean} isEmpty whether it is all zeros
 * @property {string[]} texts in it
 * @property {string | undefined} loader
 */

/** @param {import("./bytes.js").Fields} sector @returns {BootSector} */
export function describeBootSector(sector) {
  const texts = textsOf(sector.bytes);
  const jump = jumpOf(sector);
  const oem = /^[\x20-\x7e]+$/.test(sector.text(3, 8)) ? sector.text(3, 8).trim() : "";
  const all = texts.join("\n");
  return {
    jump,
    oem: jump ? oem : "",
    isSigned: isSigned(sector),
    isEmpty: sector.bytes.every(byte => byte === 0),
    texts,
    loader: LOADERS.find(([words]) => words !== undefined && all.includes(words))?.[1],
  };
}

/** @param {import("./bytes.js").Fields} sector */
function jumpOf(sector) {
  if (sector.u8(0) === 0xeb) return `EB ${sector.hex(1, 1).toUpperCase()}: to byte ${2 + signed(sector.u8(1), 8)}`;
  if (sector.u8(0) === 0xe9) return `E9: to byte ${3 + signed(sector.u16(1), 16)}`;
  return undefined;
}

/** @param {number} value @param {number} bits */
function signed(value, bits) {
  return value >= 2 ** (bits - 1) ? value - 2 ** bits : value;
}

/** @param {Uint8Array} bytes @returns {string[]} runs of printable ASCII, the first ones */
export function textsOf(bytes) {
  const all = Array.from(bytes, byte => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : "\n")).join("");
  const found = all.split("\n").filter(text => text.trim().length >= SHORTEST_TEXT);
  return found.filter(text => /[A-Za-z]{3}/.test(text)).slice(0, MOST_TEXTS);
}
