"""Faults of processes and their resources: workers killed, descriptors exhausted, no room for the log."""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.blackbox.harness import until
from tests.blackbox.raw_http import RawConnection, head
from tests.blackbox.worker_processes import is_serving, wait_for_replacement, worker_pids

from torture.mounts import fill, small_disk
from torture.outcome import MIB, Outcome
from torture.trial import IMAGE, Trial, run_trial

_FEW = 64
"""The hard limit of descriptors."""
_FEW_BYTES = head("GET", IMAGE, {"Range": "bytes=0-9"})
_ROOM = 256 * 1024
"""Bytes of the file system that the log fills."""


def kills(count: int, seed: str = "kills") -> Outcome:
    """Kill workers in mid-stream: their streams are reset, the others go on, and each is replaced."""
    rng, cut = random.Random(seed), 0
    with run_trial("--workers=2") as trial:
        until(lambda: is_serving(trial.daemon, 1) and is_serving(trial.daemon, 2), 20)
        before = trial.footprint()
        with trial.with_live_clients(forgiving=True) as watch:
            for number in range(count):
                cut += _kill(trial, 1 + number % 2, 2 + number // 2, rng)
        lost = watch.lost
        after = trial.footprint_after(before)
        trial.check_alive()
    whole = f"{cut} streams of theirs were reset, those of the other whole"
    saw = f"{whole}; live clients lost {lost} connections"
    trial.check(cut, "no stream was cut: nothing was tried")
    tried = f"of 2 workers, amid 8 streams (seed {seed})"
    return trial.outcome("kill -9 of a worker", tried, count, saw, (before, after))


def _kill(trial: Trial, number: int, times: int, rng: random.Random) -> int:
    """Kill one worker amid streams, and wait for its successor; how many streams it took with it."""
    with ExitStack() as held:
        conns = [held.enter_context(trial.daemon.dial(receive_buffer=4096)) for _ in range(8)]
        for conn in conns:
            conn.send(head("GET", IMAGE))
            conn.reply_head()
        got = [conn.take(rng.randrange(MIB)) for conn in conns]
        os.kill(worker_pids(trial.daemon)[number], signal.SIGKILL)
        cut = sum(_ended(trial, conn, begun) for conn, begun in zip(conns, got, strict=True))
    wait_for_replacement(trial.daemon, number, times)
    return cut


def _ended(trial: Trial, conn: RawConnection, begun: bytes) -> bool:
    """Read to the end, compare, and tell whether it was cut short, which must be by a reset."""
    got, size = begun + conn.take(trial.content.size - len(begun)), trial.content.size
    wrong = trial.content.wrong_bytes(got)
    trial.check(not wrong, f"{wrong} of {len(got)} bytes are wrong")
    trial.check(len(got) == size or conn.ending == "reset", f"a clean end after {len(got)} of {size} bytes")
    return len(got) < size


def descriptors(count: int) -> Outcome:
    """Open many more connections than there are descriptors: refused, and served again when there are some."""
    with run_trial(prefix=("/bin/sh", "-c", f'ulimit -n {_FEW}; exec "$@"', "sh")) as trial:
        before, statuses = trial.footprint(), list[int | None]()
        for _ in range(-(-count // 200)):
            with ExitStack() as held:
                conns = [held.enter_context(trial.daemon.dial()) for _ in range(200)]
                statuses += [conn.status(_FEW_BYTES) for conn in conns]
            until(lambda: _served(trial))
        with trial.with_live_clients():
            time.sleep(0.2)
        after = trial.footprint_after(before)
        trial.check_alive()
    kinds = {str(kind or "closed"): statuses.count(kind) for kind in set(statuses)}
    trial.check(set(statuses) <= {206, 503, None}, f"statuses {kinds}")
    trial.check(None in statuses, "no connection was refused: nothing was tried")
    saw = ", ".join(f"{kind}: {number}" for kind, number in sorted(kinds.items())) + "; then served again"
    return trial.outcome(
        "descriptor exhaustion", f"connections at ulimit -n {_FEW}", len(statuses), saw, (before, after)
    )


def _served(trial: Trial) -> bool:
    with trial.daemon.dial() as conn:
        return conn.status(_FEW_BYTES) == 206


def full_disk(count: int) -> Outcome:
    """Fill the file system of the log: requests are answered as ever, and the log goes on when there is room."""
    fault, tried = "full disk under the log", f"requests, with a log on a file system of {_ROOM // 1024} KiB"
    with tempfile.TemporaryDirectory(prefix="aero-torture-") as name, small_disk(Path(name), _ROOM) as mounted:
        if not mounted:
            return Outcome(fault, tried, skipped="mounting a tmpfs needs root")
        return _fill(Path(name), fault, tried, count)


def _fill(home: Path, fault: str, tried: str, count: int) -> Outcome:
    with run_trial(home=home, size=64 * 1024) as trial:
        before = trial.footprint()
        ballast = home / "ballast"
        with trial.with_live_clients():
            fill(ballast)
            for _ in range(count):
                trial.check(trial.daemon.ask("/healthz").status == 200, "/healthz is not 200 on a full disk")
        size = trial.daemon.log_size()
        ballast.unlink()
        until(lambda: trial.daemon.ask("/healthz").status == 200 and trial.daemon.log_size() > size, 10)
        after = trial.footprint_after(before)
        trial.check_alive()
    saw = "answered as ever; the log went on when there was room again"
    return trial.outcome(fault, tried, count, saw, (before, after))
