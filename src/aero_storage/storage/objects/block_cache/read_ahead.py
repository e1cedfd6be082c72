"""How far a stream reads ahead: nothing at first, then 1, 2, 4 and 8 blocks, as long as it reads in order."""

from __future__ import annotations

import attrs

MOST_AHEAD = 8
"""Blocks; 1 MiB × 8 had 0.7 of the speed of curl's single stream, 1 MiB × 1 had 0.3."""


@attrs.define
class ReadAhead:
    """The read-ahead of one stream over `count` blocks."""

    _count: int
    depth: int = attrs.field(init=False, default=0)
    end: int = attrs.field(init=False, default=0)
    """Blocks below this number have been asked for."""
    _last: int = attrs.field(init=False, default=-2)
    """The block that the stream has come to."""

    def missed(self, first: int, last: int) -> range:
        """The stream waits for blocks `first` to `last`; return those to be read ahead."""
        in_order = first in (self._last, self._last + 1)
        if not in_order:
            self.depth, self.end = 0, 0
        elif last > self._last:
            self.depth = min(2 * self.depth or 1, MOST_AHEAD)
        self._last = last
        return self._up_to(last + self.depth)

    def passed(self, last: int) -> range:
        """The stream reads on, as far as `last`, without waiting; return the blocks to be read ahead.

        They are asked for by half windows: one block at a time would make a read-ahead of one.
        """
        if not self.depth or not self._last < last < self.end:
            return range(0)
        self._last = last
        if self.end - last - 1 > self.depth // 2:
            return range(0)
        self.depth = min(2 * self.depth, MOST_AHEAD)
        return self._up_to(last + self.depth)

    def stop(self) -> range:
        """The client has gone; return the blocks that are wanted no longer."""
        unwanted = range(self._last + 1, self.end)
        self.depth, self.end, self._last = 0, 0, -2
        return unwanted

    def _up_to(self, last: int) -> range:
        begin, self.end = max(self.end, self._last + 1), max(self.end, min(last + 1, self._count))
        return range(begin, self.end)
