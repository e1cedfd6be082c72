"""The units that one session has read, each with the time of its first read. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

import attrs


@attrs.define(eq=False)
class CoveredUnits:
    """Units of reads that are added in the order of time."""

    _starts: list[int] = attrs.field(init=False, factory=list)
    """Of ranges that are sorted, and neither overlap nor touch."""
    _ends: list[int] = attrs.field(init=False, factory=list)
    parts: list[tuple[int, int, int]] = attrs.field(init=False, factory=list)
    """First unit, the first one behind, and time of each part that was new when it was read."""

    def add(self, first: int, after: int, time: int) -> None:
        """Take a read of units at a time."""
        low = bisect_left(self._ends, first)  # the first range that overlaps it, or touches it
        high = bisect_right(self._starts, after)
        self.parts += ((start, end, time) for start, end in self._gaps(first, after, low, high))
        if low < high:
            first, after = min(first, self._starts[low]), max(after, self._ends[high - 1])
        self._starts[low:high], self._ends[low:high] = [first], [after]

    def _gaps(self, first: int, after: int, low: int, high: int) -> Iterator[tuple[int, int]]:
        for number in range(low, high):
            if first < self._starts[number]:
                yield first, self._starts[number]
            first = max(first, self._ends[number])
        if first < after:
            yield first, after
