"""A cached file on the reactor's thread: brings blocks in, from the disk or the origin, once for all who want them.

The origin's bytes go this way: fetch, check, checksum, write, present. Those who wait for a block have it from memory
as soon as it is fetched and checked; one that the disk does not take stays there.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import Lock

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater

from aero_storage.errors import BusyError
from aero_storage.storage.objects.block_cache.block_file import BlockFile
from aero_storage.storage.objects.block_cache.block_map import BlockLayout, BlockRecord
from aero_storage.storage.objects.block_cache.file_pair import BlockLock, Outcome, fetched
from aero_storage.storage.objects.block_cache.flights import Flight, Flights
from aero_storage.storage.objects.block_cache.journal import BlockKey
from aero_storage.storage.objects.block_cache.shared import CacheShared

Fetch = Callable[[int, int], bytes | memoryview]
"""Offset, length → exactly these bytes of the pinned version, from the origin. Waits; raises the origin's errors."""

WAIT_SECONDS = 30.0
"""How long another process is waited for that reads a block; then it is read here, too."""

_LEAST_PAUSE, _MOST_PAUSE = 0.002, 0.05
"""Between looks at a block that another process reads; each is twice as long as the last."""

Load = Callable[[], memoryview]
"""Returns the bytes of a block, checked."""

Brought = Outcome | memoryview
"""A block as it is on disk, or its bytes, if the disk did not take them."""


@attrs.define(eq=False)
class CachedFile:
    """One version of an object, shared by all of this process that have it open; without `file`: in memory alone."""

    name: str
    layout: BlockLayout
    shared: CacheShared
    file: BlockFile | None
    flights: Flights = attrs.field(init=False, factory=Flights)
    mutex: Lock = attrs.field(init=False, factory=Lock)
    """Of the counts of its streams: for a few instructions each time."""
    visits: set[int] = attrs.field(init=False, factory=set)
    """Blocks whose use is to be noted in the map."""
    _is_closed: bool = attrs.field(init=False, default=False)
    """Whether nobody has it open any more."""
    _visited: set[int] = attrs.field(init=False, factory=set)
    """Blocks that need no such note for now."""
    _credit: dict[int, int] = attrs.field(init=False, factory=dict)
    """How many uses of a block are those of requests that had it brought in: neither hits nor visits."""

    @property
    def is_lost(self) -> bool:
        """Whether the disk has not this file, or no longer."""
        return self.file is None or self.file.is_lost

    @property
    def is_failing(self) -> bool:
        """Whether blocks are kept in memory now."""
        return self.is_lost or self.shared.is_failing

    def in_memory(self, index: int) -> memoryview | None:
        """Return a block that the disk did not take."""
        return self.shared.memory.get(self, index)

    def is_there(self, index: int) -> bool:
        """Return whether a block need not be fetched; it may have to be read or checked."""
        return (self.file is not None and self.file.is_present(index)) or self.in_memory(index) is not None

    def look_at_files(self) -> None:
        """Give the files up if they were cut, removed or replaced; called in a thread."""
        file = self.file
        if file is None or file.is_lost or not file.use():
            return
        try:
            file.is_lost = file.is_lost or not file.pair.is_in_place(self.shared.directory)
        except OSError as error:
            self.shared.failed(error)
        finally:
            file.leave()

    def bring(self, index: int, fetch: Fetch, *, background: bool) -> Deferred[None]:
        """Return a Deferred that fires when a block can be sent. Fails with the origin's errors; can be cancelled."""
        if not self.is_there(index):
            self._count_request(index)
        return self.flights.join(index, lambda flight: self._bring(flight, index, fetch), background=background)

    def bring_ahead(self, index: int, fetch: Fetch) -> None:
        """Bring in a block that nobody waits for yet."""
        self._credit.setdefault(index, 1)
        self.flights.begin_ahead(index, lambda flight: self._bring(flight, index, fetch))

    def touch(self, index: int) -> None:
        """A request begins to use a block that is there."""
        if self.shared.memory.bytes:
            self._keep_on_disk(index)
        if self._credit and (credit := self._credit.pop(index, 0)):
            if credit > 1:
                self._credit[index] = credit - 1
            return
        self.shared.counts.hits += 1
        if index not in self._visited:
            self._visited.add(index)
            self.visits.add(index)
            self.shared.on_visit(self)

    def forget_memory(self) -> None:
        """The last who had it open has left: nobody will ask for what memory has of it."""
        self._is_closed = True
        self.shared.memory.drop_file(self)

    def take_visits(self) -> list[BlockKey]:
        """Return the blocks that were used since the last call, to be noted in the map."""
        indices, self.visits = self.visits, set()
        self._visited -= indices
        file = self.layout.digest[:16]
        return [BlockKey(file, index) for index in indices]

    def _count_request(self, index: int) -> None:
        """Count one who needs a block that is not there; the read itself is counted as a miss when it is made."""
        if self.flights.is_awaited(index):
            self.shared.counts.waited()
        elif index in self.flights:  # read ahead: its use has been allowed for
            return
        self._credit[index] = self._credit.get(index, 0) + 1

    def _keep_on_disk(self, index: int) -> None:
        """Write a block that the disk did not take, now that it takes blocks again."""
        data = self.in_memory(index)
        if data is not None and not self.is_failing:
            self.flights.begin_ahead(index, lambda flight: self._write(flight, index, data))

    # Bringing in

    async def _bring(self, flight: Flight, index: int, fetch: Fetch) -> None:
        try:
            brought = await self._attempt(flight, index, fetch)
            if brought is Outcome.BUSY:
                brought = await self._wait_for_other(flight, index, fetch)
        except BaseException as error:
            self.shared.memory.drop(self, index)
            if not isinstance(error, CancelledError):
                self._credit.pop(index, None)
            raise
        if isinstance(brought, memoryview) and not self._is_closed:
            self.shared.memory.put(self, index, brought)
        else:
            self.shared.memory.drop(self, index)

    def _arrived(self, flight: Flight, index: int, data: memoryview) -> None:
        """Let those go on who wait for a block that is not stored yet."""
        if self.flights.is_under_way(index, flight):
            self.shared.memory.put(self, index, data)
            self.flights.arrived(flight)

    async def _write(self, flight: Flight, index: int, data: memoryview) -> None:
        file, shared = self.file, self.shared
        if file is not None:
            work = partial(self._fill, file, index, flight, lambda: data)
            written = await self._run(flight, work, shared.cache_lane)
            if written is Outcome.PRESENT or written is Outcome.ABSENT:  # memory has no use for it any more
                shared.memory.drop(self, index)

    async def _wait_for_other(self, flight: Flight, index: int, fetch: Fetch) -> Brought:
        """Wait for the process that has the block's lock, or for its end, and take its place then."""
        clock, pause = self.shared.clock, _LEAST_PAUSE
        end = clock.seconds() + WAIT_SECONDS
        while clock.seconds() < end:
            await deferLater(clock, pause)
            pause = min(2 * pause, _MOST_PAUSE)
            is_other = self.is_there(index)
            brought = await self._attempt(flight, index, fetch)
            if brought is not Outcome.BUSY:
                if is_other:
                    self.shared.counts.waited()
                return brought
        return await self._run(flight, lambda: self._fetch(index, fetch), self.shared.origin_lane)

    async def _attempt(self, flight: Flight, index: int, fetch: Fetch) -> Brought:
        file, shared = self.file, self.shared
        if file is None or file.is_lost:
            return await self._run(flight, lambda: self._fetch(index, fetch), shared.origin_lane)
        if file.is_present(index):
            checked = await self._run(flight, lambda: self._check(file, index), shared.cache_lane)
            if checked is not Outcome.ABSENT:
                return checked
        load = partial(self._fetch, index, fetch)
        filled = await self._run(flight, lambda: self._fill(file, index, flight, load), shared.origin_lane)
        return Outcome.BUSY if filled is Outcome.ABSENT else filled

    async def _run(self, flight: Flight, work: Callable[[], Brought], lane: object) -> Brought:
        def begun() -> Brought:
            flight.has_begun = True
            return work()

        return await self.shared.disk.run(begun, lane=lane, background=flight.background)

    # In threads

    def _check(self, file: BlockFile, index: int) -> Brought:
        """Check a block that is present; it is in the page cache then."""
        return _using(file, partial(self._check_open, file, index))

    def _check_open(self, file: BlockFile, index: int) -> Outcome:
        try:
            outcome, record, damaged = file.pair.check(index)
        except OSError as error:
            self.shared.failed(error)
            file.is_lost = True
            return Outcome.ABSENT
        self.shared.counts.damaged(damaged)
        if outcome is Outcome.PRESENT:
            file.trust(index, record)
        return outcome

    def _fill(self, file: BlockFile, index: int, flight: Flight, load: Load) -> Brought:
        """Get a block and write it under its lock. ABSENT: it has come meanwhile, and is to be checked."""
        return _using(file, partial(self._fill_open, file, index, flight, load))

    def _fill_open(self, file: BlockFile, index: int, flight: Flight, load: Load) -> Brought:
        try:
            lock = file.pair.locked(index)
            if lock is None:
                return Outcome.BUSY
        except OSError as error:
            self.shared.failed(error)
            return load()
        with lock:
            return self._fill_locked(file, lock, flight, load)

    def _fill_locked(self, file: BlockFile, lock: BlockLock, flight: Flight, load: Load) -> Brought:
        record = self._record(file, lock.index)
        if record is not None and record.present:
            return Outcome.ABSENT
        self.shared.counts.damaged(record is not None and record.is_damaged)
        data = load()
        if self.shared.is_failing:
            return data
        if flight.waiters:
            self.shared.on_reactor(partial(self._arrived, flight, lock.index, data))
        try:
            self.shared.space.reserve(BlockKey(self.layout.digest[:16], lock.index), len(data))
            file.trust(lock.index, lock.write(data))
        except (OSError, BusyError) as error:
            self.shared.failed(error)
            file.is_lost = file.is_lost or not file.pair.is_whole()
            return data
        return Outcome.PRESENT

    def _record(self, file: BlockFile, index: int) -> BlockRecord | None:
        try:
            return file.pair.map.record(index)
        except OSError as error:
            self.shared.failed(error)
            file.is_lost = True
            return None

    def _fetch(self, index: int, fetch: Fetch) -> memoryview:
        data = fetched(self.layout, index, fetch)
        self.shared.counts.missed(len(data))
        return data


def _using(file: BlockFile, work: Callable[[], Brought]) -> Brought:
    """Do work with the file kept open. Raises CancelledError if it is closed: nobody wants the outcome any more."""
    if not file.use():
        raise CancelledError
    try:
        return work()
    finally:
        file.leave()
