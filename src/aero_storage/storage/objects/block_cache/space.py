"""The space of a block cache: makes room for a block before it is written, by evicting others.

Bounded are the allocated bytes of all below the directory, and what the file system has left. All workers hold the
same queue, by the journal; everything here runs in threads, and may wait for a disk.
"""

from __future__ import annotations

import errno
import math
import os
import time
from collections.abc import Callable, Iterable
from functools import partial
from threading import Lock

import attrs

from aero_storage.atomic_files import FileSystemStatus
from aero_storage.storage.objects.block_cache.block_queue import BlockQueue, charged
from aero_storage.storage.objects.block_cache.cache_directory import CacheDirectory
from aero_storage.storage.objects.block_cache.counts import CacheCounts
from aero_storage.storage.objects.block_cache.file_pair import FilePair
from aero_storage.storage.objects.block_cache.journal import BlockKey, Change, Entry, Journal
from aero_storage.storage.objects.block_cache.map_visits import MapVisits, pair_of
from aero_storage.storage.objects.block_cache.pair_files import find_pair, remove_if_unused
from aero_storage.storage.objects.block_cache.sieve import Sieve

FREE_SHARE = 0.05
"""This share of the file system is left free, but no more than `FREE_BYTES`."""

FREE_BYTES = 4 * 1024**3
"""A twentieth of a large disk is hundreds of gigabytes, which would be no use to anybody."""

_MOST_BUSY = 64
"""Blocks in use that are passed over in one search for room."""

_MOST_EVICTED = 512
"""Blocks evicted for one: if others fill the disk, it takes several turns to give way to them."""

_SCAN_SECONDS = 60.0
"""If no block can be evicted, the directory is scanned anew, at most once in this time."""

_JOURNAL_BYTES = 8 * 1024 * 1024
"""The journal is written anew above this size, and above twice what the queue takes."""

_MEASURE_EVERY = 512
"""After so many arrivals the allocated bytes are measured anew: 3 µs a file."""


Statvfs = Callable[[str], FileSystemStatus]


@attrs.define(eq=False)
class CacheSpace:
    """The space of one cache directory, as one process sees it."""

    _directory: CacheDirectory
    _limit: int
    _counts: CacheCounts
    _statvfs: Statvfs = os.statvfs
    _queue: BlockQueue = attrs.field(init=False)
    _journal: Journal | None = attrs.field(init=False, default=None)
    _unmeasured: int = attrs.field(init=False, default=0)
    """Arrivals since the allocated bytes were measured."""
    _scanned: float = attrs.field(init=False, default=-math.inf)
    """When the directory was last scanned."""
    _mutex: Lock = attrs.field(init=False, factory=Lock)

    def __attrs_post_init__(self) -> None:
        self._queue = BlockQueue(partial(Sieve, MapVisits(self._directory)))

    @property
    def used(self) -> int:
        """Allocated bytes below the directory, as far as this process knows."""
        return self._queue.used

    def start(self) -> None:
        """Begin: the first process of a run scans the directory; others take over its journal. Raises OSError."""
        journal = Journal(self._directory.journal, self._directory.run_id())
        with self._mutex, self._directory.journal_locked():
            is_first = journal.begin()
            self._journal = journal
            self._catch_up(journal)
            self._measure()
        if is_first:
            self._scan(journal)

    def stop(self) -> None:
        """Close the journal."""
        with self._mutex:
            journal, self._journal = self._journal, None
            if journal is not None:
                journal.close()

    def reserve(self, key: BlockKey, length: int) -> None:
        """Make room for a block that is about to be written, and note that it comes.

        Raises OSError if there is no room, BusyError if another process keeps the journal to itself.
        """
        journal = self._journal
        if journal is None:
            raise OSError(errno.EAGAIN, "the cache has not started")
        try:
            self._reserve(journal, key, length)
        except OSError as error:
            if error.errno != errno.ENOSPC or time.monotonic() - self._scanned < _SCAN_SECONDS:
                raise
            self._scan(journal)  # there may be blocks of a worker that was killed while it looked for them
            self._reserve(journal, key, length)

    def _reserve(self, journal: Journal, key: BlockKey, length: int) -> None:
        with self._mutex, self._directory.journal_locked():
            self._catch_up(journal)
            if self._queue.is_stale or self._unmeasured >= max(_MEASURE_EVERY, 2 * self._queue.files):
                self._measure()
            self._make_room(journal, charged(key, length))
            self._unmeasured += 1
            self._append(journal, (Entry(Change.CAME, key, length),))
            self._compact(journal)

    def touch(self, keys: Iterable[BlockKey]) -> None:
        """Note that blocks were used."""
        for key in keys:
            self._queue.policy.touch(key)

    # The journal

    def _catch_up(self, journal: Journal) -> None:
        if journal.was_replaced():
            self._queue.clear()
        for entry in journal.replay():
            self._queue.note(entry)

    def _append(self, journal: Journal, entries: Iterable[Entry]) -> None:
        entries = tuple(entries)
        journal.append(entries)
        for entry in entries:
            self._queue.note(entry)

    def _compact(self, journal: Journal) -> None:
        if journal.bytes > _JOURNAL_BYTES and journal.bytes > 64 * len(self._queue):
            journal.replace(self._queue.entries())

    # Room

    def _make_room(self, journal: Journal, length: int) -> None:
        wanted = max(self.used + length - self._limit, self._missing_on_disk(length))
        tries = busy = 0
        while wanted > 0:
            key, tries = self._queue.policy.victim(), tries + 1
            if key is None or busy > _MOST_BUSY or tries > _MOST_EVICTED:
                raise OSError(errno.ENOSPC, "no block can be evicted")
            freed = self._evict(journal, key)
            busy += freed is None
            wanted -= freed or 0

    def _missing_on_disk(self, length: int) -> int:
        """Return how many bytes the file system lacks to have enough left beside a block."""
        status = self._statvfs(str(self._directory.path))
        left_free = min(int(status.f_blocks * status.f_frsize * FREE_SHARE), FREE_BYTES)
        return left_free + length - status.f_bavail * status.f_frsize

    def _evict(self, journal: Journal, key: BlockKey) -> int | None:
        """Evict a block, and its file with the last one; return the bytes given back, None if it is in use."""
        freed = self._erase(key)
        if freed is None:
            return None
        entry = Entry(Change.WENT, key, freed)
        try:
            self._append(journal, (entry,))
        except OSError:  # a full disk: others find it out by the map
            self._queue.note(entry)
        if not self._queue.has_file(key.file):
            remove_if_unused(self._directory, key.name)
        self._counts.evicted(freed)
        return freed

    def _erase(self, key: BlockKey) -> int | None:
        """Erase a block; return how many bytes that gave back, None if somebody uses it."""
        pair = pair_of(self._directory, key)
        if pair is None:
            return 0
        try:
            lock = pair.locked(key.index)
            if lock is None:
                return None
            with lock:
                before = pair.allocated
                lock.erase()
            return max(0, before - pair.allocated)
        finally:
            pair.close()

    # Looks at the directory

    def _scan(self, journal: Journal) -> None:
        """Put what an earlier run has left into the queue, the files changed last at its end."""
        self._scanned = time.monotonic()
        names = sorted((self._changed(name), name) for name in self._directory.names())
        for _, name in names:
            self._adopt(journal, name)

    def _changed(self, name: str) -> float:
        try:
            return self._directory.data(name).stat().st_mtime
        except OSError:
            return 0.0

    def _adopt(self, journal: Journal, name: str) -> None:
        """Note the blocks of one file, give back what a killed process left of others, and remove an empty file."""
        pair = self._whole_pair(name)
        if pair is None:
            return
        try:
            layout, present = pair.layout, pair.map.present()
            pair.free_absent()
        finally:
            pair.close()
        if not present:
            remove_if_unused(self._directory, name)
            return
        file = layout.digest[:16]
        with self._mutex, self._directory.journal_locked():
            self._catch_up(journal)
            found = (Entry(Change.FOUND, BlockKey(file, index), layout.length(index)) for index in present)
            self._append(journal, found)

    def _whole_pair(self, name: str) -> FilePair | None:
        """Open the files of an object, if both are there and the map is sound; else remove them."""
        try:
            pair = find_pair(self._directory, name)
            self._counts.damaged(pair is None)
        except FileNotFoundError:
            pair = None
        except OSError as error:  # of these files alone
            self._counts.failed(error)
            return None
        if pair is None:
            remove_if_unused(self._directory, name)
        return pair

    def _measure(self) -> None:
        """Measure the allocated bytes, apart from those of known blocks."""
        self._unmeasured = 0
        self._queue.measured(self._directory.allocated())
