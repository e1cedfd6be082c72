// @ts-check
/** Places on a disk, as people write them. */

const SECTOR = 512;
const UNITS = "KMGT";
const NUMBER = "0x(?<hex>[0-9a-f]+)|(?<digits>[0-9a-f]+)h|(?<decimal>[0-9]+)\\s*(?:(?<unit>[kmgt])i?b?)?";
const FORMS = new RegExp(`^(?<base>lba|sector)?:?\\s*(?:${NUMBER})$`);

/**
 * Reads a place: `4096`, `0x1000`, `1000h`, `64 MiB`, `lba:2048`, `lba:0x800`; blanks, commas and underscores within
 * digits count for nothing.
 *
 * @param {string} text
 * @param {number} size of the disk, in bytes
 * @param {number} [sectorSize] of what `lba:` counts
 * @returns {number | undefined} a byte of the disk; undefined for a text that names none
 */
export function parseOffset(text, size, sectorSize = SECTOR) {
  const groups = FORMS.exec(
    text
      .trim()
      .toLowerCase()
      .replace(/(?<=[0-9a-f])[ ,_](?=[0-9a-f])/g, ""),
  )?.groups;
  if (!groups) return undefined;
  const { base, hex, digits, decimal, unit } = groups;
  if (base && unit) return undefined;
  const number = decimal === undefined ? Number.parseInt(hex ?? digits ?? "", 16) : Number(decimal);
  const offset = number * (base ? sectorSize : unit ? 1024 ** (UNITS.toLowerCase().indexOf(unit) + 1) : 1);
  return Number.isSafeInteger(offset) && offset < size ? offset : undefined;
}

/** @param {number} offset @param {number} width digits @returns {string} in hexadecimal digits */
export function hexOffset(offset, width) {
  return offset.toString(16).padStart(width, "0");
}
