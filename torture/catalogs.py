"""Faults of the catalog: huge, deep, not UTF-8, cut off, changed while it is read."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from functools import partial

from tests.blackbox.harness import until

from torture.outcome import MIB, Outcome
from torture.stage import IMAGE, Stage, stage

_GOOD = json.dumps({"images": [{"id": "disk", "file": "disk", "name": "The last good one", "public": True}]}).encode()
_SHOWN_SECONDS = 20.0


def _bad(chance: random.Random) -> Iterator[bytes]:
    yield b""
    yield b"\xff\xfe" + _GOOD.decode("ascii").encode("utf-16-le")
    yield b"\xef\xbb\xbf" + _GOOD[:-1]
    yield _GOOD.replace(b"The last", b"The \xff\xc0")
    yield b"[" * 100_000
    yield b"[" * 100_000 + b"]" * 100_000
    yield b'{"images":' * 50_000 + b"[]" + b"}" * 50_000
    yield b'{"images":[' + b"9" * 100_000 + b"]}"
    yield b'{"images":[{"id":"disk","file":"disk","name":"' + b"n" * (20 * MIB)
    yield json.dumps({"images": [{"id": f"i{one}", "file": "/etc/passwd"} for one in range(50_000)]}).encode()
    yield b'{"images":[{"id":"disk","id":"disk","file":"../../etc/passwd","name":"x"}]}'
    yield b'{"images":[NaN, Infinity, 1e999, "\\ud800"]}'
    yield b"\x00" * MIB
    while True:
        yield _GOOD[: chance.randrange(len(_GOOD))]


def catalogs(count: int, seed: str = "catalogs") -> Outcome:
    """Write bad catalogs, in place and piece by piece too: the last good one stays in force for every client."""
    chance = random.Random(seed)
    with stage("--require-manifest", manifest=_GOOD) as scene:
        path, before = scene.daemon.root / "manifest.json", scene.footprint()
        with scene.watched():
            for number, text in zip(range(count), _bad(chance), strict=False):
                failures = _failures(scene)
                with path.open("wb", buffering=0) as file:  # never by rename: it is seen half written
                    for at in range(0, len(text) or 1, max(len(text) // 3, 1)):
                        file.write(text[at : at + max(len(text) // 3, 1)])
                until(partial(_noticed, scene, failures), _SHOWN_SECONDS)
                meta = scene.daemon.ask(f"{IMAGE}/meta")
                scene.check(meta.status == 200 and b"last good" in meta.body, f"bad catalog {number}: meta {meta}")
                scene.check(scene.daemon.ask("/readyz").status == 200, f"bad catalog {number}: not ready")
        path.write_bytes(_GOOD.replace(b"last good", b"mended"))
        until(lambda: b"mended" in scene.daemon.ask(f"{IMAGE}/meta").body)
        after = scene.settled(before)
        scene.sound()
    saw = "each was noticed and refused, the last good one stayed in force, a mended one took over"
    tried = f"bad catalogs up to 20 MiB and 100,000 levels, each written in place in pieces (seed {seed})"
    return Outcome("catalogs", tried, count, saw, scene.healthy, before, after, tuple(scene.complaints))


def _failures(scene: Stage) -> float:
    return scene.daemon.metrics().value("aero_storage_catalog_reload_total", result="failure")


def _noticed(scene: Stage, failures: float) -> bool:
    return _failures(scene) > failures
