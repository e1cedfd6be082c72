// Images that the tools of Linux made: what is found in them.

import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";

import "./client-modules.mjs";
import { withFile } from "./disks.mjs";

const { examine } = await import("../../browser/page/partitions.js");

const home = process.env.IMAGES;
const UUID = "12345678-9abc-4def-8123-456789abcdef";
const MIB = 1 << 20;

// What fills the image, as far as the tool was told.
const WHOLE = {
  ext2: { name: "ext2", label: "two", uuid: UUID },
  ext3: { name: "ext3", label: "three", uuid: UUID },
  ext4: { name: "ext4", label: "four", uuid: UUID },
  floppy: { name: "FAT12", label: "FLOPPY", uuid: "1234-ABCD", details: /^floppy of 1\.44 MB/ },
  fat16: { name: "FAT16", label: "SIXTEEN", uuid: "1234-ABCD" },
  fat32: { name: "FAT32", label: "WIDE", uuid: "1234-ABCD" },
  exfat: { name: "exFAT", label: "Äx fat" },
  ntfs: { name: "NTFS", label: "Fenster ü", details: /^clusters of 4096 bytes/ },
  xfs: { name: "XFS", label: "ex", uuid: UUID },
  btrfs: { name: "btrfs", label: "butter", uuid: UUID },
  swap: { name: "Linux swap", label: "paging", uuid: UUID, details: /^256 pages of 4096/ },
  squashfs: { name: "squashfs", details: /^version 4\.0, gzip/ },
  iso: { name: "ISO 9660", label: "DISC", details: /XORRISO/i },
};

const look = name => withFile(join(home, name), examine);

for (const [name, wanted] of Object.entries(WHOLE)) {
  test(`${name}: it fills the disk, and there is no partition table`, async () => {
    const { scheme, partitions, whole } = await look(name);
    assert.deepEqual([scheme, partitions], ["none", []]);
    for (const [key, value] of Object.entries(wanted)) {
      if (value instanceof RegExp) assert.match(whole[key], value);
      else assert.equal(whole[key], value);
    }
  });
}

test("mbr: primary and logical partitions, where sfdisk put them", async () => {
  const { scheme, partitions, remarks } = await look("mbr");
  const facts = partitions.map(({ number, start, size, type, isBootable }) => [
    number,
    start / 512,
    size / 512,
    type,
    isBootable,
  ]);
  assert.deepEqual(
    [scheme, facts, remarks],
    [
      "MBR",
      [
        [1, 2048, 4096, "Linux", true],
        [2, 6144, 10240, "Extended", false],
        [5, 8192, 2048, "Linux swap", false],
        [6, 12288, 2048, "FAT32, LBA", false],
      ],
      [],
    ],
  );
});

test("gpt: partitions with names, where sgdisk put them", async () => {
  const { scheme, partitions, remarks } = await look("gpt");
  const facts = partitions.map(({ number, start, size, type, name }) => [
    number,
    start / MIB,
    size / MIB,
    type,
    name,
  ]);
  assert.deepEqual(
    [scheme, facts, remarks],
    [
      "GPT",
      [
        [1, 1, 1, "EFI system", "EFI öäü"],
        [2, 2, 2, "Linux file system", "root"],
      ],
      [],
    ],
  );
});

test("hfsplus: the partition map of a Macintosh, with HFS+ in it, beside ISO 9660", async () => {
  const { scheme, partitions, whole } = await look("hfsplus");
  assert.deepEqual([scheme, whole.name, whole.label], ["Apple", "ISO 9660", "APPLE"]);
  const { content } = partitions.find(({ type }) => type === "Apple_HFS");
  assert.deepEqual([content.name, content.label], ["HFS+", "APPLE"]);
});
