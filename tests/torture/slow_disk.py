"""Faults of a disk: reads that take their time, and reads that fail."""

from __future__ import annotations

import json
import random
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.bench.soak_content import differing
from tests.blackbox.harness import until
from tests.blackbox.wire import NoReplyError, head
from tests.torture import fuse
from tests.torture.outcome import MIB, Outcome
from tests.torture.stage import Stage, stage

_SLOW = "/v1/images/slow"
_DELAY = 1.0
"""Seconds that every read of the slow disk takes."""
_HOT_SECONDS = 0.25
"""What the p99 of hot requests may be meanwhile, on a machine that does other things too."""
_AT_ONCE = 8
_IMAGES = [{"id": name, "file": file, "name": name} for name, file in (("disk", "disk"), ("slow", "cold/disk"))]


def slow_disk(count: int) -> Outcome:
    """Delay and fail reads of one image: hot requests for another are not delayed, nobody gets a wrong byte."""
    fault = "slow and failing disk"
    tried = f"reads that take {_DELAY:g} s and as many that fail in mid-stream, on a FUSE file system"
    if reason := fuse.missing():
        return Outcome(fault, tried, skipped=reason)
    with tempfile.TemporaryDirectory(prefix="aero-torture-") as name:
        cold = Path(name) / "images" / "cold"
        cold.mkdir(parents=True)
        with stage("--require-manifest", home=Path(name), manifest=json.dumps({"images": _IMAGES}).encode()) as scene:
            with fuse.mounted(cold, scene.content) as disk:
                until(lambda: scene.daemon.ask(_SLOW, "HEAD").status == 200)
                before = scene.footprint()
                slow = _wait(scene, disk, count)
                after, cut = scene.settled(before), sum(_fail(scene, disk, one) for one in range(count))
                scene.check(cut, "no download was cut: nothing was tried")
                until(lambda: _ask(scene, 0, 10))
            scene.sound()
    hot = scene.healthy
    scene.check(hot and hot.p99 < _HOT_SECONDS, f"p99 of hot requests is {hot.p99 if hot else 0:.3f} s")
    saw = f"{slow} slow ones whole, {cut} failed ones reset or refused, then served again; {disk.reads} reads"
    return Outcome(fault, tried, 2 * count, saw, hot, before, after, tuple(scene.complaints))


def _wait(scene: Stage, disk: fuse.SlowDisk, count: int) -> int:
    """Ask for parts of the slow image that nobody asked for before, next to hot requests; how many came whole."""
    step = scene.content.size // (count + 1)
    disk.delay = _DELAY
    with scene.watched(), ThreadPoolExecutor(_AT_ONCE) as pool:
        whole = sum(pool.map(lambda number: _ask(scene, (number + 1) * step, 4096), range(count)))
    disk.delay = 0.0
    scene.check(whole == count, f"{count - whole} of {count} slow requests did not come whole")
    return whole


def _ask(scene: Stage, offset: int, length: int) -> bool:
    reply = scene.daemon.ask(_SLOW, fields={"Range": f"bytes={offset}-{offset + length - 1}"})
    wrong = differing(reply.body, scene.content.part(offset, len(reply.body)))
    scene.check(reply.status == 500 or not wrong, f"{wrong} wrong bytes at {offset} of the slow image")
    return reply.status == 206 and reply.ending == "whole"


def _fail(scene: Stage, disk: fuse.SlowDisk, number: int) -> bool:
    """Let the disk fail in the middle of a download; whether it was cut. Its bytes must be right up to there."""
    with scene.daemon.dial(receive_buffer=4096) as wire:
        wire.send(head("GET", _SLOW))
        try:
            start = wire.reply_head()
        except NoReplyError:
            return True
        got = wire.take(random.Random(number).randrange(MIB))
        disk.fails = True
        try:
            got += wire.take(scene.content.size - len(got))
        finally:
            disk.fails = False
    for at in range(0, len(got), 8 * MIB):
        part = got[at : at + 8 * MIB]
        scene.check(part == scene.content.part(at, len(part)), f"wrong bytes near {at} before a failed read")
    whole = len(got) == start.length
    scene.check(whole or wire.ending == "reset", f"a clean end after {len(got)} of {start.length} bytes")
    return not whole
