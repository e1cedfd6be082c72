// @ts-check
/** File systems of discs and of the Macintosh. */

import { Fields, isPowerOfTwo } from "./bytes.js";

/** @typedef {import("./bytes.js").Part} Part @typedef {import("./file-systems.js").FileSystem} FileSystem */

const DISC_SECTOR = 2048;
const DESCRIPTORS = 16 * DISC_SECTOR;
const MOST_DESCRIPTORS = 16;
const HFS = 1024;
const LARGEST_NODE = 32 << 10;

/** @param {Fields} head @returns {FileSystem | undefined} */
export function iso9660(head) {
  const marks = [];
  for (let number = 0; number < MOST_DESCRIPTORS; number += 1)
    marks.push(head.text(DESCRIPTORS + number * DISC_SECTOR + 1, 5));
  const isUdf = marks.includes("NSR02") || marks.includes("NSR03");
  const first = marks.indexOf("CD001");
  if (first < 0) return isUdf ? { name: "UDF" } : undefined;
  const at = DESCRIPTORS + first * DISC_SECTOR;
  const details = [
    marks.some((_, number) => head.has(placeOf(number) + 7, "EL TORITO SPECIFICATION")) && "bootable (El Torito)",
    (head.has(HFS, "H+") || head.has(HFS, "BD")) && "HFS beside it",
    programOf(head, at),
  ];
  return {
    name: isUdf ? "ISO 9660 and UDF" : "ISO 9660",
    label: head.text(at + 40, 32),
    details: details.filter(Boolean).join(", "),
  };
}

/** @param {number} number of a volume descriptor */
function placeOf(number) {
  return DESCRIPTORS + number * DISC_SECTOR;
}

/** Names the program that made a disc. @param {Fields} head @param {number} at of the primary volume descriptor */
function programOf(head, at) {
  const made = [574, 446].map(field => head.text(at + field, 128)).find(text => /^[^_\s]/.test(text));
  return made ? `made by ${made.replace(/\s+/g, " ")}` : "";
}

/**
 * HFS, HFS+ and HFS+ in an HFS wrapper.
 *
 * @param {Fields} head
 * @param {Part} part
 * @returns {Promise<FileSystem | undefined>}
 */
export async function hfs(head, part) {
  if (head.has(HFS, "H+") || head.has(HFS, "HX")) return hfsPlus(head, part);
  if (!head.has(HFS, "BD")) return undefined;
  if (!head.has(HFS + 124, "H+")) return { name: "HFS", label: macText(head, HFS + 36) };
  const inner = part.part(head.be16(HFS + 28) * 512 + head.be16(HFS + 126) * head.be32(HFS + 20), part.size);
  return hfsPlus(await inner.fields(0, HFS + 512), inner);
}

/** A length and bytes of Mac OS Roman, which is ASCII for the most part. @param {Fields} head @param {number} at */
function macText(head, at) {
  return head.text(at + 1, Math.min(head.u8(at), 27));
}

/** The label of HFS+ is the name in the first record of its catalog. @param {Fields} head @param {Part} part */
async function hfsPlus(head, part) {
  const blockSize = head.be32(HFS + 40);
  const name = head.has(HFS, "HX") ? "HFSX" : "HFS+";
  if (!isPowerOfTwo(blockSize)) return { name };
  const catalog = head.be32(HFS + 272 + 16) * blockSize;
  const header = await part.fields(catalog, 512);
  const nodeSize = header.be16(14 + 18);
  if (!isPowerOfTwo(nodeSize) || nodeSize < 512 || nodeSize > LARGEST_NODE) return { name };
  const leaf = await part.fields(catalog + header.be32(14 + 10) * nodeSize, nodeSize);
  return { name, label: leafName(leaf, nodeSize), details: `${head.be32(HFS + 44)} blocks of ${blockSize} bytes` };
}

/** @param {Fields} leaf @param {number} nodeSize */
function leafName(leaf, nodeSize) {
  const at = leaf.be16(nodeSize - 2);
  const isRoot = leaf.u8(8) === 0xff && leaf.be32(at + 2) === 1; // a leaf, and the parent of the root folder
  return isRoot ? leaf.utf16(at + 8, Math.min(leaf.be16(at + 6), 255), true) : "";
}

/** @param {Fields} head @returns {FileSystem | undefined} */
export function apfs(head) {
  return head.has(32, "NXSB") ? { name: "APFS container", uuid: head.uuid(72).toUpperCase() } : undefined;
}
