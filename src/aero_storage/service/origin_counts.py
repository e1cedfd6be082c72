"""Counts requests to an origin, in the threads that make them, and passes them on to the metrics."""

from __future__ import annotations

from threading import Lock

import attrs
from typing_extensions import override

from aero_storage.metrics import Counts
from aero_storage.metrics.counts import empty_row, observe
from aero_storage.storage.objects.block_cache.counts import CacheCounts
from aero_storage.storage.objects.origin import Observer

_OPERATIONS = ("get", "head", "list")
_RESULTS = ("ok", "not_found", "changed", "throttled", "timeout", "denied", "error")
_SILENT = frozenset({"timeout", "error"})


def _zeros() -> dict[tuple[str, ...], float]:
    return {(operation, result): 0 for operation in _OPERATIONS for result in _RESULTS}


@attrs.define(eq=False)
class OriginCounts(Observer):
    """The requests of this process to its origin."""

    cached: CacheCounts | None = None
    """Those of its block cache, if it has one."""
    _requests: dict[tuple[str, ...], float] = attrs.field(init=False, factory=_zeros)
    _seconds: dict[tuple[str, ...], list[float]] = attrs.field(init=False)
    _bytes: float = attrs.field(init=False, default=0)
    _last: str = attrs.field(init=False, default="timeout")
    _lock: Lock = attrs.field(init=False, factory=Lock)

    def __attrs_post_init__(self) -> None:
        self._seconds = {(operation,): empty_row() for operation in _OPERATIONS}

    @override
    def requested(self, operation: str, result: str, seconds: float, size: int) -> None:
        with self._lock:
            key = operation, result
            self._requests[key] = self._requests.get(key, 0) + 1
            observe(self._seconds.setdefault((operation,), empty_row()), seconds)
            self._bytes += size
            self._last = result

    @property
    def is_up(self) -> bool:
        """Whether the origin gave an answer of its own when it was last asked."""
        return self._last not in _SILENT

    def put_into(self, counts: Counts) -> None:
        """Put the numbers as they are now into the counts of this process."""
        with self._lock:
            counts.origin_requests = dict(self._requests)
            counts.origin_durations = {labels: [*row] for labels, row in self._seconds.items()}
            counts.origin_bytes = {(): self._bytes}
        cached = self.cached
        if cached is not None:
            counts.cache_requests = {(result.value,): count for result, count in cached.requests.items()}
            counts.cache_evicted = {(): cached.evicted_bytes}
            counts.cache_damaged = {(): cached.damaged_blocks}
