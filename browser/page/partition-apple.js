// @ts-check
/** The partition map of older Macintoshes, and of discs for them. */

const DRIVER_MARK = "ER";
const MARK = "PM";
const BLOCK = 512;
const MOST = 128;

/**
 * Reads the map: an entry in each block from block 1 on, each of which tells how many there are.
 *
 * @param {import("./bytes.js").Part} disk
 * @param {import("./bytes.js").Fields} sector its first one
 * @returns {Promise<import("./partition-mbr.js").Partition[]>} none where there is no map
 */
export async function readAppleMap(disk, sector) {
  const blockSize = (sector.has(0, DRIVER_MARK) && sector.be16(2)) || BLOCK;
  const partitions = [];
  for (let number = 1, count = 1; number <= Math.min(count, MOST); number += 1) {
    const entry = await disk.fields(number * blockSize, BLOCK);
    if (!entry.has(0, MARK)) break;
    count = entry.be32(4);
    const type = entry.text(48, 32);
    const [start, size] = [entry.be32(8) * blockSize, entry.be32(12) * blockSize];
    if (type !== "Apple_Free") partitions.push({ number, start, size, type, name: entry.text(16, 32) });
  }
  return partitions;
}
