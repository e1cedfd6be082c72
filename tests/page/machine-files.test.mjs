/** States, drives, the serial line and waits: the parts of "Boot it" that need no document. */

import assert from "node:assert/strict";
import test from "node:test";

import { DiskWaits } from "../../browser/page/disk-waits.js";
import { driveFor, driveOf, ISO_NAME } from "../../browser/page/drives.js";
import { mismatch, readState, writeState } from "../../browser/page/state-file.js";
import { bytesOfKey, MOST_TEXT, TerminalText } from "../../browser/page/terminal-text.js";

const FACTS = { image: "linux", version: "v-1", drive: "hda", memory: 64, emulator: "0.5.462" };
const HERE = { image: "linux", version: "v-1", emulator: "0.5.462" };

/** @param {boolean} starts */
function sector(starts) {
  const bytes = new Uint8Array(512);
  if (starts) bytes.set([0x55, 0xaa], 510);
  return bytes;
}

test("a floppy is told by its size, a CD by its name, and a hybrid disc is a hard disk", () => {
  const iso = new TextEncoder().encode("CD001");
  assert.equal(driveFor(1440 * 1024, sector(true)), "fda");
  assert.equal(driveFor(1 << 20, sector(true)), "hda");
  assert.equal(driveFor(1 << 20, sector(false)), "hda");
  assert.equal(driveFor(1 << 20, sector(false), iso), "cdrom");
  assert.equal(driveFor(1 << 20, sector(true), iso), "hda");
});

test("a drive is found by two small reads, and by one of a disk that is too small for a CD", async () => {
  /** @type {number[][]} */
  const reads = [];
  const disk = {
    size: 100 * 2048,
    read: async (offset, length) => {
      reads.push([offset, length]);
      return offset === 0 ? sector(false) : new TextEncoder().encode("CD001");
    },
  };
  assert.equal(await driveOf(disk), "cdrom");
  assert.deepEqual(reads, [
    [0, 512],
    [ISO_NAME.offset, ISO_NAME.length],
  ]);
  assert.equal(await driveOf({ ...disk, size: 512 }), "hda");
  assert.equal(reads.length, 3);
});

test("a state comes back from its file as it was saved", async () => {
  const { facts, state } = await readState(writeState(FACTS, Uint8Array.of(1, 10, 2).buffer));
  assert.deepEqual(facts, FACTS);
  assert.deepEqual([...new Uint8Array(state)], [1, 10, 2]);
});

test("files that are no states are refused in words", async () => {
  const texts = [
    "",
    "{}\n",
    "no JSON\n",
    '{"format":"aero.state.v1"}\n',
    JSON.stringify({ format: "x" }),
    "x".repeat(9000),
  ];
  for (const text of texts) await assert.rejects(readState(new Blob([text])), /no saved state/);
});

test("a state of another image, version or emulator cannot go on", () => {
  assert.equal(mismatch(FACTS, HERE), undefined);
  assert.match(mismatch(FACTS, { ...HERE, image: "other" }) ?? "", /image linux/);
  assert.match(mismatch(FACTS, { ...HERE, version: "v-2" }) ?? "", /version v-1 .* v-2/);
  assert.match(mismatch({ ...FACTS, version: null }, HERE) ?? "", /version unknown/);
  assert.match(mismatch(FACTS, { ...HERE, emulator: "0.6" }) ?? "", /v86 0.5.462/);
  assert.equal(mismatch({ ...FACTS, version: null }, { ...HERE, version: undefined }), undefined);
});

/** @param {...string} parts */
function terminal(...parts) {
  const shown = new TerminalText();
  for (const part of parts) shown.write(part);
  return textOf(shown.take());
}

/** @param {import("../../browser/page/terminal-text.js").News} news */
function textOf({ finished, line }) {
  return finished + line;
}

test("a terminal follows returns, backspaces and the escapes of a shell", () => {
  assert.equal(terminal("a\r\nb\rc\n"), "a\nc\n");
  assert.equal(terminal("abc\b\b\x1b[Kx"), "ax");
  assert.equal(terminal("a\tb"), "a       b");
  assert.equal(terminal("\x1b[1;31mred\x1b[0m \x1b[6nend"), "red end");
  assert.equal(terminal("abc\x1b[2Dx\x1b[C!"), "axc!");
  assert.equal(terminal("gone\x1b[2J\x1b[Hnew"), "new");
  assert.equal(terminal("abc\r\x1b[2Kd"), "d");
});

test("escapes may come in pieces, and one that does not end is left behind", () => {
  assert.equal(terminal("a\x1b", "[3", "1mb"), "ab");
  assert.equal(terminal(`a\x1b[${"1".repeat(100)}`).startsWith("a"), true);
  assert.equal(terminal("\x07\x00a\x7f"), "a");
});

test("a terminal keeps its last lines, and no line that is longer than its limit", () => {
  const many = terminal(Array.from({ length: 100_000 }, (_, number) => `${number}\r\n`).join(""));
  assert.ok(many.length > MOST_TEXT - 10 && many.length <= MOST_TEXT);
  assert.equal(many.split("\n").at(-2), "99999");
  assert.ok(
    terminal("x".repeat(100_000))
      .split("\n")
      .every(line => line.length <= 4096),
  );
});

test("lines that nobody looks at yet cost the same each, also where the oldest have to go", () => {
  const terminal = new TerminalText();
  terminal.write("\n".repeat(MOST_TEXT));
  const start = performance.now();
  terminal.write("\n".repeat(100_000)); // 0.1 s; 7 to 50 s where all lines that stay are moved for each
  assert.ok(performance.now() - start < 2000);
  assert.equal(terminal.take().finished, "\n".repeat(MOST_TEXT));
});

test("a terminal tells what is new alone: lines that are finished once, and the last line as it is", () => {
  const shown = new TerminalText();
  shown.write("one\r\ntw");
  assert.deepEqual(shown.take(), { isCleared: false, finished: "one\n", line: "tw" });
  shown.write("o\r\nthree\r");
  assert.deepEqual(shown.take(), { isCleared: false, finished: "two\n", line: "three" });
  assert.deepEqual(shown.take(), { isCleared: false, finished: "", line: "three" });
  shown.write("lost\n\x1b[2J\x1b[Hnew");
  assert.deepEqual(shown.take(), { isCleared: true, finished: "", line: "new" });
});

test("keys send what terminals send; Tab and the browser's own keys send nothing", () => {
  const key = (name, others = {}) =>
    bytesOfKey({ key: name, ctrlKey: false, altKey: false, metaKey: false, ...others });
  assert.equal(key("a"), "a");
  assert.equal(key("Enter"), "\r");
  assert.equal(key("Backspace"), "\x7f");
  assert.equal(key("ArrowUp"), "\x1b[A");
  assert.equal(key("c", { ctrlKey: true }), "\x03");
  for (const [name, others] of [["Tab"], ["F5"], ["Shift"], ["a", { altKey: true }], ["c", { metaKey: true }]]) {
    assert.equal(key(name, others), undefined);
  }
});

test("a disk waits until it is silent for a while, with the time of the next try", () => {
  const waits = new DiskWaits();
  assert.equal(waits.at(0).state, "idle");
  waits.waits({ reason: "slow" }, 0);
  assert.equal(waits.at(1000).state, "waits");
  assert.equal(waits.at(60_000).state, "idle");
  waits.waits(
    { reason: "network", error: { code: "network", message: "no answer" }, attempt: 3, delay: 4000 },
    100_000,
  );
  assert.match(waits.at(104_000).text, /no answer; the next try is in 4 s, after 3 tries/);
  assert.equal(waits.at(107_000).state, "idle");
});

test("a failure without another try is told for good, until the next disk", () => {
  const waits = new DiskWaits();
  const error = { code: "changed", message: "the image was replaced" };
  waits.failed({ error, attempt: 1, delay: undefined }, 0);
  assert.deepEqual(waits.at(1e9), {
    state: "ended",
    text: "The PC waits for its disk for ever: the image was replaced",
  });
  waits.clear();
  assert.equal(waits.at(1e9).state, "idle");
  waits.failed({ error: { code: "network", message: "cut off" }, attempt: 1, delay: 100 }, 0);
  assert.match(waits.at(10).text, /cut off; the next try is in less than a second\./);
});
