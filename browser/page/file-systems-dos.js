// @ts-check
/** FAT, exFAT and NTFS: by the parameter block of their boot sector, with the labels of their directories. */

import { Fields, isPowerOfTwo } from "./bytes.js";

/** @typedef {import("./bytes.js").Part} Part @typedef {import("./file-systems.js").FileSystem} FileSystem */

const LONGEST_DIRECTORY = 64 << 10;
const RECORD = 32;
const VOLUME_LABEL = 0x08;
const LONG_NAME = 0x0f;
const NTFS_VOLUME = 3;
const VOLUME_NAME = 0x60;
const LONGEST_FILE_RECORD = 64 << 10;

/** Disks without a table that are as large as these are floppies. @type {Record<number, string>} */
const FLOPPIES = {
  163840: "160 KiB",
  184320: "180 KiB",
  327680: "320 KiB",
  368640: "360 KiB",
  737280: "720 KiB",
  1228800: "1.2 MiB",
  1474560: "1.44 MB",
  1720320: "1.68 MB",
  2949120: "2.88 MB",
};

/**
 * @typedef {object} Geometry of a FAT, in sectors where nothing else is said
 * @property {number} sectorSize bytes
 * @property {number} perCluster
 * @property {number} rootStart
 * @property {number} rootSize bytes that are looked at
 * @property {number} clusters
 * @property {boolean} isWide whether it has the longer block of FAT32
 * @property {number} sectors
 */

/** @param {Fields} head @returns {Geometry | undefined} undefined for what is no FAT */
export function fatGeometry(head) {
  const [sectorSize, perCluster, reserved, fats] = [head.u16(11), head.u8(13), head.u16(14), head.u8(16)];
  const [rootEntries, media] = [head.u16(17), head.u8(21)];
  const isSound =
    isPowerOfTwo(sectorSize) && sectorSize >= 128 && sectorSize <= 4096 && isPowerOfTwo(perCluster) && reserved > 0;
  const isFat = isSound && (fats === 1 || fats === 2) && (media === 0xf0 || media >= 0xf8);
  if (!isFat) return undefined;
  const isWide = head.u16(22) === 0;
  const fatSectors = isWide ? head.u32(36) : head.u16(22);
  const sectors = head.u16(19) || head.u32(32);
  const rootSectors = Math.ceil((rootEntries * RECORD) / sectorSize);
  const first = reserved + fats * fatSectors + rootSectors;
  if (fatSectors === 0 || sectors <= first || isWide !== (rootEntries === 0)) return undefined;
  return {
    sectorSize,
    perCluster,
    rootStart: isWide ? first + (head.u32(44) - 2) * perCluster : reserved + fats * fatSectors,
    rootSize: isWide ? perCluster * sectorSize : rootEntries * RECORD,
    clusters: Math.floor((sectors - first) / perCluster),
    isWide,
    sectors,
  };
}

/** @param {Fields} head @param {Part} part @returns {Promise<FileSystem | undefined>} */
export async function fat(head, part) {
  const geometry = fatGeometry(head);
  if (!geometry) return undefined;
  const { sectorSize, perCluster, rootStart, rootSize, isWide, sectors } = geometry;
  const directory = await part.fields(rootStart * sectorSize, Math.min(rootSize, LONGEST_DIRECTORY));
  const block = isWide ? 64 : 36;
  const hasBlock = head.u8(block + 2) === 0x29;
  const own = hasBlock ? dosText(head, block + 7, 11) : "";
  const floppy = part.start === 0 ? FLOPPIES[sectors * sectorSize] : undefined;
  return {
    name: fatName(geometry),
    label: labelIn(directory) ?? (own === "NO NAME" ? "" : own),
    uuid: hasBlock ? serialOf(head.u32(block + 3)) : "",
    details: `${floppy ? `floppy of ${floppy}, ` : ""}clusters of ${perCluster * sectorSize} bytes`,
  };
}

/** The number of clusters alone decides the kind (Microsoft's specification of FAT). @param {Geometry} geometry */
function fatName({ clusters, isWide }) {
  if (isWide) return "FAT32";
  return clusters < 4085 ? "FAT12" : "FAT16";
}

/** @param {Fields} directory @returns {string | undefined} */
function labelIn(directory) {
  for (let at = 0; at + RECORD <= directory.length && directory.u8(at) !== 0; at += RECORD) {
    const attributes = directory.u8(at + 11);
    const isLabel = (attributes & VOLUME_LABEL) !== 0 && (attributes & LONG_NAME) !== LONG_NAME;
    if (isLabel && directory.u8(at) !== 0xe5) return dosText(directory, at, 11);
  }
  return undefined;
}

/** @param {Fields} fields @param {number} at @param {number} length of text in a code page that nothing tells */
function dosText(fields, at, length) {
  const codes = Array.from(fields.slice(at, length), byte => (byte < 0x80 ? byte : 0xfffd));
  return String.fromCharCode(...codes).trimEnd();
}

/** @param {number} serial */
function serialOf(serial) {
  return serial
    .toString(16)
    .toUpperCase()
    .padStart(8, "0")
    .replace(/^(.{4})/, "$1-");
}

/** @param {Fields} head @param {Part} part @returns {Promise<FileSystem | undefined>} */
export async function exFat(head, part) {
  if (!head.has(3, "EXFAT   ")) return undefined;
  const [sectorBits, clusterBits] = [head.u8(108), head.u8(109)];
  const name = "exFAT";
  const uuid = serialOf(head.u32(100));
  if (sectorBits < 9 || sectorBits > 12 || clusterBits > 25 - sectorBits) return { name, uuid };
  const clusterSize = 2 ** (sectorBits + clusterBits);
  const root = head.u32(88) * 2 ** sectorBits + (head.u32(96) - 2) * clusterSize;
  const directory = await part.fields(root, Math.min(clusterSize, LONGEST_DIRECTORY));
  return { name, label: exFatLabel(directory), uuid, details: `clusters of ${clusterSize} bytes` };
}

/** @param {Fields} directory */
function exFatLabel(directory) {
  for (let at = 0; at + RECORD <= directory.length && directory.u8(at) !== 0; at += RECORD) {
    if (directory.u8(at) === 0x83) return directory.utf16(at + 2, Math.min(directory.u8(at + 1), 11));
  }
  return "";
}

/** @param {Fields} head @param {Part} part @returns {Promise<FileSystem | undefined>} */
export async function ntfs(head, part) {
  if (!head.has(3, "NTFS    ")) return undefined;
  const found = { name: "NTFS", uuid: head.u64Hex(72) };
  const [sectorSize, perCluster] = [head.u16(11), clusterSectors(head.u8(13))];
  const clusterSize = sectorSize * perCluster;
  const recordSize = fileRecordSize(head.u8(64), clusterSize);
  if (!isPowerOfTwo(clusterSize) || recordSize > LONGEST_FILE_RECORD) return found;
  const record = await part.fields(head.u64(48) * clusterSize + NTFS_VOLUME * recordSize, recordSize);
  return { ...found, label: ntfsLabel(record), details: `clusters of ${clusterSize} bytes` };
}

/** Above 128 it is the negative exponent of clusters over 64 KiB. @param {number} value */
function clusterSectors(value) {
  return value <= 128 ? value : 2 ** (256 - value);
}

/** Clusters, or the negative exponent of bytes. @param {number} value @param {number} clusterSize */
function fileRecordSize(value, clusterSize) {
  return value < 128 ? value * clusterSize : 2 ** (256 - value);
}

/** @param {Fields} record of the file $Volume */
function ntfsLabel(record) {
  if (!record.has(0, "FILE")) return "";
  for (let at = record.u16(20); at + 24 <= record.length;) {
    const length = record.u32(at + 4);
    if (record.u32(at) === VOLUME_NAME) return record.utf16(at + record.u16(at + 20), record.u32(at + 16) / 2);
    if (length < 24) return "";
    at += length;
  }
  return "";
}
