// @ts-check
/** The GUID partition table (UEFI 2.10, §5.3): its two headers, checked by their CRC32, and its entries. */

import { crc32 } from "/client/crc32.js";
import { Fields } from "./bytes.js";
import { gptTypeName } from "./partition-types.js";

const SECTOR_SIZES = [512, 4096];
const SIGNATURE = "EFI PART";
const LEAST_HEADER = 92;
const LEAST_ENTRY = 128;
const LARGEST_TABLE = 1 << 20;
const NO_TYPE = "00000000-0000-0000-0000-000000000000";

/**
 * @typedef {import("./partition-mbr.js").Partition} Partition
 *
 * @typedef {object} Header
 * @property {number} lba the sector that it lies in
 * @property {number} other the sector of the other header
 * @property {string} guid of the disk
 * @property {number} entriesLba
 * @property {number} count
 * @property {number} entrySize
 * @property {number} entriesChecksum
 *
 * @typedef {{header: Header, entries: Fields}} Table
 * @typedef {{sectorSize: number, guid: string, source: "primary" | "backup", partitions: Partition[],
 *   remarks: string[]}} Gpt
 */

/**
 * Looks for a table, of sectors of 512 and of 4,096 bytes.
 *
 * @param {import("./bytes.js").Part} disk
 * @param {boolean} isProtected whether the master boot record says that there is one
 * @returns {Promise<Gpt | undefined>}
 */
export async function readGpt(disk, isProtected) {
  for (const sectorSize of SECTOR_SIZES) {
    const found = await readPair(disk, sectorSize);
    if (found) return found;
  }
  return isProtected ? noTable() : undefined;
}

/** @returns {Gpt} of a disk whose master boot record promises one */
function noTable() {
  const remarks = ["The master boot record announces a GPT, but neither of its tables is valid."];
  return { sectorSize: 512, guid: "", source: "primary", partitions: [], remarks };
}

/** @param {import("./bytes.js").Part} disk @param {number} sectorSize @returns {Promise<Gpt | undefined>} */
async function readPair(disk, sectorSize) {
  const lastLba = Math.floor(disk.size / sectorSize) - 1;
  /** @type {string[]} */
  const remarks = [];
  const primary = await readTable(disk, sectorSize, 1, "primary", remarks);
  const backup = await readTable(disk, sectorSize, primary?.header.other ?? lastLba, "backup", remarks);
  const table = primary ?? backup;
  if (!table) return undefined;
  if (primary && primary.header.other !== lastLba) {
    remarks.push(`The backup is in LBA ${primary.header.other}, not in the last one, ${lastLba}.`);
  }
  if (primary && backup && primary.header.entriesChecksum !== backup.header.entriesChecksum) {
    remarks.push("The entries of the backup differ from those of the primary table.");
  }
  return {
    sectorSize,
    guid: table.header.guid,
    source: primary ? "primary" : "backup",
    partitions: partitionsOf(table, sectorSize),
    remarks,
  };
}

/**
 * @param {import("./bytes.js").Part} disk
 * @param {number} sectorSize
 * @param {number} lba
 * @param {"primary" | "backup"} which
 * @param {string[]} remarks
 * @returns {Promise<Table | undefined>} undefined where there is none that may be believed
 */
async function readTable(disk, sectorSize, lba, which, remarks) {
  const sector = await disk.fields(lba * sectorSize, sectorSize);
  if (!sector.has(0, SIGNATURE)) {
    remarks.push(`There is no ${which} header in LBA ${lba}.`);
    return undefined;
  }
  const header = headerOf(sector, lba);
  if (typeof header === "string") return void remarks.push(`The ${which} header is not valid: ${header}.`);
  const length = header.count * header.entrySize;
  const entries = await disk.fields(header.entriesLba * sectorSize, length);
  if (entries.length === length && crc32(entries.bytes) === header.entriesChecksum) return { header, entries };
  remarks.push(`The entries of the ${which} table do not have the CRC32 that its header tells.`);
  return undefined;
}

/**
 * @param {Fields} sector
 * @param {number} lba
 * @returns {Header | string} the header, or what is wrong with it
 */
export function headerOf(sector, lba) {
  const headerSize = sector.u32(12);
  if (headerSize < LEAST_HEADER || headerSize > sector.length) return `it claims ${headerSize} bytes`;
  const zeroed = sector.slice(0, headerSize).slice();
  zeroed.fill(0, 16, 20);
  if (crc32(zeroed) !== sector.u32(16)) return "its CRC32 is wrong";
  if (sector.u64(24) !== lba) return `it is that of LBA ${sector.u64(24)}`;
  const [count, entrySize] = [sector.u32(80), sector.u32(84)];
  if (entrySize < LEAST_ENTRY || count * entrySize > LARGEST_TABLE) return `${count} entries of ${entrySize} bytes`;
  return {
    lba,
    other: sector.u64(32),
    guid: sector.guid(56),
    entriesLba: sector.u64(72),
    count,
    entrySize,
    entriesChecksum: sector.u32(88),
  };
}

/** @param {Table} table @param {number} sectorSize @returns {Partition[]} */
function partitionsOf({ header, entries }, sectorSize) {
  const partitions = [];
  for (let index = 0; index < header.count; index += 1) {
    const entry = new Fields(entries.slice(index * header.entrySize, header.entrySize));
    const type = entry.guid(0);
    if (type === NO_TYPE) continue;
    partitions.push({
      number: index + 1,
      start: entry.u64(32) * sectorSize,
      size: Math.max(0, entry.u64(40) - entry.u64(32) + 1) * sectorSize,
      type: gptTypeName(type),
      name: entry.utf16(56, 36),
      guid: entry.guid(16),
      isBootable: (entry.u8(48) & 4) !== 0, // "legacy BIOS bootable"
    });
  }
  return partitions;
}
