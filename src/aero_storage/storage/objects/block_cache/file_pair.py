"""The two files of a cached object: sparse data, and the block map. Everything here may wait for a disk.

A block is written, checked and evicted under its exclusive lock, a byte of the data file. Each lock has an open file
description of its own, so threads of one process exclude each other as processes do.
"""

from __future__ import annotations

import enum
import errno
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Self

import attrs

from aero_storage.errors import ShortReadError
from aero_storage.linux.hole_punching import punch_hole
from aero_storage.linux.ofd_locks import lock_exclusive
from aero_storage.storage.objects.block_cache.block_map import BlockLayout, BlockMap, BlockRecord, is_sole_file
from aero_storage.storage.objects.block_cache.cache_directory import CacheDirectory

_SLACK_BYTES = 64 * 1024
"""Bytes that the file system may take for itself, in a file."""


class Outcome(enum.Enum):
    """The result of an attempt to have a block in the cache."""

    PRESENT = enum.auto()
    ABSENT = enum.auto()
    BUSY = enum.auto()
    """Another description has its lock."""


@attrs.define(eq=False)
class FilePair:
    """An open pair; it owns `descriptor`, of the data file, and the map."""

    descriptor: int
    map: BlockMap
    layout: BlockLayout = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.layout = self.map.layout

    def close(self) -> None:
        """Close both files."""
        os.close(self.descriptor)
        self.map.close()

    @property
    def allocated(self) -> int:
        """Bytes that the data file takes on disk."""
        return os.fstat(self.descriptor).st_blocks * 512

    def is_whole(self) -> bool:
        """Return whether the data file still has its name, and is as long as the object.

        A write to a shorter one would make holes; one to a file without a name would take space that nobody finds.
        """
        return is_sole_file(os.fstat(self.descriptor), self.layout.size)

    def is_in_place(self, directory: CacheDirectory) -> bool:
        """Return whether both files are whole, and still those that their names lead to. Raises OSError."""
        name, status = self.layout.name, self.map.status
        try:
            found = directory.data(name).lstat(), directory.map(name).lstat()
        except FileNotFoundError:
            return False
        is_ours = os.path.samestat(found[0], os.fstat(self.descriptor)) and os.path.samestat(found[1], status)
        return is_ours and self.is_whole() and is_sole_file(status, self.layout.map_bytes)

    def require_whole(self) -> None:
        """Raise OSError unless the data file is whole."""
        if not self.is_whole():
            raise OSError(errno.EIO, "the cached file has been cut short or removed")

    def locked(self, index: int) -> BlockLock | None:
        """Return the exclusive lock of a block, which its caller closes; None if somebody else has one of it."""
        descriptor = os.open(f"/proc/self/fd/{self.descriptor}", os.O_RDWR | os.O_CLOEXEC)
        try:
            if lock_exclusive(descriptor, index):
                return BlockLock(self, index, descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        return None

    def read(self, index: int) -> bytes:
        """Return the bytes of a block, whatever they are; fewer if the file has been cut short."""
        return os.pread(self.descriptor, self.layout.length(index), self.layout.offset(index))

    def check(self, index: int) -> tuple[Outcome, BlockRecord, int]:
        """Return whether the block is present, its record, and how many damaged blocks were thrown away."""
        record = self._checked(index)
        if record is not None:
            return (Outcome.PRESENT if record.present else Outcome.ABSENT), record, 0
        lock = self.locked(index)
        if lock is None:
            return Outcome.BUSY, self.map.record(index), 0
        with lock:
            record = self._checked(index)
            damaged = record is None
            if record is None:
                record = lock.erase()
        return (Outcome.PRESENT if record.present else Outcome.ABSENT), record, int(damaged)

    def free_absent(self) -> None:
        """Give back the bytes that absent blocks have on disk: a process was killed while it wrote them."""
        present = self.map.present()
        expected = sum(self.layout.length(index) for index in present)
        if self.allocated <= expected + _SLACK_BYTES:
            return
        for first, end in gaps(present, self.layout.count):
            self._free(first, end)

    def _free(self, first: int, end: int) -> None:
        """Punch a range of blocks, if all are absent and nobody is about to write one."""
        descriptor = os.open(f"/proc/self/fd/{self.descriptor}", os.O_RDWR | os.O_CLOEXEC)
        try:
            if lock_exclusive(descriptor, first, end - first) and not self.map.present(first, end):
                start = self.layout.offset(first)
                punch_hole(descriptor, start, min(self.layout.offset(end), self.layout.size) - start)
        finally:
            os.close(descriptor)

    def _checked(self, index: int) -> BlockRecord | None:
        """Return the record of a block that is sound or absent; None if it is damaged, or changes meanwhile."""
        record = self.map.record(index)
        if not record.present:
            return record
        try:
            data = self.read(index)
        except OSError:  # the disk cannot read it
            return None
        self.require_whole()
        is_sound = len(data) == self.layout.length(index) and self.layout.checksum(index, data) == record.checksum
        return record if is_sound and self.map.record(index) == record else None


def gaps(present: Iterable[int], count: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges, up to but without their second number, of numbers below `count` that are not present."""
    start = 0
    for index in (*present, count):
        if index > start:
            yield start, index
        start = index + 1


@attrs.define(eq=False)
class BlockLock:
    """The exclusive lock of one block, and what may be done under it."""

    pair: FilePair
    index: int
    _descriptor: int

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        os.close(self._descriptor)

    def erase(self) -> BlockRecord:
        """Throw the block away: first in the map, then its bytes. Returns the new record."""
        record = self.pair.map.record(self.index).next(None)
        self.pair.map.write(self.index, record)
        self._punch()
        return record

    def write(self, data: bytes | memoryview) -> BlockRecord:
        """Write an absent block, and then its record, which is returned.

        The range is punched before: pages that an earlier block of it has in sockets stay as they are.
        """
        self.pair.require_whole()
        layout, view = self.pair.layout, memoryview(data)
        record = self.pair.map.record(self.index).next(layout.checksum(self.index, view))
        self._punch()
        try:
            self._write_all(view)
            self.pair.map.write(self.index, record)
        except OSError:  # a full disk: give back what the beginning of the block took
            with suppress(OSError):
                self._punch()
            raise
        return record

    def _write_all(self, left: memoryview) -> None:
        offset = self.pair.layout.offset(self.index)
        while left:
            written = os.pwrite(self._descriptor, left, offset)
            offset, left = offset + written, left[written:]

    def _punch(self) -> None:
        layout = self.pair.layout
        punch_hole(self._descriptor, layout.offset(self.index), layout.length(self.index))


def fetched(layout: BlockLayout, index: int, fetch: Callable[[int, int], bytes | memoryview]) -> memoryview:
    """Return the bytes of a block from the origin; raises its errors, and ShortReadError for another number."""
    length = layout.length(index)
    data = memoryview(fetch(layout.offset(index), length)).cast("B")
    if len(data) != length:
        raise ShortReadError(f"{len(data)} of {length} bytes at {layout.offset(index)}")
    return data
