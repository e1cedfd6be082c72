"""Faults of the catalog: huge, deep, not UTF-8, cut off, changed while it is read."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from functools import partial

from tests.blackbox.harness import until

from torture.outcome import MIB, Outcome
from torture.trial import IMAGE, Trial, run_trial

_GOOD = json.dumps({"images": [{"id": "disk", "file": "disk", "name": "The last good one", "public": True}]}).encode()
_SHOWN_SECONDS = 20.0


def _bad(rng: random.Random) -> Iterator[bytes]:
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
        yield _GOOD[: rng.randrange(len(_GOOD))]


def catalogs(count: int, seed: str = "catalogs") -> Outcome:
    """Write bad catalogs, in place and piece by piece too: the last good one stays in force for every client."""
    rng = random.Random(seed)
    with run_trial("--require-manifest", manifest=_GOOD) as trial:
        path, before = trial.daemon.root / "manifest.json", trial.footprint()
        with trial.with_live_clients():
            for number, text in zip(range(count), _bad(rng), strict=False):
                failures = _failures(trial)
                with path.open("wb", buffering=0) as file:  # never by rename: it is seen half written
                    for at in range(0, len(text) or 1, max(len(text) // 3, 1)):
                        file.write(text[at : at + max(len(text) // 3, 1)])
                until(partial(_noticed, trial, failures), _SHOWN_SECONDS)
                meta = trial.daemon.ask(f"{IMAGE}/meta")
                trial.check(meta.status == 200 and b"last good" in meta.body, f"bad catalog {number}: meta {meta}")
                trial.check(trial.daemon.ask("/readyz").status == 200, f"bad catalog {number}: not ready")
        path.write_bytes(_GOOD.replace(b"last good", b"mended"))
        until(lambda: b"mended" in trial.daemon.ask(f"{IMAGE}/meta").body)
        after = trial.footprint_after(before)
        trial.check_alive()
    saw = "each was noticed and refused, the last good one stayed in force, a mended one took over"
    tried = f"bad catalogs up to 20 MiB and 100,000 levels, each written in place in pieces (seed {seed})"
    return trial.outcome("catalogs", tried, count, saw, (before, after))


def _failures(trial: Trial) -> float:
    return trial.daemon.metrics().value("aero_storage_catalog_reload_total", result="failure")


def _noticed(trial: Trial, failures: float) -> bool:
    return _failures(trial) > failures
