"""Reads of an image of noise in the browser, over a link without a limit on its rate: beside v86's XHRs, and curl."""

from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path

import attrs
from tools.emulator.devtools import browser

from bench.boot.results import Reading
from bench.boot.servers import NOISE, NOISE_BYTES

KIB, MIB = 1 << 10, 1 << 20
AT_RANDOM, IN_A_ROW = "64 KiB at random, 8 at a time", "1 MiB in a row"
XHR, CLIENT, CURL = "v86's XHRs", "aero-disk", "curl, the whole image"
SECONDS = 120.0
_READERS = {
    XHR: "reads.xhrReader(url)",
    CLIENT: "((disk) => (...part) => disk.read(...part))(await aero.AeroDisk.open(url, { profile: false }))",
}


@attrs.frozen
class Reader:
    """Where the page and the image are."""

    chromium: str
    origin: str
    base: str
    """The images' address, up to the id."""
    place: Path

    def measure(self, work: str, who: str, seed: int) -> Reading:
        """One run in a browser with an empty cache."""
        with tempfile.TemporaryDirectory(dir=self.place) as profile, browser(self.chromium, Path(profile)) as running:
            tab = running.new_tab()
            tab.open(f"{self.origin}/page/index.html")
            tab.evaluate(f"globalThis.url = {json.dumps(self.base + NOISE)}")
            tab.evaluate("globalThis.reads = await import('/page/reads.js')")
            tab.evaluate(f"globalThis.read = {_READERS[who]}")
            offsets, length, width = parts(work, seed)
            call = f"await reads.timeReads(read, {json.dumps(offsets)}, {length}, {width})"
            seconds = float(tab.evaluate(call, SECONDS))
        return Reading(work, who, len(offsets) * length / MIB / seconds)


def parts(work: str, seed: int) -> tuple[list[int], int, int]:
    """Offsets, length, and how many at a time."""
    if work == IN_A_ROW:
        return list(range(0, NOISE_BYTES, MIB)), MIB, 1
    length = 64 * KIB
    places = random.Random(seed).sample(range(NOISE_BYTES // length), 128)
    return [place * length for place in places], length, 8
