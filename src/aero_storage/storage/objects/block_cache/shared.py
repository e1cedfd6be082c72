"""The parts that all files of one process's block cache share."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import attrs
from twisted.internet.interfaces import IReactorTime

from aero_storage.disk import Disk
from aero_storage.storage.objects.block_cache.cache_directory import CacheDirectory
from aero_storage.storage.objects.block_cache.counts import CacheCounts
from aero_storage.storage.objects.block_cache.memory_blocks import MemoryBlocks
from aero_storage.storage.objects.block_cache.space import CacheSpace

CACHE_LANE = "cache"
"""The lane of work on the cache's disk, if its owner names no other."""

ORIGIN_LANE = "origin"
"""The lane of reads from the origin, likewise."""

_FAILING_SECONDS = 1.0
"""After a failure of the disk nothing is written for this long: a slow failure is not paid for with each block."""


@attrs.define(eq=False)
class CacheShared:
    """Threads, clock, space, memory and counts."""

    disk: Disk
    clock: IReactorTime
    space: CacheSpace
    counts: CacheCounts
    directory: CacheDirectory
    on_visit: Callable[[Any], object]
    """Told of a CachedFile that has visits to be noted in its map."""
    on_reactor: Callable[[Callable[[], object]], object]
    """Has the reactor's thread call a function soon; called in any thread."""
    memory: MemoryBlocks = attrs.field(factory=MemoryBlocks)
    cache_lane: Hashable = CACHE_LANE
    origin_lane: Hashable = ORIGIN_LANE
    _failing_until: float = attrs.field(init=False, default=0.0)

    @property
    def is_failing(self) -> bool:
        """Whether the disk has failed a moment ago."""
        return self.clock.seconds() < self._failing_until

    def failed(self, error: Exception) -> None:
        """The disk has failed; called in any thread."""
        self.counts.failed(error)
        self._failing_until = self.clock.seconds() + _FAILING_SECONDS
