"""Faults of files: images that are truncated, replaced, removed or locked while they stream."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from tests.blackbox.harness import until
from tests.blackbox.raw_http import RawConnection, head

from torture.image_content import PERIOD, Content
from torture.outcome import MIB, Outcome
from torture.trial import IMAGE, Trial, run_trial

_SIZE = 24 * MIB
_SHIFT = PERIOD // 2
"""What another version holds at an offset, the first one holds so much further on."""


def files(count: int, seed: str = "files") -> Outcome:
    """Do something to an image in mid-stream, again and again: its own bytes to the end, or a reset, nothing else."""
    rng, ends = random.Random(seed), dict.fromkeys(_CHANGES, (0, 0))
    with run_trial(size=_SIZE) as trial:
        trial.content.write(trial.daemon.root / "untouched")
        until(lambda: trial.daemon.ask("/v1/images/untouched", "HEAD").status == 200)
        before = trial.footprint(places=True)
        with trial.with_live_clients(1, "/v1/images/untouched"):
            for number in range(count):
                name = tuple(_CHANGES)[number % len(_CHANGES)]
                whole = _change_in_mid_stream(trial, rng, name)
                ends[name] = (ends[name][0] + whole, ends[name][1] + (not whole))
        _fresh(trial)
        after = trial.footprint_after(before)
        trial.check_alive()
    saw = "; ".join(f"{name}: {whole} whole, {cut} reset" for name, (whole, cut) in ends.items())
    tried = f"deeds at a random moment of a download (seed {seed})"
    return trial.outcome("files", tried, count, saw, (before, after))


def _change_in_mid_stream(trial: Trial, rng: random.Random, name: str) -> bool:
    """Do one deed in mid-stream; whether the body came whole."""
    path = _fresh(trial)
    with trial.daemon.dial(receive_buffer=rng.choice((4096, 65_536, 1 << 20))) as conn:
        conn.send(head("GET", IMAGE))
        start = conn.reply_head()
        assert (start.status, start.length) == (200, _SIZE), start
        got = conn.take(rng.randrange(_SIZE // 2))
        _CHANGES[name](path, trial.content, rng)
        got += conn.take(_SIZE - len(got))
        return _check_body(trial, conn, got, name)


def _fresh(trial: Trial) -> Path:
    """Put the image back, and wait until the daemon sees it."""
    fresh = trial.image.with_name(".fresh")
    trial.content.write(fresh)
    fresh.replace(trial.image)
    nanos = trial.image.stat().st_mtime_ns
    tag = f'"{_SIZE:x}-{nanos // 10**9:x}-{nanos % 10**9:x}"'
    until(lambda: trial.daemon.ask(IMAGE, "HEAD").get("ETag") == tag)
    return trial.image


def _check_body(trial: Trial, conn: RawConnection, got: bytes, name: str) -> bool:
    wrong = trial.content.wrong_bytes(got)
    trial.check(not wrong, f"{wrong} of {len(got)} bytes are wrong: {name}")
    whole = len(got) == _SIZE
    trial.check(whole or conn.ending == "reset", f"a clean end after {len(got)} of {_SIZE} bytes: {name}")
    trial.check(whole or name not in _HARMLESS, f"cut after {len(got)} bytes: {name}")
    return whole


def _truncate(path: Path, _content: Content, rng: random.Random) -> None:
    with path.open("r+b") as file:
        file.truncate(rng.choice((0, 1, rng.randrange(_SIZE))))


def _replace(path: Path, content: Content, rng: random.Random) -> None:
    fresh = path.with_name(f".{path.name}")
    with fresh.open("wb") as file:
        for offset in range(0, rng.choice((MIB, _SIZE, 2 * _SIZE)), MIB):
            file.write(content.part(offset + _SHIFT, MIB))
    fresh.replace(path)


def _remove(path: Path, _content: Content, _chance: random.Random) -> None:
    path.unlink()


def _lock(path: Path, _content: Content, _chance: random.Random) -> None:
    path.chmod(0)


_CHANGES: dict[str, Callable[[Path, Content, random.Random], None]] = {
    "truncated": _truncate,
    "replaced by rename": _replace,
    "removed": _remove,
    "chmod 000": _lock,
}
_HARMLESS = {"replaced by rename", "removed", "chmod 000"}
"""What an open file does not notice."""
