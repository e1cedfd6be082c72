// @ts-check
/** Which drive of a PC an image is for. Pure. */

/** @typedef {"hda" | "cdrom" | "fda"} Drive */

/** @type {Record<Drive, string>} */
export const DRIVES = { hda: "hard disk", cdrom: "CD", fda: "floppy disk" };

const KIB = 1024;
const FLOPPIES = [160, 180, 320, 360, 640, 720, 1200, 1440, 1680, 1722, 2880].map(count => count * KIB);
const SIGNATURE_AT = 510;
/** Where the first descriptor of ISO 9660 has its name. */
export const ISO_NAME = { offset: 16 * 2048 + 1, length: 5 };
const ISO = "CD001";

/**
 * Says which drive is likely. A hybrid disc, which has a boot sector too, is taken for a hard disk.
 *
 * @param {number} size
 * @param {Uint8Array} sector the first one
 * @param {Uint8Array} [isoName] the bytes at ISO_NAME
 * @returns {Drive}
 */
export function driveFor(size, sector, isoName) {
  if (FLOPPIES.includes(size)) return "fda";
  const starts = sector[SIGNATURE_AT] === 0x55 && sector[SIGNATURE_AT + 1] === 0xaa;
  const isIso = isoName !== undefined && String.fromCharCode(...isoName) === ISO;
  return isIso && !starts ? "cdrom" : "hda";
}

/**
 * Reads what `driveFor` needs of a disk.
 *
 * @param {{ size: number, read(offset: number, length: number): Promise<Uint8Array> }} disk
 */
export async function driveOf(disk) {
  const sector = await disk.read(0, Math.min(512, disk.size));
  const hasIso = disk.size >= ISO_NAME.offset + ISO_NAME.length;
  return driveFor(disk.size, sector, hasIso ? await disk.read(ISO_NAME.offset, ISO_NAME.length) : undefined);
}
