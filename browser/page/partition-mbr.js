// @ts-check
/** The partition table of a PC's master boot record, with its chain of extended partitions. */

import { mbrTypeName } from "./partition-types.js";

const SECTOR = 512;
const TABLE = 446;
const ENTRY = 16;
const MOST_LOGICAL = 128;
const EXTENDED = new Set([0x05, 0x0f, 0x85]);
const PROTECTIVE = 0xee;

/**
 * @typedef {object} Partition
 * @property {number} number as Linux counts them
 * @property {number} start the first byte
 * @property {number} size bytes
 * @property {string} type
 * @property {string} [name] the name in the table, of GPT
 * @property {string} [guid] of the partition, of GPT
 * @property {boolean} [isBootable]
 * @property {boolean} [isExtended] whether it is a frame of others
 *
 * @typedef {{status: number, type: number, start: number, count: number}} Entry in sectors
 */

/** @param {import("./bytes.js").Fields} sector @returns {boolean} whether it ends with 55 AA */
export function isSigned(sector) {
  return sector.u8(510) === 0x55 && sector.u8(511) === 0xaa;
}

/**
 * @param {import("./bytes.js").Fields} sector
 * @returns {Entry[]} its four entries
 */
export function entriesOf(sector) {
  return [0, 1, 2, 3].map(number => {
    const at = TABLE + number * ENTRY;
    return {
      status: sector.u8(at),
      type: sector.u8(at + 4),
      start: sector.u32(at + 8),
      count: sector.u32(at + 12),
    };
  });
}

/**
 * Boot sectors of file systems end with 55 AA as well, with text or code where a table would be. An entry that begins
 * at sector 0 is the disguise that mkfs.fat gives a disk without partitions.
 *
 * @param {import("./bytes.js").Fields} sector
 */
export function hasTable(sector) {
  const entries = entriesOf(sector);
  return (
    isSigned(sector) &&
    entries.every(({ status }) => status === 0 || status === 0x80) &&
    entries.some(isUsed) &&
    entries.filter(({ type }) => type !== 0).every(isUsed)
  );
}

/** @param {import("./bytes.js").Fields} sector */
export function isProtective(sector) {
  return isSigned(sector) && entriesOf(sector).some(({ type }) => type === PROTECTIVE);
}

/** @param {import("./bytes.js").Fields} sector @returns {boolean} whether there is more in it than the protection */
export function isHybrid(sector) {
  return entriesOf(sector).some(({ type }) => type !== 0 && type !== PROTECTIVE);
}

/**
 * Reads the table and follows its extended partitions.
 *
 * @param {import("./bytes.js").Part} disk
 * @param {import("./bytes.js").Fields} sector its first one
 * @returns {Promise<{partitions: Partition[], remarks: string[]}>}
 */
export async function readMbr(disk, sector) {
  /** @type {Partition[]} */
  const partitions = [];
  /** @type {string[]} */
  const remarks = [];
  const used = entriesOf(sector).map((entry, index) => ({ entry, number: index + 1 }));
  for (const { entry, number } of used) if (isUsed(entry)) partitions.push(partitionOf(entry, 0, number));
  const logical = { number: 5, most: MOST_LOGICAL };
  for (const { entry } of used) {
    if (isUsed(entry) && EXTENDED.has(entry.type)) await followChain(disk, entry.start, logical, partitions, remarks);
  }
  return { partitions, remarks };
}

/**
 * Each record of the chain has a partition, relative to itself, and the next record, relative to the first one.
 *
 * @param {import("./bytes.js").Part} disk
 * @param {number} base sector of the first record
 * @param {{number: number, most: number}} logical
 * @param {Partition[]} partitions
 * @param {string[]} remarks
 */
async function followChain(disk, base, logical, partitions, remarks) {
  const seen = new Set();
  for (let at = base; ;) {
    if (seen.has(at)) return void remarks.push(`The extended partition at LBA ${base} is a loop.`);
    if (logical.most === 0) return void remarks.push(`There are more than ${MOST_LOGICAL} logical partitions.`);
    seen.add(at);
    logical.most -= 1;
    const record = await disk.fields(at * SECTOR, SECTOR);
    if (!isSigned(record)) return void remarks.push(`The record of a logical partition at LBA ${at} has no 55 AA.`);
    const [own, next] = entriesOf(record);
    if (own && isUsed(own)) partitions.push(partitionOf(own, at, logical.number++));
    if (!next || !isUsed(next) || !EXTENDED.has(next.type)) return;
    at = base + next.start;
  }
}

/** @param {Entry} entry */
function isUsed({ type, start, count }) {
  return type !== 0 && start > 0 && count > 0;
}

/** @param {Entry} entry @param {number} base @param {number} number @returns {Partition} */
function partitionOf({ status, type, start, count }, base, number) {
  return {
    number,
    start: (base + start) * SECTOR,
    size: count * SECTOR,
    type: mbrTypeName(type),
    isBootable: status === 0x80,
    isExtended: EXTENDED.has(type),
  };
}
