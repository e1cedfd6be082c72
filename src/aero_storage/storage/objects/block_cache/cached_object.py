"""An open object whose blocks are cached: an OpenFile for `sendfile`, and a ByteSource for other transports."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable
from functools import partial

import attrs
from twisted.internet.defer import Deferred, FirstError, gatherResults, succeed
from twisted.python.failure import Failure
from typing_extensions import override

from aero_storage.disk import Disk
from aero_storage.open_file import ByteSource, OpenFile
from aero_storage.storage.objects.block_cache.block_file import BlockFile
from aero_storage.storage.objects.block_cache.cached_file import CachedFile, Fetch
from aero_storage.storage.objects.block_cache.held import Held
from aero_storage.storage.objects.block_cache.read_ahead import ReadAhead

PIECE_BYTES = 128 * 1024
"""Bytes of one read of a stream."""

_TRIES = 3
"""How often blocks are brought in for one read; if they are evicted each time, the cache is too small, and the bytes
come from the origin."""


@attrs.define(eq=False)
class CachedObject(Held, OpenFile, ByteSource):
    """One version of an object, open; its holder closes it once. Each stream has one of its own (`another`)."""

    _cached: CachedFile
    _fetch: Fetch
    origin_bytes: int = attrs.field(init=False, default=0)
    """Bytes that were fetched for this stream, for the log."""
    _file: BlockFile | None = attrs.field(init=False)
    _shift: int = attrs.field(init=False)
    _ahead: ReadAhead | None = attrs.field(init=False, default=None)
    """None as long as all that was asked for was there."""
    _seen: tuple[tuple[int, int], bytes] | None = attrs.field(init=False, default=None)
    """Blocks that were trusted when they were looked at last, and their records then."""
    _touched: int = attrs.field(init=False, default=-1)
    """The block that was used last."""

    def __attrs_post_init__(self) -> None:
        self._file, self._shift = self._cached.file, self._cached.layout.shift

    def another(self, on_close: Callable[[], object] = lambda: None) -> CachedObject:
        """Return the same object for another stream, valid as long as this one is open.

        If it is closed, `on_close` is called once nobody holds it.
        """
        return CachedObject(self._mutex, on_close, self._cached, self._fetch)

    @property
    @override
    def lane(self) -> Hashable:
        """The lane in which work on the cache's disk waits."""
        return self._cached.shared.cache_lane

    @property
    @override
    def name(self) -> str:
        """The key of the object, for the log."""
        return self._cached.name

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return self._cached.layout.size

    @property
    @override
    def piece_bytes(self) -> int:
        """Bytes of one read of a stream."""
        return PIECE_BYTES

    @property
    @override
    def is_watched(self) -> bool:
        """False: the bytes of a version never change."""
        return False

    @override
    def fileno(self) -> int:
        """Return the descriptor of the cached file, -1 if there is none."""
        return -1 if self._file is None else self._file.pair.descriptor

    @override
    def is_current(self) -> bool:
        """Return whether the cached file can be used; if not, the object is to be opened anew."""
        return self._file is None or not self._file.is_lost

    @override
    def verify(self) -> None:
        """Do nothing: blocks are looked at when they are sent."""

    # Sending

    def is_at_hand(self, offset: int, length: int) -> bool:
        """Return whether `length` > 0 bytes from `offset` on need nothing of the origin; they may be on disk only."""
        first, end = blocks = self._blocks(offset, length)
        records = self._file.trusted_records(first, end) if self._file is not None else None
        if records is not None:
            self._seen = blocks, records
            return True
        return bool(self._cached.shared.memory.bytes) and self._is_sendable_in_parts(offset, length)

    @override
    def is_sendable(self, offset: int, length: int) -> bool:
        """Return whether `length` > 0 bytes from `offset` on can be sent without waiting."""
        first, end = self._blocks(offset, length)
        if self._ahead is not None and self._ahead.depth:
            self._read_ahead(self._ahead.passed(end - 1))
        file = self._file
        if file is not None and file.is_sendable(offset, length, first, end):
            return True
        return bool(self._cached.shared.memory.bytes) and self._is_sendable_in_parts(offset, length)

    def _is_sendable_in_parts(self, offset: int, length: int) -> bool:
        """Return whether each block is on disk and resident, or in memory."""
        file = self._file
        for index in range(*self._blocks(offset, length)):
            start, size = self._part(index, offset, length)
            is_on_disk = file is not None and file.is_sendable(start, size, index, index + 1)
            if not is_on_disk and self._cached.in_memory(index) is None:
                return False
        return True

    @override
    def transmit(self, socket: int, offset: int, most: int) -> int:
        """Send sendable bytes by one call; return how many, or 0 if they are sendable no more."""
        first, end = self._blocks(offset, most)
        file = self._file
        sent = file.transmit(socket, offset, most, first, end) if file is not None else 0
        if not sent:
            sent = self._transmit_first(socket, offset, most, first)
        if sent:
            self._touch(first, (offset + sent - 1) >> self._shift)
        return sent

    def _transmit_first(self, socket: int, offset: int, most: int, index: int) -> int:
        """Do the same with bytes of the first block alone: of the disk, or of memory."""
        most = min(most, ((index + 1) << self._shift) - offset)
        file, data = self._file, self._cached.in_memory(index)
        if data is not None:
            start = offset - (index << self._shift)
            return os.write(socket, data[start : start + most])
        return file.transmit(socket, offset, most, index, index + 1) if file is not None else 0

    @override
    def read_now_into(self, offset: int, target: memoryview) -> bool:
        """Fill `target` from `offset` on, if that takes no waiting; return whether it did."""
        first, end = blocks = self._blocks(offset, len(target))
        seen, self._seen = self._seen, None
        records = seen[1] if seen is not None and seen[0] == blocks else None
        if self._file is not None and self._file.read_now_into(offset, target, first, end, records):
            self._touch(first, end - 1)
            return True
        is_there = bool(self._cached.shared.memory.bytes) and self._is_sendable_in_parts(offset, len(target))
        return is_there and self._read_all(offset, target)

    @override
    def read_sendable_into(self, offset: int, target: memoryview) -> int:
        """Copy sendable bytes into `target`; return how many, or 0 if they are sendable no more."""
        first, end = self._blocks(offset, len(target))
        file = self._file
        count = file.read_into(offset, target, first, end) if file is not None else 0
        if not count:
            count = self._read_first(offset, target)
        if count:
            self._touch(first, (offset + count - 1) >> self._shift)
        return count

    def _read_first(self, offset: int, target: memoryview) -> int:
        index = offset >> self._shift
        start = offset - (index << self._shift)
        data = self._cached.in_memory(index)
        if data is not None:
            part = data[start : start + len(target)]
            target[: len(part)] = part
            return len(part)
        most = min(len(target), (1 << self._shift) - start)
        return self._file.read_into(offset, target[:most], index, index + 1) if self._file is not None else 0

    # Bringing in

    @override
    def warm(self, disk: Disk, offset: int, length: int, *, background: bool) -> Deferred[None]:
        """Make bytes sendable. A client that leaves ends its read-ahead, and no read that others wait for."""
        first, end = self._blocks(offset, length)
        bringing = gatherResults(
            [
                self._cached.bring(index, self._fetch_counted, background=background)
                for index in range(first, end)
                if not self._is_sendable_in_parts(*self._part(index, offset, length))
            ],
            consumeErrors=True,
        )
        if self._ahead is None:
            self._ahead = ReadAhead(self._cached.layout.count)
        self._read_ahead(self._ahead.missed(first, end - 1))
        warming: Deferred[None] = Deferred(lambda _: self._gone(bringing))
        bringing.addCallbacks(lambda _: warming.callback(None), lambda failure: _fail(warming, failure))
        return warming

    @override
    def read(self, offset: int, length: int) -> bytes:
        """Return exactly these bytes; if the cache has not all of them, from the origin. Waits."""
        target = memoryview(bytearray(length))
        first, end = self._blocks(offset, length)
        if self._file is not None and self._file.read_into(offset, target, first, end) == length:
            return bytes(target)
        return bytes(self._fetch_counted(offset, length))

    @override
    def read_later(self, disk: Disk, offset: int, length: int, *, background: bool) -> Deferred[bytes]:
        """Return a Deferred of exactly these bytes; it can be cancelled."""
        target = memoryview(bytearray(length))
        if self.read_now_into(offset, target):
            return succeed(bytes(target))
        return Deferred.fromCoroutine(self._read_when_there(disk, offset, target, background=background))

    async def _read_when_there(self, disk: Disk, offset: int, target: memoryview, *, background: bool) -> bytes:
        for _ in range(_TRIES):
            await self.warm(disk, offset, len(target), background=background)
            if self._read_all(offset, target):
                return bytes(target)
        fetching = partial(self._fetch_counted, offset, len(target))
        lane = self._cached.shared.origin_lane
        return bytes(await self._cached.shared.disk.run(fetching, lane=lane, background=background))

    def _read_all(self, offset: int, target: memoryview) -> bool:
        done = 0
        while done < len(target) and (count := self.read_sendable_into(offset + done, target[done:])):
            done += count
        return done == len(target)

    def stop(self) -> None:
        """End the read-ahead: its client has gone."""
        if self._ahead is not None:
            for index in self._ahead.stop():
                self._cached.flights.end_ahead(index)

    # Blocks

    def _fetch_counted(self, offset: int, length: int) -> bytes | memoryview:
        data = self._fetch(offset, length)
        with self._mutex:
            self.origin_bytes += len(data)
        return data

    def _blocks(self, offset: int, length: int) -> tuple[int, int]:
        """Return the first block of a range, and the first one behind it."""
        return offset >> self._shift, ((offset + length - 1) >> self._shift) + 1

    def _part(self, index: int, offset: int, length: int) -> tuple[int, int]:
        """Return offset and length of what a block has of a range."""
        start = max(offset, index << self._shift)
        return start, min(offset + length, (index + 1) << self._shift) - start

    def _touch(self, first: int, last: int) -> None:
        for index in range(first + (first == self._touched), last + 1):
            self._cached.touch(index)
        self._touched = last

    def _read_ahead(self, blocks: range) -> None:
        if not self._cached.is_failing:
            for index in blocks:
                if not self._cached.is_there(index):
                    self._cached.bring_ahead(index, self._fetch_counted)

    def _gone(self, bringing: Deferred[list[None]]) -> None:
        self.stop()
        bringing.cancel()


def _fail(warming: Deferred[None], failure: Failure) -> None:
    """Fail as the first of the blocks has failed."""
    error = failure.value
    warming.errback(error.subFailure if isinstance(error, FirstError) else failure)
