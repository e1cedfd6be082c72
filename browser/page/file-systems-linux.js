// @ts-check
/** File systems and containers of Linux, by their superblocks. */

/** @typedef {import("./bytes.js").Fields} Fields @typedef {import("./file-systems.js").FileSystem} FileSystem */

const EXT = 1024;
const HAS_JOURNAL = 4;
/** Features that ext3 knows: file types, recovery, meta block groups; sparse superblocks, large files, trees. */
const EXT3_INCOMPATIBLE = 0x2 | 0x4 | 0x10;
const EXT3_READ_ONLY = 0x1 | 0x2 | 0x4;
const BTRFS = 64 << 10;
const SWAP_PAGES = [4096, 8192, 16384, 65536];
const COMPRESSIONS = ["", "gzip", "LZMA", "LZO", "XZ", "LZ4", "Zstandard"];

/** @param {Fields} head @returns {FileSystem | undefined} */
export function ext(head) {
  if (head.u16(EXT + 56) !== 0xef53) return undefined;
  const [compatible, incompatible, readOnly] = [92, 96, 100].map(at => head.u32(EXT + at));
  const blockSize = 1024 * 2 ** Math.min(head.u32(EXT + 24), 6);
  return {
    name: extName(compatible ?? 0, incompatible ?? 0, readOnly ?? 0),
    label: head.text(EXT + 120, 16),
    uuid: head.uuid(EXT + 104),
    details: `${head.u32(EXT + 4)} blocks of ${blockSize} bytes`,
  };
}

/** @param {number} compatible @param {number} incompatible @param {number} readOnly features */
function extName(compatible, incompatible, readOnly) {
  if ((incompatible & 0x8) !== 0) return "ext journal";
  if ((incompatible & ~EXT3_INCOMPATIBLE) !== 0 || (readOnly & ~EXT3_READ_ONLY) !== 0) return "ext4";
  return (compatible & HAS_JOURNAL) !== 0 ? "ext3" : "ext2";
}

/** @param {Fields} head @returns {FileSystem | undefined} */
export function xfs(head) {
  if (!head.has(0, "XFSB")) return undefined;
  return {
    name: "XFS",
    label: head.text(108, 12),
    uuid: head.uuid(32),
    details: `${head.be64(8)} blocks of ${head.be32(4)} bytes`,
  };
}

/** @param {Fields} head @returns {FileSystem | undefined} */
export function btrfs(head) {
  if (!head.has(BTRFS + 0x40, "_BHRfS_M")) return undefined;
  return { name: "btrfs", label: head.text(BTRFS + 0x12b, 256), uuid: head.uuid(BTRFS + 0x20) };
}

/** @param {Fields} head @returns {FileSystem | undefined} */
export function squashfs(head) {
  if (!head.has(0, "hsqs")) return undefined;
  return {
    name: "squashfs",
    details: `version ${head.u16(28)}.${head.u16(30)}, ${COMPRESSIONS[head.u16(20)] || "unknown"} compression`,
  };
}

/** Swap space: its mark ends a page, whose size depends on the machine. @param {Fields} head */
export function swap(head) {
  for (const page of SWAP_PAGES) {
    if (head.has(page - 10, "SWAPSPACE2")) {
      const details = `${head.u32(1028) + 1} pages of ${page} bytes`;
      return { name: "Linux swap", label: head.text(1052, 16), uuid: head.uuid(1036), details };
    }
    if (head.has(page - 10, "SWAP-SPACE")) return { name: "Linux swap, old" };
    if (head.has(page - 10, "S1SUSPEND") || head.has(page - 10, "S2SUSPEND")) return { name: "Linux hibernation" };
  }
  return undefined;
}

/** Physical volumes, encryption, members of arrays. @param {Fields} head @returns {FileSystem | undefined} */
export function container(head) {
  if (head.has(0, "LUKS\xba\xbe")) {
    return {
      name: `LUKS${head.be16(6)}`,
      uuid: head.text(168, 40),
      label: head.be16(6) === 2 ? head.text(24, 48) : "",
    };
  }
  for (const at of [0, 4096]) {
    if (head.u32(at) === 0xa92b4efc && head.u32(at + 4) === 1) {
      return { name: "Linux RAID", label: head.text(at + 32, 32), uuid: head.uuid(at + 16) };
    }
  }
  return volume(head);
}

/** A label of LVM2 lies in one of the first four sectors. @param {Fields} head @returns {FileSystem | undefined} */
function volume(head) {
  for (const at of [0, 512, 1024, 1536]) {
    if (!head.has(at, "LABELONE") || !head.has(at + 24, "LVM2 001")) continue;
    const id = head.text(at + head.u32(at + 20), 32);
    return {
      name: "LVM2 physical volume",
      uuid: id.replace(/^(.{6})(.{4})(.{4})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-$5-$6-"),
    };
  }
  return undefined;
}

/** File systems that Linux has and few disks. @param {Fields} head @returns {FileSystem | undefined} */
export function linux(head) {
  if (head.u32(1024) === 0xf2f52010)
    return { name: "F2FS", label: head.utf16(1024 + 124, 512), uuid: head.uuid(1024 + 108) };
  if (head.u32(1024) === 0xe0f5e1e2)
    return { name: "EROFS", label: head.text(1024 + 64, 16), uuid: head.uuid(1024 + 48) };
  if (head.u32(0) === 0x28cd3d45) return { name: "cramfs", label: head.text(48, 16) };
  if (head.has(32768, "JFS1"))
    return { name: "JFS", label: head.text(32768 + 152, 16), uuid: head.uuid(32768 + 136) };
  for (const mark of ["ReIsErFs", "ReIsEr2Fs", "ReIsEr3Fs"]) {
    if (head.has(65536 + 52, mark)) {
      return { name: "ReiserFS", label: head.text(65536 + 100, 16), uuid: head.uuid(65536 + 84) };
    }
  }
  return [0x137f, 0x138f, 0x2468, 0x2478].includes(head.u16(1024 + 16)) ? { name: "Minix" } : undefined;
}

/** @param {Fields} head @returns {FileSystem | undefined} */
export function bsd(head) {
  for (const at of [8192, 65536]) {
    const magic = head.u32(at + 1372);
    if (magic === 0x00011954) return { name: "UFS1", label: head.text(at + 680, 32) };
    if (magic === 0x19540119) return { name: "UFS2", label: head.text(at + 680, 32) };
  }
  return undefined;
}
