"""The ranges of a boot profile: joined, limited in number and in bytes (http.md §15). Pure."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import attrs

MOST_RANGES = 4096
"""Limit of the ranges of a profile."""


@attrs.frozen
class ProfileRange:
    """Neighbouring units that sessions read: the first one, and how many they are."""

    start: int
    count: int
    milliseconds: int
    """Median time from the start of a session to the read, the earliest of its units."""
    percent: int
    """Share of the sessions that read it, the lowest of its units."""

    @property
    def end(self) -> int:
        """The first unit behind it."""
        return self.start + self.count

    def size(self, unit: int, size_bytes: int) -> int:
        """Return its bytes in an image of a size; the last unit may be cut."""
        return min(self.end * unit, size_bytes) - self.start * unit


def arrange(ranges: Iterable[ProfileRange], unit: int, size_bytes: int, most_bytes: int) -> tuple[ProfileRange, ...]:
    """Return the ranges of a profile, from ranges in the order of their starts that do not overlap."""
    return tuple(_cut(_in_time(_limited([*join_neighbours(ranges)])), unit, size_bytes, most_bytes))


def join_neighbours(ranges: Iterable[ProfileRange]) -> Iterator[ProfileRange]:
    """Yield ranges with a gap between each two."""
    last: ProfileRange | None = None
    for one in ranges:
        if last is None:
            last = one
        elif last.end == one.start:
            last = _joined(last, one)
        else:
            yield last
            last = one
    if last is not None:
        yield last


def _joined(first: ProfileRange, second: ProfileRange) -> ProfileRange:
    """Join two ranges, and the gap between them."""
    return ProfileRange(
        first.start,
        second.end - first.start,
        min(first.milliseconds, second.milliseconds),
        min(first.percent, second.percent),
    )


def _limited(ranges: Sequence[ProfileRange]) -> list[ProfileRange]:
    """Close the smallest gaps until there are no more than MOST_RANGES; of equal gaps the first ones."""
    gaps = ((after.start - before.end, number) for number, (before, after) in enumerate(pairwise(ranges), 1))
    closed = {number for _, number in heapq.nsmallest(len(ranges) - MOST_RANGES, gaps)}
    found = list[ProfileRange]()
    for number, one in enumerate(ranges):
        if number in closed:
            found[-1] = _joined(found[-1], one)
        else:
            found.append(one)
    return found


def _in_time(ranges: Iterable[ProfileRange]) -> list[ProfileRange]:
    return sorted(ranges, key=lambda one: (one.milliseconds, one.start))


def _cut(ranges: Iterable[ProfileRange], unit: int, size_bytes: int, most_bytes: int) -> Iterator[ProfileRange]:
    """Yield ranges up to a number of bytes; of the last one its first units."""
    left = most_bytes
    for one in ranges:
        size = one.size(unit, size_bytes)
        if size > left:
            if left >= unit:
                yield attrs.evolve(one, count=left // unit)
            return
        yield one
        left -= size
