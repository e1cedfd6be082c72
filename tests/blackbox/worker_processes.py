"""A daemon with several workers, seen from outside: which processes it has, and what they say."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tests.blackbox.harness import running, until
from tests.blackbox.image_roots import small_root

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from tests.blackbox.harness import Daemon

START_SECONDS = 15.0
"""Seconds within which a worker has started, on a machine that does other things too."""


def children_of(pid: int) -> list[int]:
    """Return the child processes of a process, those that have ended but were not noticed yet included."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    """Whether there is such a process, and it has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except (FileNotFoundError, ProcessLookupError):
        return False


def worker_pids(daemon: Daemon) -> dict[int, int]:
    """Return the process of each worker that has been started last, by the worker's number."""
    return {line["child"]: line["pid"] for line in daemon.lines() if line["message"] == "worker started"}


def is_serving(daemon: Daemon, number: int, times: int = 1) -> bool:
    """Whether a worker has begun to listen so many times."""
    said = [line for line in daemon.lines() if line["message"] == "listening" and line.get("worker") == number]
    return len(said) >= times


def wait_for_replacement(daemon: Daemon, number: int, times: int) -> None:
    """Wait until a worker serves again; `times` counts its starts so far, the first one included."""
    until(lambda: is_serving(daemon, number, times), START_SECONDS)


def two_workers(
    home: Path, *flags: str, addresses: int = 1, prefix: tuple[str, ...] = ()
) -> AbstractContextManager[Daemon]:
    """Run a daemon of two workers for the length of a with block; when it begins both serve at all addresses."""
    return several_workers(2, home, *flags, addresses=addresses, prefix=prefix)


@contextmanager
def several_workers(
    count: int, home: Path, *flags: str, addresses: int = 1, prefix: tuple[str, ...] = ()
) -> Iterator[Daemon]:
    """Run a daemon of `count` workers for the length of a with block; when it begins all serve at all addresses."""
    if not (home / "images").exists():
        small_root(home / "images")
    with running(home, f"--workers={count}", *flags, prefix=prefix) as daemon:
        for number in range(1, count + 1):
            until(partial(is_serving, daemon, number, addresses), START_SECONDS)
        try:
            yield daemon
        finally:
            for pid in worker_pids(daemon).values():
                if alive(pid):
                    os.kill(pid, signal.SIGCONT)  # a test may have left it stopped
