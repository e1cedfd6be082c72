// Partition tables and file systems of bytes made by hand: what is odd, damaged or hostile.

import assert from "node:assert/strict";
import { test } from "node:test";

import "./client-modules.mjs";
import { entry, little, record, sparseDisk, text } from "./disks.mjs";

const { crc32 } = await import("../../browser/crc32.js");
const { examine } = await import("../../browser/page/partitions.js");

const SECTOR = 512;
const DISK = 64 << 20;

const numbers = ({ partitions }) =>
  partitions.map(({ number, start, size }) => [number, start / SECTOR, size / SECTOR]);

test("a chain of extended partitions is followed to its end", async () => {
  const disk = sparseDisk(DISK, [
    [0, record(entry(0x0f, 100, 1000))],
    [100 * SECTOR, record(entry(0x83, 1, 10), entry(0x05, 200, 20))],
    [300 * SECTOR, record(entry(0x82, 2, 10), entry(0x05, 400, 20))],
    [500 * SECTOR, record(entry(0x83, 3, 10))],
  ]);
  const layout = await examine(disk);
  assert.deepEqual(numbers(layout), [
    [1, 100, 1000],
    [5, 101, 10],
    [6, 302, 10],
    [7, 503, 10],
  ]);
  assert.deepEqual(layout.remarks, []);
});

for (const [name, back] of [
  ["to itself", 0],
  ["to the one before", 200],
]) {
  test(`a chain that leads back ${name} ends there, and is told of`, async () => {
    const disk = sparseDisk(DISK, [
      [0, record(entry(5, 100, 1000))],
      [100 * SECTOR, record(entry(0x83, 1, 10), entry(5, 200, 20))],
      [300 * SECTOR, record(entry(0x83, 1, 10), entry(5, back || 200, 20))],
    ]);
    const { partitions, remarks } = await examine(disk);
    assert.equal(partitions.length, 3);
    assert.deepEqual(remarks, ["The extended partition at LBA 100 is a loop."]);
  });
}

test("a chain without an end is left after 128 partitions", async () => {
  let reads = 0;
  const endless = {
    size: 2 ** 40,
    async fields(offset, length) {
      reads += 1;
      const { Fields } = await import("../../browser/page/bytes.js");
      const lba = offset / SECTOR;
      if (lba < 100) return new Fields(new Uint8Array(length));
      return new Fields(record(entry(0x83, 1, 1), entry(5, lba - 100 + 2, 2)));
    },
  };
  const { readMbr } = await import("../../browser/page/partition-mbr.js");
  const { Fields } = await import("../../browser/page/bytes.js");
  const { partitions, remarks } = await readMbr(endless, new Fields(record(entry(5, 100, 1000))));
  assert.deepEqual([partitions.length, reads, remarks.length], [129, 128, 1]);
});

test("a chain that leads behind the end of the disk, or to no record, ends there", async () => {
  for (const next of [2 ** 32 - 200, 300]) {
    const disk = sparseDisk(DISK, [
      [0, record(entry(5, 100, 1000))],
      [100 * SECTOR, record(entry(0x83, 1, 10), entry(5, next, 20))],
    ]);
    const { partitions, remarks } = await examine(disk);
    assert.equal(partitions.length, 2);
    assert.match(remarks[0], /no 55 AA/);
  }
});

test("partitions that overlap, and one that ends behind the disk, are told of", async () => {
  const disk = sparseDisk(DISK, [[0, record(entry(0x83, 100, 200), entry(0x83, 250, 2 ** 20))]]);
  const { remarks } = await examine(disk);
  assert.deepEqual(remarks, ["Partition 2 ends behind the end of the disk.", "Partition 2 overlaps partition 1."]);
});

for (const [name, sector] of [
  ["a status that is none", record(entry(0x83, 1, 10, 0x7f))],
  ["no entry", record()],
  ["an entry that begins at sector 0", record(entry(0x0c, 0, 1000))],
  ["no 55 AA", record(entry(0x83, 1, 10)).fill(0, 510)],
]) {
  test(`a sector with ${name} is no partition table`, async () => {
    assert.equal((await examine(sparseDisk(DISK, [[0, sector]]))).scheme, "none");
  });
}

// A GPT of one partition: header and entries at both ends.
function gpt({ size = DISK, sectorSize = SECTOR, first = 40, last = 60, other, name = "root", copies = 1 } = {}) {
  const lastLba = size / sectorSize - 1;
  const entries = new Uint8Array(128 * 128);
  entries.set(
    Uint8Array.from([0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47, 0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4]),
  );
  entries.set(new Uint8Array(16).fill(7), 16);
  entries.set(little(first, 8), 32);
  entries.set(little(last, 8), 40);
  entries.set(new Uint8Array(new Uint16Array(Array.from(name, sign => sign.charCodeAt(0))).buffer), 56);
  for (let copy = 1; copy < copies; copy += 1) entries.copyWithin(copy * 128, 0, 128);
  const entriesSectors = entries.length / sectorSize;
  const header = (lba, backup, entriesLba) => {
    const bytes = new Uint8Array(sectorSize);
    bytes.set(text("EFI PART"));
    bytes.set(little(0x10000, 4), 8);
    bytes.set(little(92, 4), 12);
    for (const [at, value] of [
      [24, lba],
      [32, backup],
      [40, 34],
      [48, lastLba - 33],
      [72, entriesLba],
    ])
      bytes.set(little(value, 8), at);
    bytes.set(little(128, 4), 80);
    bytes.set(little(128, 4), 84);
    bytes.set(little(crc32(entries), 4), 88);
    bytes.set(little(crc32(bytes.subarray(0, 92)), 4), 16);
    return bytes;
  };
  const backupEntries = lastLba - entriesSectors;
  return {
    protection: [0, record(entry(0xee, 1, 2 ** 32 - 1))],
    primary: [sectorSize, header(1, other ?? lastLba, 2)],
    entries: [2 * sectorSize, entries],
    backupEntries: [backupEntries * sectorSize, entries.slice()],
    backup: [lastLba * sectorSize, header(lastLba, 1, backupEntries)],
  };
}

const diskOf = (parts, size = DISK) => sparseDisk(size, Object.values(parts));

test("a GPT is read, of sectors of 512 and of 4,096 bytes", async () => {
  for (const sectorSize of [512, 4096]) {
    const layout = await examine(diskOf(gpt({ sectorSize })));
    assert.deepEqual([layout.scheme, layout.sectorSize, layout.remarks], ["GPT", sectorSize, []]);
    const [{ start, size, name, type }] = layout.partitions;
    assert.deepEqual([start, size, name, type], [40 * sectorSize, 21 * sectorSize, "root", "Linux file system"]);
  }
});

test("of the oddities of a table that is full of them the first ones are told", async () => {
  const { partitions, remarks } = await examine(diskOf(gpt({ copies: 128 })));
  assert.equal(partitions.length, 128);
  assert.deepEqual(remarks.slice(30), [
    "Partition 32 overlaps partition 1.",
    "Partition 33 overlaps partition 1.",
    "And 95 more.",
  ]);
});

for (const [name, damage] of [
  ["header", parts => (parts.primary[1][60] ^= 1)],
  ["table of entries", parts => (parts.entries[1][5000] ^= 1)],
  ["first megabyte", parts => ["primary", "entries"].forEach(part => delete parts[part])],
]) {
  test(`a GPT whose ${name} is damaged is read from its backup, and told of`, async () => {
    const parts = gpt();
    damage(parts);
    const { scheme, partitions, remarks } = await examine(diskOf(parts));
    assert.deepEqual([scheme, partitions.length, remarks.length], ["GPT", 1, 1]);
    assert.match(remarks[0], /primary/);
  });
}

test("a GPT whose backup is damaged, or differs, is told of", async () => {
  const damaged = gpt();
  damaged.backup[1][60] ^= 1;
  assert.match((await examine(diskOf(damaged))).remarks[0], /backup header is not valid: its CRC32/);
  const differs = {
    ...gpt(),
    backup: gpt({ name: "other" }).backup,
    backupEntries: gpt({ name: "other" }).backupEntries,
  };
  assert.deepEqual((await examine(diskOf(differs))).remarks, [
    "The entries of the backup differ from those of the primary table.",
  ]);
});

test("a GPT on a disk that has grown is read, and its backup is found where it is", async () => {
  const { remarks, partitions } = await examine(diskOf(gpt(), 2 * DISK));
  assert.equal(partitions.length, 1);
  assert.match(remarks[0], /^The backup is in LBA 131071, not in the last one, 262143\.$/);
});

test("a protective record without a valid GPT is told of, and so is a GPT without one", async () => {
  const { scheme, remarks } = await examine(diskOf({ protection: gpt().protection }));
  assert.deepEqual([scheme, remarks.length], ["GPT", 1]);
  const parts = gpt();
  delete parts.protection;
  assert.deepEqual((await examine(diskOf(parts))).remarks, ["There is no protective master boot record."]);
});

test("a GPT that claims a table of gigabytes is not read", async () => {
  const parts = gpt();
  for (const header of [parts.primary[1], parts.backup[1]]) {
    header.set(little(2 ** 31, 4), 80);
    header.fill(0, 16, 20);
    header.set(little(crc32(header.subarray(0, 92)), 4), 16);
  }
  assert.deepEqual((await examine(diskOf(parts))).partitions, []);
});

test("a partition of a GPT beyond 2 TiB is read there", async () => {
  const size = 2 ** 43;
  const parts = gpt({ size, first: 2 ** 33, last: 2 ** 33 + 99 });
  const superblock = new Uint8Array(1024);
  superblock.set([0x53, 0xef], 56);
  superblock.set(text("far away"), 120);
  const disk = sparseDisk(size, [...Object.values(parts), [2 ** 33 * SECTOR + 1024, superblock]]);
  const { partitions } = await examine(disk);
  assert.deepEqual([partitions[0].start, partitions[0].content.label], [2 ** 42, "far away"]);
});

// Signatures of file systems whose tools are not at hand: [offset, bytes] pairs, and what is found.
const signatures = {
  "LVM2 physical volume": [
    [512, text("LABELONE")],
    [512 + 20, little(32, 4)],
    [512 + 24, text("LVM2 001abcdef")],
  ],
  LUKS2: [
    [0, text("LUKS")],
    [4, Uint8Array.from([0xba, 0xbe, 0, 2])],
    [24, text("secret")],
  ],
  "Linux RAID": [
    [4096, little(0xa92b4efc, 4)],
    [4100, little(1, 4)],
    [4096 + 32, text("host:0")],
  ],
  HFS: [
    [1024, text("BD")],
    [1024 + 36, Uint8Array.from([5, ...text("Macro")])],
  ],
  UDF: [
    [32768 + 1, text("BEA01")],
    [34816 + 1, text("NSR03")],
  ],
  "APFS container": [[32, text("NXSB")]],
  UFS2: [[65536 + 1372, little(0x19540119, 4)]],
  F2FS: [[1024, little(0xf2f52010, 4)]],
  EROFS: [[1024, little(0xe0f5e1e2, 4)]],
  ReiserFS: [[65536 + 52, text("ReIsEr2Fs")]],
  "ext journal": [
    [1024 + 56, little(0xef53, 2)],
    [1024 + 96, little(8, 4)],
  ],
};
for (const [name, pieces] of Object.entries(signatures)) {
  test(`${name} is known by its signature`, async () => {
    const { whole } = await examine(sparseDisk(DISK, pieces));
    assert.equal(whole?.name, name);
  });
}

test("text of a disk may be anything, and is text", async () => {
  const label = '<img src=x onerror="x">';
  const superblock = [
    [1024 + 56, little(0xef53, 2)],
    [1024 + 120, text(label)],
  ];
  assert.equal((await examine(sparseDisk(DISK, superblock))).whole.label, label.slice(0, 16));
});

test("a boot sector is described: jump, maker, texts, loader", async () => {
  const sector = record();
  sector.set([0xeb, 0x3c, 0x90, ...text("MSDOS5.0")]);
  sector.set(text("\0Non-System disk\r\nIO      SYS"), 100);
  const { bootSector } = await examine(sparseDisk(DISK, [[0, sector]]));
  assert.deepEqual(bootSector, {
    jump: "EB 3C: to byte 62",
    oem: "MSDOS5.0",
    isSigned: true,
    isEmpty: false,
    texts: ["MSDOS5.0", "Non-System disk", "IO      SYS"],
    loader: "MS-DOS or Windows 9x",
  });
});

// A generator that gives the same numbers at every run.
function numbersFrom(seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) | 0;
    return (state >>> 0) / 2 ** 32;
  };
}

// Marks that lead into every reader; what stands around them is up to chance.
const MARKS = [
  [3, text("NTFS    ")],
  [3, text("EXFAT   ")],
  [1024, text("H+")],
  [1024, text("BD")],
  [1024 + 124, text("H+")],
  [1024 + 56, little(0xef53, 2)],
  [0, text("XFSB")],
  [512, text("EFI PART")],
  [4096, text("EFI PART")],
  [0, text("ER")],
  [512, text("PM")],
  [512, text("LABELONE")],
  [512 + 24, text("LVM2 001")],
  [32769, text("CD001")],
  [0, text("LUKS")],
  [510, Uint8Array.from([0x55, 0xaa])],
  [1024, little(0xf2f52010, 4)],
  [65536 + 0x40, text("_BHRfS_M")],
];

test("no bytes at all make the readers throw, loop, or read much", { timeout: 60_000 }, async () => {
  const random = numbersFrom(52);
  for (let round = 0; round < 1500; round += 1) {
    const size = [0, 1, 511, 512, 4096, 70_000, 1 << 20, 2 ** 42 + 512][Math.floor(random() * 8)];
    const bytes = new Uint8Array(Math.min(size, 80_000));
    const density = random();
    for (let at = 0; at < bytes.length; at += 1) if (random() < density) bytes[at] = Math.floor(random() * 256);
    for (const [at, mark] of MARKS) if (random() < 0.2 && at + mark.length <= bytes.length) bytes.set(mark, at);
    for (const status of [446, 462, 478, 494]) if (random() < 0.7 && size > 512) bytes[status] = 0;
    const disk = sparseDisk(size, [[0, bytes]]);
    let read = 0;
    const counting = disk.part(0, size);
    const count = counting.read.bind(counting);
    counting.read = async (offset, length) => {
      read += 1;
      return count(offset, length);
    };
    const layout = await examine(counting);
    assert.ok(read < 400, `${read} reads in round ${round}`);
    assert.ok(layout.partitions.every(({ start, size }) => start >= 0 && size >= 0));
    JSON.stringify(layout);
  }
});
