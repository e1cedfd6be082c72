"""Faults of files: images that are truncated, replaced, removed or locked while they stream."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from bench.soak_content import PERIOD, Content, differing
from tests.blackbox.harness import until
from tests.blackbox.wire import Wire, head

from torture.outcome import MIB, Outcome
from torture.stage import IMAGE, Stage, stage, write

_SIZE = 24 * MIB
_SHIFT = PERIOD // 2
"""What another version holds at an offset, the first one holds so much further on."""


def files(count: int, seed: str = "files") -> Outcome:
    """Do something to an image in mid-stream, again and again: its own bytes to the end, or a reset, nothing else."""
    chance, ends = random.Random(seed), dict.fromkeys(_DEEDS, (0, 0))
    with stage(size=_SIZE) as scene:
        write(scene.content, scene.daemon.root / "calm")
        until(lambda: scene.daemon.ask("/v1/images/calm", "HEAD").status == 200)
        before = scene.footprint(places=True)
        with scene.watched(1, "/v1/images/calm"):
            for number in range(count):
                name = tuple(_DEEDS)[number % len(_DEEDS)]
                whole = _strike(scene, chance, name)
                ends[name] = (ends[name][0] + whole, ends[name][1] + (not whole))
        _fresh(scene)
        after = scene.settled(before)
        scene.sound()
    saw = "; ".join(f"{name}: {whole} whole, {cut} reset" for name, (whole, cut) in ends.items())
    tried = f"deeds at a random moment of a download (seed {seed})"
    return Outcome("files", tried, count, saw, scene.healthy, before, after, tuple(scene.complaints))


def _strike(scene: Stage, chance: random.Random, name: str) -> bool:
    """Do one deed in mid-stream; whether the body came whole."""
    path = _fresh(scene)
    with scene.daemon.dial(receive_buffer=chance.choice((4096, 65_536, 1 << 20))) as wire:
        wire.send(head("GET", IMAGE))
        start = wire.reply_head()
        assert (start.status, start.length) == (200, _SIZE), start
        got = wire.take(chance.randrange(_SIZE // 2))
        _DEEDS[name](path, scene.content, chance)
        got += wire.take(_SIZE - len(got))
        return _judge(scene, wire, got, name)


def _fresh(scene: Stage) -> Path:
    """Put the image back, and wait until the daemon sees it."""
    fresh = scene.image.with_name(".fresh")
    write(scene.content, fresh)
    fresh.replace(scene.image)
    nanos = scene.image.stat().st_mtime_ns
    tag = f'"{_SIZE:x}-{nanos // 10**9:x}-{nanos % 10**9:x}"'
    until(lambda: scene.daemon.ask(IMAGE, "HEAD").get("ETag") == tag)
    return scene.image


def _judge(scene: Stage, wire: Wire, got: bytes, name: str) -> bool:
    wrong = sum(
        differing(got[at : at + 8 * MIB], scene.content.part(at, min(8 * MIB, len(got) - at)))
        for at in range(0, len(got), 8 * MIB)
    )
    scene.check(not wrong, f"{wrong} of {len(got)} bytes are wrong: {name}")
    whole = len(got) == _SIZE
    scene.check(whole or wire.ending == "reset", f"a clean end after {len(got)} of {_SIZE} bytes: {name}")
    scene.check(whole or name not in _HARMLESS, f"cut after {len(got)} bytes: {name}")
    return whole


def _truncate(path: Path, _content: Content, chance: random.Random) -> None:
    with path.open("r+b") as file:
        file.truncate(chance.choice((0, 1, chance.randrange(_SIZE))))


def _replace(path: Path, content: Content, chance: random.Random) -> None:
    fresh = path.with_name(f".{path.name}")
    with fresh.open("wb") as file:
        for offset in range(0, chance.choice((MIB, _SIZE, 2 * _SIZE)), MIB):
            file.write(content.part(offset + _SHIFT, MIB))
    fresh.replace(path)


def _remove(path: Path, _content: Content, _chance: random.Random) -> None:
    path.unlink()


def _lock(path: Path, _content: Content, _chance: random.Random) -> None:
    path.chmod(0)


_DEEDS: dict[str, Callable[[Path, Content, random.Random], None]] = {
    "truncated": _truncate,
    "replaced by rename": _replace,
    "removed": _remove,
    "chmod 000": _lock,
}
_HARMLESS = {"replaced by rename", "removed", "chmod 000"}
"""What an open file does not notice."""
