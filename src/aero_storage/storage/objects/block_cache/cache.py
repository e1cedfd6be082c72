"""The block cache of one process, over a directory that it shares with the other workers of its daemon."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable
from functools import partial
from threading import Lock

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from aero_storage.disk import Disk
from aero_storage.errors import BusyError, OriginUnavailableError
from aero_storage.storage.objects.block_cache.block_file import BlockFile
from aero_storage.storage.objects.block_cache.block_map import BlockLayout
from aero_storage.storage.objects.block_cache.cache_directory import CacheDirectory
from aero_storage.storage.objects.block_cache.cached_file import CachedFile, Fetch
from aero_storage.storage.objects.block_cache.cached_object import CachedObject
from aero_storage.storage.objects.block_cache.counts import CacheCounts
from aero_storage.storage.objects.block_cache.identity import ObjectIdentity
from aero_storage.storage.objects.block_cache.journal import BlockKey
from aero_storage.storage.objects.block_cache.pair_files import open_pair, remove_if_unused
from aero_storage.storage.objects.block_cache.shared import CACHE_LANE, ORIGIN_LANE, CacheShared
from aero_storage.storage.objects.block_cache.space import CacheSpace, Statvfs

_NOTE_SECONDS = 1.0
"""Uses of blocks are noted in the maps this long after the first of them; the files are looked at then, too."""

_RETRY_SECONDS = 5.0
"""If the directory cannot be used at the start, it is tried again after so long; until then memory serves."""


@attrs.define(eq=False)
class _Shared:
    """A cached file, and how many have it open."""

    cached: CachedFile
    users: int = 0


@attrs.define(eq=False)
class BlockCache:
    """The cache of one process. `open` is called in threads; all else on the reactor's thread."""

    _directory: CacheDirectory
    _limit_bytes: int
    _block_bytes: int
    _disk: Disk
    _clock: IReactorTime
    _on_reactor: Callable[[Callable[[], object]], object]
    """Has the reactor's thread call a function soon (`callFromThread`)."""
    counts: CacheCounts = attrs.field(factory=CacheCounts)
    _statvfs: Statvfs = os.statvfs
    _cache_lane: Hashable = CACHE_LANE
    _origin_lane: Hashable = ORIGIN_LANE
    _space: CacheSpace = attrs.field(init=False)
    _common: CacheShared = attrs.field(init=False)
    _open: dict[bytes, _Shared] = attrs.field(init=False, factory=dict)
    _mutex: Lock = attrs.field(init=False, factory=Lock)
    _visited: set[CachedFile] = attrs.field(init=False, factory=set)
    _noting: IDelayedCall | None = attrs.field(init=False, default=None)
    _retry: IDelayedCall | None = attrs.field(init=False, default=None)
    _is_stopped: bool = attrs.field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self._space = CacheSpace(self._directory, self._limit_bytes, self.counts, self._statvfs)
        self._common = CacheShared(
            self._disk,
            self._clock,
            self._space,
            self.counts,
            self._directory,
            self._has_visits,
            self._on_reactor,
            cache_lane=self._cache_lane,
            origin_lane=self._origin_lane,
        )

    @property
    def used_bytes(self) -> int:
        """Allocated bytes below the directory, as far as this process knows."""
        return self._space.used

    @property
    def limit_bytes(self) -> int:
        """The most that may be allocated."""
        return self._limit_bytes

    def start(self) -> Deferred[None]:
        """Find out what is there, in a thread. The cache can be used at once: until then memory serves misses."""
        return Deferred.fromCoroutine(self._start())

    def stop(self) -> None:
        """End all that is under way, and close what nobody has open."""
        self._is_stopped = True
        for call in (self._noting, self._retry):
            if call is not None and call.active():
                call.cancel()
        for shared in tuple(self._open.values()):
            shared.cached.flights.cancel_all()
        self._disk.later(self._space.stop, self._cache_lane)

    def open(self, identity: ObjectIdentity, size: int, fetch: Fetch) -> CachedObject:
        """Open one version of an object of `size` > 0 bytes. Waits for the disk: call it in a thread.

        Never fails: if the disk cannot hold the object, its blocks pass through memory.
        """
        digest = identity.digest(size, self._block_bytes)
        shared = self._shared(digest) or self._add(digest, identity.key, BlockLayout(digest, size, self._block_bytes))
        leave = partial(self._leave, digest, shared)
        return CachedObject(shared.cached.mutex, leave, shared.cached, fetch)

    def _shared(self, digest: bytes) -> _Shared | None:
        """Use the file that is open already, unless the disk has lost it."""
        with self._mutex:
            shared = self._open.get(digest)
            if shared is None or shared.cached.is_lost:
                return None
            shared.users += 1
            return shared

    def _add(self, digest: bytes, name: str, layout: BlockLayout) -> _Shared:
        new = _Shared(CachedFile(name, layout, self._common, self._opened(layout)))
        with self._mutex:
            shared = self._open.get(digest)
            if shared is None or shared.cached.is_lost:
                shared = self._open[digest] = new
            shared.users += 1
        if shared is not new:  # another thread was faster
            _close(new.cached)
        return shared

    def _opened(self, layout: BlockLayout) -> BlockFile | None:
        try:
            pair, damaged = open_pair(self._directory, layout)
        except (OSError, BusyError) as error:
            self._common.failed(error)
            return None
        self.counts.damaged(damaged)
        try:
            return BlockFile(pair)
        except OSError as error:
            pair.close()
            self._common.failed(error)
            return None

    def _leave(self, digest: bytes, shared: _Shared) -> None:
        with self._mutex:
            shared.users -= 1
            if shared.users:
                return
            if self._open.get(digest) is shared:
                del self._open[digest]
        self._on_reactor(shared.cached.forget_memory)
        _close(shared.cached)
        self._remove_if_empty(shared.cached.layout.name)

    def _remove_if_empty(self, name: str) -> None:
        try:
            remove_if_unused(self._directory, name)
        except (OSError, BusyError) as error:
            self.counts.failed(error)

    # Visits

    def _has_visits(self, cached: CachedFile) -> None:
        self._visited.add(cached)
        if self._noting is None and not self._is_stopped:
            self._noting = self._clock.callLater(_NOTE_SECONDS, self._note_visits)

    def _note_visits(self) -> None:
        self._noting = None
        visited, self._visited = self._visited, set()
        keys: list[BlockKey] = [key for cached in visited for key in cached.take_visits()]
        self._disk.later(partial(self._look_after, visited, keys), self._cache_lane)

    def _look_after(self, used: set[CachedFile], keys: list[BlockKey]) -> None:
        """Give up files that somebody has removed or replaced: all that was used of them may be in memory."""
        for cached in used:
            cached.look_at_files()
        self._space.touch(keys)

    # Start

    async def _start(self) -> None:
        try:
            await self._disk.run(self._space.start, lane=self._cache_lane)
        except OriginUnavailableError:  # it takes longer than other work may, and goes on in its thread
            return
        except (OSError, BusyError) as error:
            self.counts.failed(error)
            if not self._is_stopped:
                self._retry = self._clock.callLater(_RETRY_SECONDS, self._start_again)

    def _start_again(self) -> None:
        self._retry = None
        self.start()


def _close(cached: CachedFile) -> None:
    if cached.file is not None:
        cached.file.leave()
