"""Thread pools for disk I/O, and their shutdown: a disk that hangs must not keep the process alive."""

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
"""Opens, closes and checks of the catalog and of the images that run at once on one disk; and the number of disks
that there are threads for."""

_READ_THREADS, _READ_DISKS = 64, 2
"""Reads that run at once on one disk: the default limit of responses, so that none waits for the slow read of
another; a waiting thread costs 25 KiB. And the number of disks: one that hangs must not take the last thread."""

_OPEN_SECONDS, _READ_SECONDS = 20.0, 60.0
"""Timeouts of opens and reads: a disk in standby takes up to 15 seconds to spin up, and many reads at once slow each
other down."""

_SHUTDOWN_SECONDS = 2.0
"""Time that shutdown waits for disks."""

_ORIGIN_THREADS, _ORIGIN_LANES = 48, 4
"""Calls of one kind that wait for an origin at once: looks, reads, listings; and work on the disk of its cache. No
kind can take the last thread of another, and local disks have threads of their own."""


class _LIFO(list[Any]):
    """A LIFO free list: reuse the thread that became idle last."""

    add = list[Any].append


class _Pool(ThreadPool):
    """Daemon threads, of which as few as possible are used.

    Twisted keeps idle threads in a set, whose `pop` goes round: every thread would be used, and the C library keeps
    an arena of memory for each.
    """

    threadFactory = staticmethod(partial(Thread, daemon=True))  # type: ignore[assignment]

    def __init__(self, number: int, name: str, *, at_start: int | None = None) -> None:
        super().__init__(number if at_start is None else at_start, number, name)
        self._team._idle = _LIFO()  # type: ignore[assignment]  # noqa: SLF001 - there is no other way


@attrs.frozen
class DiskPools:
    """Two pools, so that short work never waits behind a read.

    `disk` is for opens and other short work; `patient` uses the same pool without a timeout.
    """

    disk: DiskThreads
    patient: DiskThreads
    readers: DiskThreads
    origin: DiskThreads | None = None
    """For an images root in a bucket."""

    @property
    def _all(self) -> tuple[DiskThreads, ...]:
        return (self.disk, self.patient, self.readers, *(() if self.origin is None else (self.origin,)))

    def start(self) -> None:
        """Start all threads now, so that none has to be created under load."""
        for pool in (self.disk.pool, self.readers.pool):
            pool.start()
        if self.origin is not None:
            self.origin.pool.start()

    async def wait_until_idle(self, reactor: PosixReactorBase, log: EventLog) -> None:
        """Wait until all work has ended, at most _SHUTDOWN_SECONDS; log how much has not."""
        end = reactor.seconds() + _SHUTDOWN_SECONDS
        # Work that ends may bring more: a read that was given up closes its file.
        while any(threads.under_way for threads in self._all) and (left := end - reactor.seconds()) > 0:
            idle = gatherResults([threads.when_idle() for threads in self._all], consumeErrors=True)
            idle.addTimeout(left, reactor, onTimeoutCancel=lambda _result, _seconds: None)
            await idle
        if waiting := sum(threads.under_way for threads in self._all):
            silent = "a disk" if self.origin is None else "a disk or the object store"
            log.event("warn", f"{silent} does not answer: ending all the same", {"waiting": waiting})

    def stop(self) -> None:
        """Stop the pools; a pool with blocked threads ends with the process."""
        if not (self.disk.under_way or self.patient.under_way):
            self.disk.pool.stop()
        for threads in (self.readers, self.origin):
            if threads is not None and not threads.under_way:
                threads.pool.stop()


def make_disk_pools(reactor: PosixReactorBase, *, for_origin: bool = False) -> DiskPools:
    """Return the pools, not yet started; for an images root in a bucket, `for_origin`, one more."""
    opens, reads = _Pool(_DISK_THREADS * _DISKS, "disk"), _Pool(_READ_THREADS * _READ_DISKS, "read")
    return DiskPools(
        DiskThreads(reactor, reactor, opens, _DISK_THREADS, _OPEN_SECONDS),
        DiskThreads(reactor, reactor, opens, _DISK_THREADS, math.inf),
        DiskThreads(reactor, reactor, reads, _READ_THREADS, _READ_SECONDS),
        _origin_threads(reactor) if for_origin else None,
    )


def make_certificate_threads(reactor: PosixReactorBase) -> DiskThreads:
    """Return a thread for the parent of workers, in which it reads certificates; its pool is not yet started."""
    return DiskThreads(reactor, reactor, _Pool(1, "certificate", at_start=0), 1, _OPEN_SECONDS)


def _origin_threads(reactor: PosixReactorBase) -> DiskThreads:
    pool = _Pool(_ORIGIN_THREADS * _ORIGIN_LANES, "origin", at_start=0)  # most daemons never need them all
    return DiskThreads(reactor, reactor, pool, _ORIGIN_THREADS, math.inf)
