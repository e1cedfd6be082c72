"""The threads that wait for disks, and how they end: a disk that hangs must not keep the process."""

from __future__ import annotations

import math
from functools import partial
from threading import Thread
from typing import Any

import attrs
from twisted.internet.defer import gatherResults
from twisted.internet.posixbase import PosixReactorBase
from twisted.python.threadpool import ThreadPool

from aero_storage.disk import DiskThreads
from aero_storage.logs.json_log import EventLog

_DISK_THREADS, _DISKS = 8, 4
"""Opens and closes under way at once on one disk, looks at the catalog, or at all images; and for how many disks, or
causes to wait, there are threads."""

_READ_THREADS, _READ_DISKS = 64, 2
"""Reads under way at once on one disk: as many as responses have places by default, so that none waits for the slow
read of another; a thread that waits costs 25 KiB. And for how many disks: one that hangs must not take the last."""

_OPEN_SECONDS, _READ_SECONDS = 20.0, 60.0
"""For how long a disk may not answer: one that was switched off takes up to 15 to turn, one that many read from at
once may take long for each of them."""

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
class DiskPools:
    """Two pools, so that what is short never waits behind a read.

    `disk` is for opens and the like; `patient` has the same pool, for what may take as long as it takes.
    """

    disk: DiskThreads
    patient: DiskThreads
    readers: DiskThreads

    @property
    def _all(self) -> tuple[DiskThreads, ...]:
        return self.disk, self.patient, self.readers

    def start(self) -> None:
        """Have all threads from the start: none has to be had under load."""
        for pool in (self.disk.pool, self.readers.pool):
            pool.start()

    async def rest(self, reactor: PosixReactorBase, log: EventLog) -> None:
        """Wait until all has ended that was begun, for a moment."""
        resting = gatherResults([threads.when_idle() for threads in self._all], consumeErrors=True)
        resting.addTimeout(_PATIENCE_SECONDS, reactor, onTimeoutCancel=lambda _result, _seconds: None)
        await resting
        if waiting := sum(threads.under_way for threads in self._all):
            log.event("warn", "a disk does not answer: ending all the same", {"waiting": waiting})

    def stop(self) -> None:
        """End the threads; those of a pool of which some hang end with the process."""
        if not (self.disk.under_way or self.patient.under_way):
            self.disk.pool.stop()
        if not self.readers.under_way:
            self.readers.pool.stop()


def make_disk_pools(reactor: PosixReactorBase) -> DiskPools:
    """The pools, not yet started."""
    short, reads = _Pool(_DISK_THREADS * _DISKS, "disk"), _Pool(_READ_THREADS * _READ_DISKS, "read")
    return DiskPools(
        DiskThreads(reactor, reactor, short, _DISK_THREADS, _OPEN_SECONDS),
        DiskThreads(reactor, reactor, short, _DISK_THREADS, math.inf),
        DiskThreads(reactor, reactor, reads, _READ_THREADS, _READ_SECONDS),
    )
