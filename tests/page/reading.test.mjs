// Places, rows, searches, maps and digests: the pure parts of the view of an image.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";

import "./client-modules.mjs";
import { sparseDisk, text } from "./disks.mjs";

const { parseOffset } = await import("../../browser/page/offsets.js");
const { asciiOf, offsetWidth, pageOf, rowsOf } = await import("../../browser/page/hex-rows.js");
const { indexOf, parsePattern, search } = await import("../../browser/page/search.js");
const { bytesOf, extentUnit, filled, rangesOfExtents, rangesOfProfile, summary } =
  await import("../../browser/page/ranges.js");
const { checkChunks, digestOfAll, digestsOf, sampleOf } = await import("../../browser/page/digest-check.js");

const TIB = 2 ** 40;
const sha256 = bytes => createHash("sha256").update(bytes).digest("hex");

const PLACES = [
  ["0", 0],
  ["4096", 4096],
  [" 1 048 576 ", 1048576],
  ["1,048,576", 1048576],
  ["0x1000", 4096],
  ["0X1f", 31],
  ["1000h", 4096],
  ["ffh", 255],
  ["64 MiB", 64 << 20],
  ["64m", 64 << 20],
  ["1 TiB", TIB],
  ["5000000000", 5000000000],
  ["lba:2048", 1 << 20],
  ["LBA 2048", 1 << 20],
  ["lba:0x800", 1 << 20],
  ["sector:1", 512],
  ["lba:4294967295", (2 ** 32 - 1) * 512],
  ["lba:4294967297", undefined],
  [String(2 * TIB - 1), 2 * TIB - 1],
  [String(2 * TIB), undefined],
  ["-1", undefined],
  ["1.5", undefined],
  ["ff", undefined],
  ["", undefined],
  ["lba:1 MiB", undefined],
  ["0x", undefined],
  ["99999999999999999999", undefined],
  ["lba:", undefined],
  ["<b>", undefined],
];
for (const [words, wanted] of PLACES) {
  test(`the place ${JSON.stringify(words)} is ${wanted ?? "none"}`, () => {
    assert.equal(parseOffset(words, 2 * TIB), wanted);
  });
}

test("`lba:` counts in the sectors of the disk", () => {
  assert.equal(parseOffset("lba:2", TIB, 4096), 8192);
});

test("rows have offset, digits and text, beyond 2^32 as well", () => {
  const bytes = Uint8Array.from([0, 0x1f, 0x20, 0x41, 0x7e, 0x7f, 0xff, ...new Uint8Array(12).fill(0x2e)]);
  const rows = rowsOf(bytes, 2 ** 41 - 16, offsetWidth(2 ** 41 + 16));
  assert.deepEqual(
    rows.map(({ offset, text: shown }) => [offset, shown]),
    [
      ["01fffffffff0", ".. A~..........."],
      ["020000000000", "..."],
    ],
  );
  assert.deepEqual(rows[0].digits.slice(0, 3), ["00", "1f", "20"]);
  assert.equal(asciiOf(text("<b>")), "<b>");
});

for (const [offset, size, wanted] of [
  [0, 1000, { start: 0, length: 256 }],
  [300, 1000, { start: 288, length: 256 }],
  [999, 1000, { start: 752, length: 248 }],
  [5, 10, { start: 0, length: 10 }],
  [-20, 1000, { start: 0, length: 256 }],
  [0, 0, { start: 0, length: 0 }],
  [2 * TIB - 1, 2 * TIB, { start: 2 * TIB - 256, length: 256 }],
]) {
  test(`the page of byte ${offset} of ${size} begins at ${wanted.start}`, () => {
    assert.deepEqual(pageOf(offset, 256, size), wanted);
  });
}

test("patterns are text as UTF-8, or digits in any common form", () => {
  assert.deepEqual([...parsePattern("ü!", "text")], [0xc3, 0xbc, 0x21]);
  for (const words of ["55 AA", "55aa", "0x55 0xAA", "55:aa", "55,AA"]) {
    assert.deepEqual([...parsePattern(words, "hex")], [0x55, 0xaa]);
  }
  for (const words of ["", "5", "5g", "55 a", "0x"]) assert.equal(parsePattern(words, "hex"), undefined);
  assert.equal(parsePattern("", "text"), undefined);
  assert.equal(parsePattern("x".repeat(1025), "text"), undefined);
});

test("bytes are found where they begin, also after a false start, and not where they are cut", () => {
  const bytes = text("aabaabaac");
  assert.deepEqual(
    [indexOf(bytes, text("aabaac")), indexOf(bytes, text("aac")), indexOf(bytes, text("acx"))],
    [3, 6, -1],
  );
  assert.equal(indexOf(text("ab"), text("bc")), -1);
  assert.equal(indexOf(text("abab"), text("ab"), 1), 2);
});

const disk = sparseDisk(2 * TIB, [
  [1000, text("needle")],
  [TIB - 3, text("needle")],
]);
const read = (offset, length) => disk.read(offset, length);

for (const [name, range, wanted] of [
  ["within the range", { start: 0, end: 5000 }, 1000],
  ["that begins with the range", { start: 1000, end: 1006 }, 1000],
  ["across two blocks, beyond 2^32", { start: TIB - 4096, end: TIB + 4096 }, TIB - 3],
  ["behind the first byte of it", { start: 1001, end: 5000 }, undefined],
  ["cut by the end", { start: 0, end: 1005 }, undefined],
  ["that is longer than the range", { start: 0, end: 3 }, undefined],
]) {
  test(`a search finds what lies ${name}: ${wanted}`, async () => {
    assert.equal(await search(read, text("needle"), range, { block: 4096 }), wanted);
  });
}

test("a search reads the range once, tells how far it is, and stops when it is told to", async () => {
  const reads = [];
  const told = [];
  const noting = (offset, length) => {
    reads.push([offset, length]);
    return read(offset, length);
  };
  await search(noting, text("xy"), { start: 0, end: 10_000 }, { block: 4096, onProgress: ({ at }) => told.push(at) });
  assert.deepEqual(reads, [
    [0, 4097],
    [4096, 4097],
    [8192, 1808],
  ]);
  assert.deepEqual(told, [4096, 8192, 10_000]);
  const stop = new AbortController();
  const searching = search(
    noting,
    text("xy"),
    { start: 0, end: TIB },
    { signal: stop.signal, onProgress: () => stop.abort() },
  );
  await assert.rejects(searching, { name: "AbortError" });
  assert.equal(reads.length, 4);
});

test("extents become ranges; a document that makes no sense has none", () => {
  const document = { unit: 4096, size_bytes: 1_100_000, data: [0, 17, 239, 100] };
  assert.deepEqual(rangesOfExtents(document), [
    [0, 69_632],
    [1_048_576, 51_424],
  ]);
  for (const data of [[-1, 2], ["0", 1], [0.5, 1], null, [NaN, 1]])
    assert.deepEqual(rangesOfExtents({ ...document, data }), []);
  assert.deepEqual(rangesOfProfile({ unit: 512, ranges: [[4, 2, 0, 100], [null], "x"] }), [[2048, 1024]]);
  assert.equal(
    bytesOf(
      [
        [0, 10],
        [90, 20],
      ],
      100,
    ),
    20,
  );
});

test("the unit of a map is a power of two that keeps the document short", () => {
  assert.deepEqual([0, 1 << 20, 20 * 2 ** 30, 2 * TIB, 2 ** 52].map(extentUnit), [
    4096,
    4096,
    2 << 20,
    64 << 20,
    64 << 20,
  ]);
});

test("a map tells how much of each part is covered", () => {
  const parts = filled(
    [
      [0, 15],
      [25, 5],
      [39, 100],
    ],
    40,
    4,
  );
  assert.deepEqual([...parts], [1, 0.5, 0.5, 0.1]);
  assert.deepEqual(summary(parts, 2), [0.75, 0.3]);
  assert.deepEqual([...filled([], 0, 2)], [0, 0]);
  assert.deepEqual([...filled([[2 * TIB - 512, 512]], 2 * TIB, 2)], [0, 512 / TIB]);
});

const image = Uint8Array.from({ length: 3_000_000 }, (_, index) => (index * 7 + (index >> 9)) & 0xff);
const readImage = async (offset, length) => image.slice(offset, offset + length);

test("the digest of all is that of the image, with progress; it stops when it is told to", async () => {
  const told = [];
  const found = await digestOfAll(readImage, image.length, { onProgress: (done, total) => told.push([done, total]) });
  assert.equal(found, sha256(image));
  assert.deepEqual(told.at(-1), [image.length, image.length]);
  const stop = new AbortController();
  const checking = digestOfAll(readImage, image.length, { signal: stop.signal, onProgress: () => stop.abort() });
  await assert.rejects(checking, { name: "AbortError" });
});

const chunkSize = 512 * 100;
const chunks = Array.from({ length: Math.ceil(image.length / chunkSize) }, (_, index) => ({
  sha256: sha256(image.subarray(index * chunkSize, (index + 1) * chunkSize)),
}));
const manifest = { totalSize: image.length, chunkSize, chunkCount: chunks.length, chunks };

test("chunks are compared with their digests, the last one too; damaged ones are named", async () => {
  const digests = digestsOf(manifest);
  const all = sampleOf(chunks.length, Infinity);
  assert.deepEqual(await checkChunks(readImage, digests, all), { checked: chunks.length, damaged: [] });
  const damaged = async (offset, length) => {
    if (offset === 7 * chunkSize) throw Object.assign(new Error("damaged"), { code: "damaged" });
    const bytes = await readImage(offset, length);
    if (offset === 3 * chunkSize || offset + length === image.length) bytes[length - 1] ^= 1;
    return bytes;
  };
  const verdict = await checkChunks(damaged, digests, all);
  assert.deepEqual(verdict, { checked: chunks.length, damaged: [3, 7, chunks.length - 1] });
});

test("a check of chunks ends with the first failure that is no damage, and when it is told to", async () => {
  let reads = 0;
  const failing = async () => {
    reads += 1;
    throw new TypeError("no network");
  };
  await assert.rejects(checkChunks(failing, digestsOf(manifest), sampleOf(chunks.length, 40)), { name: "TypeError" });
  assert.ok(reads <= 4);
  const signal = AbortSignal.abort();
  await assert.rejects(checkChunks(readImage, digestsOf(manifest), [0], { signal }), { name: "AbortError" });
});

test("a manifest without all digests, or one that makes no sense, has none", () => {
  assert.equal(digestsOf(undefined), undefined);
  assert.equal(digestsOf({ ...manifest, chunks: undefined }), undefined);
  assert.equal(digestsOf({ ...manifest, chunks: [...chunks.slice(0, -1), {}] }), undefined);
  assert.equal(digestsOf({ ...manifest, chunkCount: 3 }), undefined);
  assert.equal(digestsOf({ ...manifest, chunkSize: 2 ** 40 }), undefined);
});

test("a sample has the first and the last one, none twice, all of few", () => {
  assert.deepEqual(sampleOf(3, 5), [0, 1, 2]);
  const sample = sampleOf(1000, 16);
  assert.deepEqual([sample.length, new Set(sample).size, sample[0], sample.at(-1)], [16, 16, 0, 999]);
  const values = [0.31, 0.35, 0.999, 0.52];
  assert.deepEqual(
    sampleOf(10, 4, () => values.shift()),
    [0, 3, 5, 9],
  );
});
