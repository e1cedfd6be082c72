"""The units that at least half of the sessions read: medians of times, and shares (http.md §15). Pure."""

from __future__ import annotations

import struct
from bisect import bisect_left, insort
from collections.abc import Iterator

import attrs

from aero_storage.profiles.covered import CoveredUnits
from aero_storage.profiles.ranges import ProfileRange
from aero_storage.profiles.record_sort import RecordSorter

_EDGE = struct.Struct(">Q?Q")
EDGE_BYTES = _EDGE.size
"""Length of a record: a unit, whether a session begins to cover the image there or ends to, and the time."""


@attrs.define(eq=False)
class UnitTimes:
    """The times at which sessions read units: both edges of each part that a session has read, sorted by units."""

    _edges: RecordSorter
    sessions: int = attrs.field(init=False, default=0)

    def add(self, units: CoveredUnits) -> None:
        """Take the units of one session."""
        self.sessions += 1
        for first, after, milliseconds in units.parts:
            self._edges.add(_EDGE.pack(first, True, milliseconds))  # noqa: FBT003 - a field of the record
            self._edges.add(_EDGE.pack(after, False, milliseconds))  # noqa: FBT003 - likewise

    def common(self) -> Iterator[ProfileRange]:
        """Yield, in the order of units, what at least half of the sessions read."""
        times, place = list[int](), 0
        for record in self._edges.sorted():
            unit, begins, milliseconds = _EDGE.unpack(record)
            if unit > place and times and 2 * len(times) >= self.sessions:
                yield ProfileRange(place, unit - place, _median(times), 100 * len(times) // self.sessions)
            place = unit
            if begins:
                insort(times, milliseconds)
            else:
                del times[bisect_left(times, milliseconds)]


def _median(times: list[int]) -> int:
    """Return the median of sorted times, rounded down."""
    middle = len(times) // 2
    return times[middle] if len(times) % 2 else (times[middle - 1] + times[middle]) // 2
