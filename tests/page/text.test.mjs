// Text and figures as the page shows them.

import assert from "node:assert/strict";
import { test } from "node:test";

import { byteSize, counted, dateTime, exactBytes, shown } from "../../browser/page/text.js";

test("control characters and what turns the direction of text are replaced", () => {
  for (const code of [0, 7, 27, 0x7f, 0x85, 0x202a, 0x202e, 0x2066, 0x2069, 0xfeff]) {
    const found = shown(`a${String.fromCodePoint(code)}b`);
    assert.match(found, /^a[\u{FFFD} ]b$/u, code.toString(16));
  }
});

test("text of any script, emoji of several parts among them, stays as it is", () => {
  for (const text of ["Ünïcode", "مرحبا", "שלום", "日本語", "👩‍💻 🏳️‍🌈", "e\u0301", "नमस्ते"])
    assert.equal(shown(text), text);
});

test("a text is one line without space at its ends", () => {
  assert.equal(shown("  a\n\r\n\tb\u2028c  "), "a b c");
});

test("marks are not stacked higher than a line", () => {
  assert.equal(shown(`Z${"\u0301".repeat(50)}x`), "Z\u0301\u0301x");
  assert.equal(shown(`Z${"\u0301\u200d".repeat(50)}x`), "Z\u0301\u200d\u0301\u200dx");
});

test("a text of which nothing is seen is none", () => {
  for (const text of ["\u200b\u3164", "\u00ad", "\u2800\u2800", "\u2060 \u00a0", "\u{e0041}", "\u0301", "\u115f"])
    assert.equal(shown(text), "", JSON.stringify(text));
  assert.equal(shown("a\u200b"), "a\u200b");
});

test("a long text is cut between characters, not in one", () => {
  assert.equal(shown("x".repeat(300), 10), `${"x".repeat(9)}…`);
  assert.equal(shown("😀".repeat(11), 10), `${"😀".repeat(9)}…`);
  assert.equal(shown("😀".repeat(10), 10), "😀".repeat(10));
});

test("what is no text is none", () => {
  assert.deepEqual([shown(undefined), shown(null), shown(7)], ["", "", "7"]);
});

test("sizes have a unit and few digits", () => {
  const sizes = [0, 1, 1023, 1024, 1536, 5 << 20, 2 ** 30 * 9.5, 2 ** 41, 2 ** 53 - 1];
  assert.deepEqual(sizes.map(byteSize), [
    "0 bytes",
    "1 byte",
    "1023 bytes",
    "1 KiB",
    "1.5 KiB",
    "5 MiB",
    "9.5 GiB",
    "2 TiB",
    "8 PiB",
  ]);
  assert.equal(byteSize(1048575), "1 MiB");
  assert.deepEqual([byteSize(NaN), byteSize(-1), byteSize(Infinity)], ["unknown", "unknown", "unknown"]);
  assert.equal(exactBytes(1610612736), "1,610,612,736 bytes");
});

test("what is counted has its number", () => {
  assert.deepEqual(
    [counted(0, "image"), counted(1, "image"), counted(10000, "image")],
    ["0 images", "1 image", "10,000 images"],
  );
});

test("a date that is none, or the start of the epoch, is unknown", () => {
  assert.deepEqual([undefined, "", "yesterday", "1970-01-01T00:00:00Z"].map(dateTime), Array(4).fill("unknown"));
  assert.match(dateTime("2026-11-28T12:00:00Z"), /2026/);
});
