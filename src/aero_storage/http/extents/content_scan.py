"""Finds the zeros of a content that passes, once and in order (http.md §14). Pure."""

from __future__ import annotations

import attrs
from typing_extensions import Buffer

from aero_storage.http.extents.extents import Extents, ExtentsBuilder
from aero_storage.http.extents.selection import DEFAULT_UNIT

_LONGEST = 1 << 20
_ZEROS = bytes(_LONGEST)


@attrs.define(eq=False)
class ContentScan:
    """Is fed all pieces of a content of `size` bytes; takes at most 0.1 ms of each MiB, SHA-256 six times as long."""

    size: int
    _at: int = attrs.field(init=False, default=0)
    _data: ExtentsBuilder = attrs.field(init=False)

    @_data.default
    def _none_yet(self) -> ExtentsBuilder:
        return ExtentsBuilder(self.size, DEFAULT_UNIT)

    def feed(self, piece: Buffer) -> None:
        """Look at the next piece."""
        view = memoryview(piece).cast("B")
        for start in range(0, len(view), _LONGEST):
            part = view[start : start + _LONGEST]
            if not _ZEROS.startswith(part):
                self._look(part)
            self._at += len(part)

    def _look(self, part: memoryview) -> None:
        """Add the blocks of a part that are not all zeros; blocks count from the beginning of the content."""
        start, data = 0, -1
        for end in self._ends_of_blocks(len(part)):
            if part[start] or not _ZEROS.startswith(part[start:end]):  # the first byte tells of most data
                data = start if data < 0 else data
            elif data >= 0:
                self._data.add(self._at + data, self._at + start)
                data = -1
            start = end
        if data >= 0:
            self._data.add(self._at + data, self._at + len(part))

    def _ends_of_blocks(self, length: int) -> list[int]:
        first = DEFAULT_UNIT - self._at % DEFAULT_UNIT
        return [*range(first, length, DEFAULT_UNIT), length]

    def finish(self) -> Extents:
        """Return the extents of all that was fed; the rest, if it ended early, counts as data."""
        if self._at < self.size:
            self._data.add(self._at, self.size)
        return self._data.finish()
