"""Whatever happens to a cache that several workers share: never a wrong byte."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.storage.objects.block_cache.workers import (
    BLOCK,
    Origin,
    Worker,
    drained,
    pair_of_sockets,
    pattern,
    worker_of,
)
from twisted.internet.defer import CancelledError, Deferred

from aero_storage.linux.hole_punching import punch_hole
from aero_storage.storage.objects.block_cache.cache_directory import DirectoryClaim, claim_directory
from aero_storage.storage.objects.block_cache.cached_object import CachedObject

SIZES = (3 * BLOCK, 2 * BLOCK + 777, 7 * BLOCK + 4096, 100)
LIMIT = 6 * BLOCK
MARGIN = 2 * BLOCK
"""A block for each worker beyond the limit, for a moment; and the directories."""

OBJECTS = st.integers(0, len(SIZES) - 1)
WORKERS = st.integers(0, 2)
SHARES = st.floats(0, 1, exclude_max=True)


def _accept(failure: Any) -> None:
    failure.trap(CancelledError, ConnectionError)


class CacheMachine(RuleBasedStateMachine):
    """Three workers over one directory, which fetch, evict, are damaged and start anew."""

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp(prefix="cache-"))
        self.origins = [Origin(pattern(size, seed)) for seed, size in enumerate(SIZES)]
        self.claim: DirectoryClaim | None = None
        self.workers: list[Worker] = []
        self.opened: dict[tuple[int, int], CachedObject] = {}
        self.waiting: list[Deferred[None]] = []
        self.failures = 0

    @initialize()
    def begin(self) -> None:
        self.claim = claim_directory(self.place)
        self.workers = [worker_of(self.place, LIMIT) for _ in range(3)]

    def teardown(self) -> None:
        self._end()
        shutil.rmtree(self.place)

    # What clients do

    def _open(self, number: int, which: int) -> CachedObject:
        opened = self.opened.get((number, which))
        if opened is None or not opened.is_current():
            if opened is not None:
                opened.close()
            opened = self.opened[number, which] = self.workers[number].open(self.origins[which], f"{which}.img")
        return opened

    def _range(self, which: int, start: float, share: float) -> tuple[int, int]:
        size = SIZES[which]
        offset = int(size * start)
        return offset, max(1, int((size - offset) * share))

    @rule(number=WORKERS, which=OBJECTS, start=SHARES, share=SHARES)
    def send(self, number: int, which: int, start: float, share: float) -> None:
        """A client gets a range by `transmit`."""
        offset, length = self._range(which, start, share)
        sent = self.workers[number].sent(self._open(number, which).another(), offset, length)
        assert sent == self.origins[which].data[offset : offset + length]

    @rule(number=WORKERS, which=OBJECTS)
    def send_all(self, number: int, which: int) -> None:
        """A client gets a whole object."""
        assert self.workers[number].sent(self._open(number, which).another()) == self.origins[which].data

    @rule(number=WORKERS, which=OBJECTS, start=SHARES, share=SHARES)
    def read(self, number: int, which: int, start: float, share: float) -> None:
        """A client gets a range by reads."""
        offset, length = self._range(which, start, share)
        got = self.workers[number].read(self._open(number, which), offset, length)
        assert got == self.origins[which].data[offset : offset + length]

    @rule(number=WORKERS, which=OBJECTS, start=SHARES, share=SHARES)
    def take_what_is_there(self, number: int, which: int, start: float, share: float) -> None:
        """Bytes that come without waiting are right, and all others do not come."""
        offset, length = self._range(which, start, share)
        opened, data = self._open(number, which), self.origins[which].data
        target = memoryview(bytearray(length))
        if opened.read_now_into(offset, target):
            assert target == data[offset : offset + length]
        with pair_of_sockets() as (ours, peer):
            count = opened.transmit(ours.fileno(), offset, length)
            assert drained(peer) == data[offset : offset + count]
        count = opened.read_sendable_into(offset, target)
        assert target[:count] == data[offset : offset + count]

    @rule(number=WORKERS, which=OBJECTS, start=SHARES, share=SHARES)
    def want(self, number: int, which: int, start: float, share: float) -> None:
        """A client waits for a range."""
        offset, length = self._range(which, start, share)
        worker = self.workers[number]
        waiting = self._open(number, which).warm(worker.threads, offset, length, background=False)
        self.waiting.append(waiting.addErrback(_accept))

    @rule(number=WORKERS)
    def step(self, number: int) -> None:
        """A thread of a worker does its next job."""
        self.workers[number].turn()

    @precondition(lambda self: self.waiting)
    @rule(which=st.integers(0, 100))
    def leave(self, which: int) -> None:
        """A client that waits goes."""
        self.waiting.pop(which % len(self.waiting)).cancel()

    @precondition(lambda self: self.opened)
    @rule(which=st.integers(0, 100))
    def close(self, which: int) -> None:
        """A worker closes an object."""
        key = sorted(self.opened)[which % len(self.opened)]
        self.opened.pop(key).close()

    @rule(number=WORKERS, which=OBJECTS)
    def disturb_a_fetch(self, number: int, which: int) -> None:
        """While a worker's next fetch is under way, another one works, or the origin fails."""
        origin = self.origins[which]

        def during(_offset: int) -> None:
            origin.during = lambda _offset: None
            self.workers[number].threads.step()
            if number == 0:
                raise ConnectionError("reset")

        self._settle()
        origin.during = during
        opened = self._open((number + 1) % 3, which)
        waiting = opened.warm(self.workers[0].threads, 0, 1, background=False)
        self.waiting.append(waiting.addErrback(_accept))
        self._settle()
        origin.during = lambda _offset: None

    # What happens to the directory

    def _settle(self) -> None:
        for worker in self.workers:
            for _ in range(200):
                if not worker.turn():
                    break

    def _end(self) -> None:
        self._settle()
        for opened in self.opened.values():
            opened.close()
        self.opened.clear()
        self.waiting.clear()
        for worker in self.workers:
            worker.stop()
        self.workers.clear()
        if self.claim is not None:
            self.claim.close()
            self.claim = None

    def _read_all(self) -> None:
        for which, origin in enumerate(self.origins):
            assert self.workers[which % 3].sent(self._open(which % 3, which)) == origin.data

    @rule()
    def restart(self) -> None:
        """The daemon ends, and begins anew."""
        self._end()
        self.begin()

    @rule(which=st.integers(0, 1000), share=SHARES, kind=st.sampled_from(("flip", "cut", "hole", "remove")))
    def damage(self, which: int, share: float, kind: str) -> None:
        """Between two runs something happens to a file of the cache."""
        self._end()
        files = sorted(path for path in self.place.rglob("*") if path.is_file() and path.name != "lock")
        if files:
            _damage(files[which % len(files)], share, kind)
        self.begin()
        self._read_all()

    @rule(which=st.integers(0, 1000), share=SHARES)
    def cut(self, which: int, share: float) -> None:
        """A cached file is cut short while workers have it open."""
        files = sorted((self.place / "objects").iterdir())
        if files:
            _damage(files[which % len(files)], share, "cut")

    # What holds

    @invariant()
    def is_bounded(self) -> None:
        if self.workers:
            assert self.workers[0].directory.allocated() <= LIMIT + MARGIN + 3 * 4096 * len(SIZES)


def _damage(path: Path, share: float, kind: str) -> None:
    size = path.stat().st_size
    at = int(size * share)
    descriptor = os.open(path, os.O_RDWR)
    try:
        if kind == "flip" and size:
            byte = os.pread(descriptor, 1, at)
            os.pwrite(descriptor, bytes([byte[0] ^ 0x10]), at)
        elif kind == "cut":
            os.ftruncate(descriptor, at)
        elif kind == "hole" and size:
            punch_hole(descriptor, at, size - at)
        elif kind == "remove":
            path.unlink()
    finally:
        os.close(descriptor)


CacheMachine.TestCase.settings = settings(
    max_examples=12, stateful_step_count=40, phases=(Phase.explicit, Phase.reuse, Phase.generate)
)
TestNeverAWrongByte = CacheMachine.TestCase
