// @ts-check
/** The content of a part of a disk, by its signature, with its label and UUID. */

import { exFat, fat, ntfs } from "./file-systems-dos.js";
import { bsd, btrfs, container, ext, linux, squashfs, swap, xfs } from "./file-systems-linux.js";
import { apfs, hfs, iso9660 } from "./file-systems-other.js";

/** The signatures lie in the first 68 KiB, most of them in the first 4. */
const HEAD = 68 << 10;

/**
 * @typedef {object} FileSystem
 * @property {string} name
 * @property {string} [label]
 * @property {string} [uuid] or the serial number
 * @property {string} [details]
 *
 * @typedef {(head: import("./bytes.js").Fields, part: import("./bytes.js").Part) =>
 *   FileSystem | undefined | Promise<FileSystem | undefined>} Probe
 */

/**
 * In this order: a format that is written over the rest of an older one comes first, and those that may stand beside
 * each other (ISO 9660 and HFS+ of a hybrid image) in the order in which they matter.
 *
 * @type {Probe[]}
 */
const PROBES = [container, ext, xfs, btrfs, squashfs, linux, swap, exFat, ntfs, iso9660, hfs, apfs, bsd, fat];

/** @param {import("./bytes.js").Part} part @returns {Promise<FileSystem | undefined>} */
export async function recognise(part) {
  const head = await part.fields(0, HEAD);
  for (const probe of PROBES) {
    const found = await probe(head, part);
    if (found) return withoutBlanks(found);
  }
  return undefined;
}

/** @param {FileSystem} found @returns {FileSystem} without labels that are empty */
function withoutBlanks({ name, label, uuid, details }) {
  return { name, ...(label && { label }), ...(uuid && { uuid }), ...(details && { details }) };
}
