"""Faults of the machine below: workers killed, descriptors exhausted, no room for the log."""

from __future__ import annotations

import ctypes
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.blackbox.crew import pids, replaced, serving
from tests.blackbox.harness import until
from tests.blackbox.wire import NoReplyError, Wire, head

from torture.outcome import MIB, Footprint, Outcome
from torture.stage import IMAGE, Stage, stage

_FEW = 64
"""The hard limit of descriptors."""
_ROOM = 256 * 1024
"""Bytes of the file system that the log fills."""


def kills(count: int, seed: str = "kills") -> Outcome:
    """Kill workers in mid-stream: their streams are reset, the others go on, and each is replaced."""
    chance, cut = random.Random(seed), 0
    with stage("--workers=2") as scene:
        until(lambda: serving(scene.daemon, 1) and serving(scene.daemon, 2), 20)
        before = scene.footprint()
        with scene.watched(forgiving=True) as watch:
            for number in range(count):
                cut += _kill(scene, 1 + number % 2, 2 + number // 2, chance)
        lost = watch.lost
        after = scene.settled(before)
        scene.sound()
    whole = f"{cut} streams of theirs were reset, those of the other whole"
    saw = f"{whole}; live clients lost {lost} connections"
    scene.check(cut, "no stream was cut: nothing was tried")
    tried = f"of 2 workers, amid 8 streams (seed {seed})"
    return _outcome(scene, "kill -9 of a worker", tried, count, saw, before, after)


def _kill(scene: Stage, number: int, times: int, chance: random.Random) -> int:
    """Kill one worker amid streams, and wait for its successor; how many streams it took with it."""
    with ExitStack() as held:
        wires = [held.enter_context(scene.daemon.dial(receive_buffer=4096)) for _ in range(8)]
        for wire in wires:
            wire.send(head("GET", IMAGE))
            wire.reply_head()
        got = [wire.take(chance.randrange(MIB)) for wire in wires]
        os.kill(pids(scene.daemon)[number], signal.SIGKILL)
        cut = sum(_ended(scene, wire, begun) for wire, begun in zip(wires, got, strict=True))
    replaced(scene.daemon, number, times)
    return cut


def _ended(scene: Stage, wire: Wire, begun: bytes) -> bool:
    """Read to the end, compare, and tell whether it was cut short, which must be by a reset."""
    got, size = begun + wire.take(scene.content.size - len(begun)), scene.content.size
    for at in range(0, len(got), 8 * MIB):
        part = got[at : at + 8 * MIB]
        scene.check(part == scene.content.part(at, len(part)), f"wrong bytes near {at}")
    scene.check(len(got) == size or wire.ending == "reset", f"a clean end after {len(got)} of {size} bytes")
    return len(got) < size


def descriptors(count: int) -> Outcome:
    """Open many more connections than there are descriptors: refused, and served again when there are some."""
    with stage(prefix=("/bin/sh", "-c", f'ulimit -n {_FEW}; exec "$@"', "sh")) as scene:
        before, statuses = scene.footprint(), list[int | None]()
        for _ in range(-(-count // 200)):
            with ExitStack() as held:
                wires = [held.enter_context(scene.daemon.dial()) for _ in range(200)]
                statuses += [_status(wire) for wire in wires]
            until(lambda: _served(scene))
        with scene.watched():
            time.sleep(0.2)
        after = scene.settled(before)
        scene.sound()
    kinds = {str(kind or "closed"): statuses.count(kind) for kind in set(statuses)}
    scene.check(set(statuses) <= {206, 503, None}, f"statuses {kinds}")
    scene.check(None in statuses, "no connection was refused: nothing was tried")
    saw = ", ".join(f"{kind}: {number}" for kind, number in sorted(kinds.items())) + "; then served again"
    return _outcome(
        scene, "descriptor exhaustion", f"connections at ulimit -n {_FEW}", len(statuses), saw, before, after
    )


def _served(scene: Stage) -> bool:
    with scene.daemon.dial() as wire:
        return _status(wire) == 206


def _status(wire: Wire) -> int | None:
    wire.send(head("GET", IMAGE, {"Range": "bytes=0-9"}))
    try:
        return wire.reply().status
    except NoReplyError:
        return None


def full_disk(count: int) -> Outcome:
    """Fill the file system of the log: requests are answered as ever, and the log goes on when there is room."""
    fault, tried = "full disk under the log", f"requests, with a log on a file system of {_ROOM // 1024} KiB"
    with tempfile.TemporaryDirectory(prefix="aero-torture-") as name, small_disk(Path(name)) as mounted:
        if not mounted:
            return Outcome(fault, tried, skipped="mounting a tmpfs needs root")
        return _fill(Path(name), fault, tried, count)


def _fill(home: Path, fault: str, tried: str, count: int) -> Outcome:
    with stage(home=home, size=64 * 1024) as scene:
        before = scene.footprint()
        ballast = home / "ballast"
        with scene.watched(), ballast.open("wb") as file:
            _write_all(file.fileno())
            for _ in range(count):
                scene.check(scene.daemon.ask("/healthz").status == 200, "/healthz is not 200 on a full disk")
        size = scene.daemon.log_size()
        ballast.unlink()
        until(lambda: scene.daemon.ask("/healthz").status == 200 and scene.daemon.log_size() > size, 10)
        after = scene.settled(before)
        scene.sound()
    saw = "answered as ever; the log went on when there was room again"
    return _outcome(scene, fault, tried, count, saw, before, after)


def _write_all(descriptor: int) -> None:
    """Write until there is no room."""
    try:
        while True:
            os.write(descriptor, bytes(4096))
    except OSError:
        return


@contextmanager
def small_disk(place: Path) -> Iterator[bool]:
    """Mount a small tmpfs for the length of a with block; False where that is not allowed."""
    libc = ctypes.CDLL(None, use_errno=True)
    allowed = libc.mount(b"tmpfs", os.fsencode(place), b"tmpfs", 0, f"size={_ROOM}".encode("ascii")) == 0
    try:
        yield allowed
    finally:
        if allowed:
            shutil.rmtree(place / "images", ignore_errors=True)
            libc.umount2(os.fsencode(place), 2)


def _outcome(
    scene: Stage, fault: str, tried: str, count: int, saw: str, before: Footprint, after: Footprint
) -> Outcome:
    return Outcome(fault, tried, count, saw, scene.healthy, before, after, tuple(scene.complaints))
