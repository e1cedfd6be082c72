"""The counts of a block cache; they never go down."""

from __future__ import annotations

import enum
from threading import Lock

import attrs


class CacheResult(enum.StrEnum):
    """How a block was come by: the label `result` of the cache's requests."""

    HIT = "hit"
    MISS = "miss"
    """This request read it from the origin."""
    WAIT = "wait"
    """It waited for the read of another."""


@attrs.define(eq=False)
class CacheCounts:
    """Counts of one process; hits are counted on the reactor's thread alone, the others in any thread."""

    hits: int = 0
    misses: int = 0
    waits: int = 0
    fetched_bytes: int = 0
    evicted_bytes: int = 0
    damaged_blocks: int = 0
    failures: int = 0
    """Blocks that the disk did not take or give back."""
    last_failure: str | None = None
    _mutex: Lock = attrs.field(init=False, factory=Lock)

    @property
    def requests(self) -> dict[CacheResult, int]:
        """Blocks by result."""
        return {CacheResult.HIT: self.hits, CacheResult.MISS: self.misses, CacheResult.WAIT: self.waits}

    def missed(self, length: int) -> None:
        """A block of so many bytes was read from the origin."""
        with self._mutex:
            self.misses += 1
            self.fetched_bytes += length

    def waited(self) -> None:
        """Somebody waited for the read of another."""
        with self._mutex:
            self.waits += 1

    def evicted(self, length: int) -> None:
        """A block was evicted."""
        with self._mutex:
            self.evicted_bytes += length

    def damaged(self, blocks: int) -> None:
        """Damaged blocks were thrown away."""
        with self._mutex:
            self.damaged_blocks += blocks

    def failed(self, error: Exception) -> None:
        """The disk did not take or give back a block."""
        with self._mutex:
            self.failures += 1
            self.last_failure = str(error)
