// @ts-check
/** The partitions of a disk, and the content of each. */

import { readAppleMap } from "./partition-apple.js";
import { describeBootSector } from "./boot-sector.js";
import { recognise } from "./file-systems.js";
import { hasTable, isHybrid, isProtective, isSigned, readMbr } from "./partition-mbr.js";
import { readGpt } from "./partition-gpt.js";

const SECTOR = 512;
const MOST_EXAMINED = 128;
const MOST_REMARKS = 32;

/**
 * @typedef {import("./partition-mbr.js").Partition} Partition
 * @typedef {import("./file-systems.js").FileSystem} FileSystem
 * @typedef {Partition & {content?: FileSystem}} Examined
 *
 * @typedef {object} Layout
 * @property {"GPT" | "MBR" | "Apple" | "none"} scheme
 * @property {number} sectorSize
 * @property {Examined[]} partitions by their place on the disk
 * @property {FileSystem | undefined} whole what fills the disk, where there is no table, or beside one (hybrid ISOs)
 * @property {string[]} remarks what is wrong or odd
 * @property {import("./boot-sector.js").BootSector} bootSector
 */

/**
 * Examines a disk by a bounded number of small reads.
 *
 * @param {import("./bytes.js").Part} disk
 * @returns {Promise<Layout>}
 */
export async function examine(disk) {
  const sector = await disk.fields(0, SECTOR);
  const { scheme, sectorSize, partitions, remarks } = await readTables(disk, sector);
  partitions.sort((one, other) => one.start - other.start || other.size - one.size);
  remarks.push(...oddities(partitions, disk.size));
  return {
    scheme,
    sectorSize,
    partitions: await examineAll(disk, partitions),
    whole: await recognise(disk),
    remarks: firstOf(remarks),
    bootSector: describeBootSector(sector),
  };
}

/** @param {string[]} remarks a hostile table has thousands */
function firstOf(remarks) {
  const left = remarks.length - MOST_REMARKS;
  return left > 0 ? [...remarks.slice(0, MOST_REMARKS), `And ${left} more.`] : remarks;
}

/**
 * @param {import("./bytes.js").Part} disk
 * @param {import("./bytes.js").Fields} sector
 * @returns {Promise<{scheme: Layout["scheme"], sectorSize: number, partitions: Partition[], remarks: string[]}>}
 */
async function readTables(disk, sector) {
  const gpt = await readGpt(disk, isProtective(sector));
  if (gpt) {
    if (!isProtective(sector)) gpt.remarks.push("There is no protective master boot record.");
    else if (isHybrid(sector)) gpt.remarks.push("The master boot record has partitions of its own (hybrid).");
    return { scheme: "GPT", ...gpt };
  }
  if (isSigned(sector) && hasTable(sector)) {
    return { scheme: "MBR", sectorSize: SECTOR, ...(await readMbr(disk, sector)) };
  }
  const partitions = await readAppleMap(disk, sector);
  if (partitions.length > 0) return { scheme: "Apple", sectorSize: SECTOR, partitions, remarks: [] };
  return { scheme: "none", sectorSize: SECTOR, partitions: [], remarks: [] };
}

/** @param {import("./bytes.js").Part} disk @param {Partition[]} partitions */
async function examineAll(disk, partitions) {
  /** @type {Examined[]} */
  const examined = [];
  for (const [index, partition] of partitions.entries()) {
    const isExamined = !partition.isExtended && index < MOST_EXAMINED;
    const content = isExamined ? await recognise(disk.part(partition.start, partition.size)) : undefined;
    examined.push(content ? { ...partition, content } : partition);
  }
  return examined;
}

/** @param {Partition[]} partitions in their order @param {number} size of the disk @returns {string[]} */
function oddities(partitions, size) {
  const remarks = [];
  let end = 0;
  let before = 0;
  for (const { number, start, size: length, isExtended } of partitions) {
    if (start + length > size) remarks.push(`Partition ${number} ends behind the end of the disk.`);
    if (length === 0) remarks.push(`Partition ${number} ends before it begins.`);
    if (isExtended) continue;
    if (start < end) remarks.push(`Partition ${number} overlaps partition ${before}.`);
    if (start + length > end) [end, before] = [start + length, number];
  }
  return remarks;
}
