"""A cached file as one process has it open: which blocks it may send, and the sending, on the reactor's thread.

A block is trusted when this process has written or checked it, and its record is still the same. Between the look at
the records and the end of `sendfile` the blocks are locked, so nobody punches them; bytes that are copied need no
lock, because the records are looked at again before they go.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import Lock

import attrs

from aero_storage.linux.ofd_locks import SharedLock
from aero_storage.linux.page_cache import is_resident, read_resident_into
from aero_storage.storage.objects.block_cache.block_map import RECORD_BYTES, BlockLayout, BlockRecord
from aero_storage.storage.objects.block_cache.file_pair import FilePair

_UNTRUSTED = b"\xff"
"""Fills records that are equal to none of a map."""


@attrs.define(eq=False)
class BlockFile:
    """An open cached file. It is closed when its users have gone and it has been told to."""

    pair: FilePair
    is_lost: bool = attrs.field(init=False, default=False)
    """Whether the file was cut short or removed, or cannot be read: nothing of it is trusted any more."""
    layout: BlockLayout = attrs.field(init=False)
    _descriptor: int = attrs.field(init=False)
    _records: Callable[[int, int], bytes] = attrs.field(init=False)
    _trusted: bytearray = attrs.field(init=False)
    _lock: SharedLock = attrs.field(init=False)
    _users: int = attrs.field(init=False, default=1)
    _mutex: Lock = attrs.field(init=False, factory=Lock)

    def __attrs_post_init__(self) -> None:
        self.layout, self._descriptor = self.pair.layout, self.pair.descriptor
        self._records = self.pair.map.records
        self._trusted = bytearray(_UNTRUSTED * (self.layout.count * RECORD_BYTES))
        self._lock = SharedLock(self._descriptor)

    # Users

    def use(self) -> bool:
        """Keep the file open until `leave`; return False if it is closed."""
        with self._mutex:
            if not self._users:
                return False
            self._users += 1
            return True

    def leave(self) -> None:
        """Undo `use`, or the opening. The last one closes the file, which may wait for a disk."""
        with self._mutex:
            self._users -= 1
            is_last = not self._users
        if is_last:
            self.pair.close()

    # Trust

    def trust(self, index: int, record: BlockRecord) -> None:
        """Trust a block as long as its record is this one; called in threads."""
        self._trusted[index * RECORD_BYTES : (index + 1) * RECORD_BYTES] = record.pack()

    def is_trusted(self, first: int, end: int) -> bool:
        """Return whether all blocks from one up to another are trusted."""
        return self.trusted_records(first, end) is not None

    def trusted_records(self, first: int, end: int) -> bytes | None:
        """Return the records of blocks, as the map has them, if all are trusted."""
        if self.is_lost:
            return None
        records = self._records(first, end)
        return records if records == self._trusted[first * RECORD_BYTES : end * RECORD_BYTES] else None

    def is_present(self, index: int) -> bool:
        """Return whether a block is present, trusted or not."""
        record = self._records(index, index + 1)
        return bool(record) and record[0] == 1

    # Sending

    def is_sendable(self, offset: int, length: int, first: int, end: int) -> bool:
        """Return whether these bytes, which lie in these blocks, are trusted, and in the page cache.

        The records come first: a hole beside a present block counts as resident after the kernel's readahead.
        """
        return self.is_trusted(first, end) and is_resident(self._descriptor, offset, length)

    def transmit(self, socket: int, offset: int, most: int, first: int, end: int) -> int:
        """Send trusted bytes by one `sendfile`; return how many, 0 if they are not to be had. Raises its errors."""
        if not self._lock.acquire(first, end - first):
            return 0
        try:
            if not self.is_trusted(first, end):
                return 0
            sent = os.sendfile(socket, self._descriptor, offset, most)
        finally:
            self._lock.release()
        self.is_lost = self.is_lost or not sent
        return sent

    def read_now_into(
        self, offset: int, target: memoryview, first: int, end: int, records: bytes | None = None
    ) -> bool:
        """Fill `target` with trusted bytes that are in the page cache; return whether that was possible.

        The records are looked at before the read and behind it, and have to be the same: a block may be evicted
        meanwhile, or a hole may have been read that a thread has filled and trusted since. `records` is an earlier
        look at these blocks, when they were trusted; each change of a block gives it another record.
        """
        records = records or self.trusted_records(first, end)
        return (
            records is not None
            and read_resident_into(self._descriptor, offset, target)
            and self._records(first, end) == records
        )

    def read_into(self, offset: int, target: memoryview, first: int, end: int) -> int:
        """Copy trusted bytes into `target`, from the disk if need be; return how many, 0 if they cannot be had."""
        records = self.trusted_records(first, end)
        if records is None:
            return 0
        count = os.preadv(self._descriptor, (target,), offset)
        self.is_lost = self.is_lost or not count
        return count if self._records(first, end) == records else 0
