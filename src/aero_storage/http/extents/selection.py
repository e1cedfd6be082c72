"""A part of an image's extents in units, as an answer tells it: pairs of gap and length (http.md §14). Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import islice

import attrs

from aero_storage.http.extents.extents import Extents

DEFAULT_UNIT = 4096
MOST_EXTENTS = 65_536
"""Extents of one answer; of more, the unit is doubled until they fit."""


@attrs.frozen
class Part:
    """A part that is asked for: the unit, and the bytes from `offset` on, `length` of them or all. In bytes."""

    unit: int = DEFAULT_UNIT
    offset: int = 0
    length: int | None = None

    def window(self, size: int, unit: int) -> tuple[int, int]:
        """Return the first unit that the bytes touch, and the one after the last; equal if there are none."""
        end = size if self.length is None else min(size, self.offset + self.length)
        first = self.offset // unit
        return (first, -(-end // unit)) if self.offset < end else (first, first)


@attrs.frozen
class Selection:
    """Extents in units of `unit` bytes."""

    unit: int
    pairs: list[int]
    """Gap and length of each, in turn; a gap counts from the end of the extent before, the first from byte 0."""
    data_bytes: int
    """The bytes of the extents, the last cut at the end of the image."""


def select(extents: Extents, part: Part, most: int = MOST_EXTENTS) -> Selection:
    """Return the extents of a part, in its unit or, if that makes more than `most`, in the next double that does not.

    Extents that were too many to be kept are not told in a unit below their granule.
    """
    unit = part.unit
    while unit < extents.granule or (pairs := _pairs(extents, part.window(extents.size, unit), unit, most)) is None:
        unit *= 2
    return Selection(unit, pairs, _data_bytes(pairs, unit, extents.size))


def _pairs(extents: Extents, window: tuple[int, int], unit: int, most: int) -> list[int] | None:
    """Return gaps and lengths in a window, None if there are more than `most` of them."""
    low, high = window
    pairs: list[int] = []
    end = 0
    for first, after in _touching(extents, low * unit):
        begin, stop = max(first // unit, low), min(-(-after // unit), high)
        if begin >= high:
            break
        if pairs and begin <= end:
            pairs[-1] += max(stop - end, 0)
        elif len(pairs) == 2 * most:
            return None
        else:
            pairs += (begin - end, stop - begin)
        end = max(end, stop)
    return pairs


def _touching(extents: Extents, offset: int) -> Iterator[tuple[int, int]]:
    """Yield the extents that end behind an offset."""
    return islice(extents.pairs(), bisect_right(extents.afters, offset), None)


def _data_bytes(pairs: list[int], unit: int, size: int) -> int:
    behind = sum(pairs) * unit - size
    return sum(pairs[1::2]) * unit - max(0, behind) if pairs else 0
