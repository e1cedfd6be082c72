"""The threads that wait for disks, and how they end: a disk that hangs must not keep the process."""

from __future__ import annotations

from functools import partial
from threading import Thread
from typing import Any

import attrs
from twisted.internet.defer import gatherResults
from twisted.internet.posixbase import PosixReactorBase
from twisted.python.threadpool import ThreadPool

from aero_storage.disk import DiskThreads
from aero_storage.logs import EventLog

_DISK_THREADS, _DISKS = 8, 4
"""Opens and closes under way at once on one disk, looks at the catalog, or at all images; and for how many disks, or
causes to wait, there are threads."""

_READ_THREADS, _READ_DISKS = 64, 2
"""Reads under way at once on one disk: as many as responses have places by default, so that none waits for the slow
read of another; a thread that waits costs 25 KiB. And for how many disks: one that hangs must not take the last."""

_PATIENCE_SECONDS = 2.0
"""How long a disk may take to answer when all else has ended."""


class _LastFirst(list[Any]):
    """What is taken from it last came last."""

    add = list[Any].append


class _Pool(ThreadPool):
    """Threads that the process may leave behind, of which as few as possible have anything to do.

    Twisted keeps idle ones in a set, whose `pop` goes round: each would get its turn, and with it memory of its own
    that the C library keeps for it.
    """

    threadFactory = staticmethod(partial(Thread, daemon=True))  # type: ignore[assignment]

    def __init__(self, number: int, name: str) -> None:
        super().__init__(number, number, name)
        self._team._idle = _LastFirst()  # type: ignore[assignment]  # noqa: SLF001 - there is no other way


@attrs.frozen
class Threads:
    """Two pools, so that what is short never waits behind a read."""

    disk: DiskThreads
    readers: DiskThreads

    def start(self) -> None:
        """Have all threads from the start: none has to be had under load."""
        for threads in (self.disk, self.readers):
            threads.pool.start()

    async def rest(self, reactor: PosixReactorBase, log: EventLog) -> None:
        """Wait until all has ended that was begun, for a moment."""
        resting = gatherResults([self.disk.when_idle(), self.readers.when_idle()], consumeErrors=True)
        resting.addTimeout(_PATIENCE_SECONDS, reactor, onTimeoutCancel=lambda _result, _seconds: None)
        await resting
        if waiting := self.disk.under_way + self.readers.under_way:
            log.event("warn", "a disk does not answer: ending all the same", {"waiting": waiting})

    def stop(self) -> None:
        """End the threads; those of a pool of which some hang end with the process."""
        for threads in (self.disk, self.readers):
            if not threads.under_way:
                threads.pool.stop()


def make_threads(reactor: PosixReactorBase) -> Threads:
    """The pools, not yet started."""
    return Threads(
        _pool(reactor, _DISK_THREADS, _DISKS, "disk"),
        _pool(reactor, _READ_THREADS, _READ_DISKS, "read"),
    )


def _pool(reactor: PosixReactorBase, width: int, lanes: int, name: str) -> DiskThreads:
    return DiskThreads(reactor, reactor, _Pool(width * lanes, name), width)
