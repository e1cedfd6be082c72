"""Workers that share a cache directory, in one process: each has descriptors, threads and a clock of its own.

Locks of open file descriptions conflict between them as between processes.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from aero_storage.disk import Disk
from aero_storage.storage.objects.block_cache.cache import BlockCache
from aero_storage.storage.objects.block_cache.cache_directory import CacheDirectory, claim_directory
from aero_storage.storage.objects.block_cache.cached_object import CachedObject
from aero_storage.storage.objects.block_cache.identity import ObjectIdentity

T = TypeVar("T")
KIB = 1024
BLOCK = 64 * KIB
_MOST_WARMINGS = 100
_TURNS = 10_000


def pattern(length: int, seed: int = 0) -> bytes:
    """Bytes of which no block looks like another."""
    return b"".join((number * 2 + seed).to_bytes(8) for number in range(-(-length // 8)))[:length]


@attrs.define(eq=False)
class Origin:
    """An object in an object store; `during` is called in each fetch, and may raise."""

    data: bytes
    during: Callable[[int], object] = lambda _offset: None
    fetched: list[tuple[int, int]] = attrs.field(factory=list)

    def fetch(self, offset: int, length: int) -> bytes:
        self.fetched.append((offset, length))
        self.during(offset)
        return self.data[offset : offset + length]


@attrs.define(eq=False)
class Threads(Disk):
    """Does what it is asked when `step` says so, in order; cancelled work that has not begun is not done."""

    jobs: deque[tuple[Callable[[], Any], Deferred[Any], bool]] = attrs.field(factory=deque)
    lanes: list[Hashable] = attrs.field(factory=list)

    def run(
        self,
        work: Callable[[], T],
        discard: Callable[[T], object] = lambda _result: None,  # noqa: ARG002 - the interface of Disk
        lane: Hashable = None,
        *,
        background: bool = False,
    ) -> Deferred[T]:
        deferred: Deferred[T] = Deferred()
        self.jobs.append((work, deferred, background))
        self.lanes.append(lane)
        return deferred

    def later(self, work: Callable[[], object], lane: Hashable = None) -> None:
        self.run(work, lane=lane).addErrback(lambda failure: failure.trap(OSError))

    def step(self) -> bool:
        """Do the next job, those in the background last; return whether there was one."""
        job = next((job for job in self.jobs if not job[2]), None) or next(iter(self.jobs), None)
        if job is None:
            return False
        self.jobs.remove(job)
        work, deferred, _ = job
        if not deferred.called:
            try:
                result = work()
            except BaseException:  # noqa: BLE001 - as a thread does
                result = Failure()
            if not deferred.called:
                deferred.callback(result)
        return True


@attrs.define(eq=False)
class Worker:
    """A worker with its cache."""

    directory: CacheDirectory
    cache: BlockCache
    threads: Threads
    clock: Clock

    def open(self, origin: Origin, key: str = "disk.img", tag: str = '"1"') -> CachedObject:
        identity = ObjectIdentity("http://store", "bucket", key, tag)
        return self.cache.open(identity, len(origin.data), origin.fetch)

    def turn(self) -> bool:
        """Do one job, or, if there is none, let a little time go by if something waits for it."""
        if self.threads.step():
            return True
        if self.clock.getDelayedCalls():
            self.clock.advance(0.05)
            return True
        return False

    def settle(self) -> None:
        """Do all jobs that there are and that follow."""
        while self.threads.step():
            pass

    def finish(self, waiting: Deferred[T]) -> T:
        """Turn until a Deferred has fired; return its result, or raise its error."""
        outcome: list[Any] = []
        waiting.addBoth(outcome.append)
        for _ in range(_TURNS):
            if outcome or not self.turn():
                break
        assert outcome, "it waits for ever"
        if isinstance(outcome[0], Failure):
            outcome[0].raiseException()
        return cast("T", outcome[0])

    def warm(self, opened: CachedObject, offset: int, length: int) -> None:
        self.finish(opened.warm(self.threads, offset, length, background=False))

    def sent(self, opened: CachedObject, offset: int = 0, length: int | None = None) -> bytes:
        """What a client gets of a range by `transmit`, as the transport asks for it."""
        left = opened.size - offset if length is None else length
        got, warmings = bytearray(), 0
        with pair_of_sockets() as (ours, peer):
            while left:
                piece = min(left, BLOCK)
                if not opened.is_sendable(offset, piece):
                    warmings += 1
                    assert warmings < _MOST_WARMINGS, f"{piece} bytes at {offset} do not become sendable"
                    self.warm(opened, offset, piece)
                    continue
                count = opened.transmit(ours.fileno(), offset, piece)
                got += drained(peer)
                offset, left = offset + count, left - count
        return bytes(got)

    def read(self, opened: CachedObject, offset: int, length: int) -> bytes:
        """What a client gets of a range through `read_later`."""
        return self.finish(opened.read_later(self.threads, offset, length, background=False))

    def stop(self) -> None:
        self.cache.stop()
        self.settle()


@contextmanager
def pair_of_sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, peer = socket.socketpair()
    with ours, peer:
        ours.setblocking(False)  # noqa: FBT003 - socket's interface
        peer.setblocking(False)  # noqa: FBT003
        yield ours, peer


def drained(peer: socket.socket) -> bytes:
    got = bytearray()
    try:
        while data := peer.recv(1024 * KIB):
            got += data
    except BlockingIOError:
        pass
    return bytes(got)


def roomy_disk(_path: str = "") -> SimpleNamespace:
    """Return the status of an empty file system, however full that of the tests is."""
    return SimpleNamespace(f_frsize=BLOCK, f_blocks=1 << 20, f_bavail=1 << 20)


def worker_of(path: Path, limit: int = 1024 * BLOCK, *, start: bool = True, **given: Any) -> Worker:
    """Make a worker over a directory that is claimed."""
    directory, threads, clock = CacheDirectory(path), Threads(), Clock()
    given = {"statvfs": roomy_disk, **given}
    cache = BlockCache(directory, limit, BLOCK, threads, clock, lambda call: call(), **given)
    worker = Worker(directory, cache, threads, clock)
    if start:
        worker.finish(cache.start())
    return worker


@contextmanager
def daemon(path: Path) -> Iterator[Path]:
    """Claim a directory for a run of a daemon."""
    claim = claim_directory(path)
    try:
        yield path
    finally:
        claim.close()


def begin_new_run(path: Path) -> None:
    """Let the workers that begin from now on be of another run of the daemon."""
    (path / "lock").write_bytes(os.urandom(16))
