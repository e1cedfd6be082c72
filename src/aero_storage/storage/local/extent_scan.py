"""Finds the holes of a local file, some at a time, so that other work on its disk has its turns (http.md §14)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice

import attrs

from aero_storage.errors import ImageChangedError
from aero_storage.http.dates import NANOSECONDS
from aero_storage.http.extents.extents import Extents, ExtentsBuilder
from aero_storage.linux.sparse_files import data_extents
from aero_storage.storage.local.local_blob import LocalBlob

EXTENTS_AT_ONCE = 1024
"""Extents of one step: 2 ms if the file system has their places in memory, 20 s of a slow disk at the worst."""

SETTLED_NS = 2 * NANOSECONDS
"""A file that was not changed for so long has a ctime of another tick, even if the clock of a file server is late."""


@attrs.define(eq=False)
class ExtentScan:
    """A scan of an open file, which it closes; `_now_ns` is the time of day.

    All but `lane` and `is_young` may wait for a disk: call it in a thread.
    """

    _blob: LocalBlob
    _now_ns: int
    is_young: bool = attrs.field(init=False)
    """Whether the next write may leave ctime as it is; wait for some ticks of the clock before the first step."""
    _builder: ExtentsBuilder = attrs.field(init=False)
    _found: Iterator[tuple[int, int]] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.is_young = self._now_ns - os.fstat(self._blob.fileno()).st_ctime_ns <= SETTLED_NS
        self._builder = ExtentsBuilder(self._blob.size)
        self._found = data_extents(self._blob.fileno(), 0, self._blob.size)

    @property
    def lane(self) -> int:
        """The lane of the file's disk."""
        return self._blob.lane

    def step(self) -> Extents | None:
        """Look on; return all extents once the file has no more. Raises ImageChangedError, OSError."""
        self._blob.hold()  # a step that hangs is given up, and the file closed, while the step goes on
        try:
            return self._step()
        finally:
            self._blob.release()

    def _step(self) -> Extents | None:
        number = 0
        for first, after in islice(self._found, EXTENTS_AT_ONCE):
            self._builder.add(first, after)
            number += 1
        if number == EXTENTS_AT_ONCE:
            return None
        if not self._blob.is_untouched():
            raise ImageChangedError(f"{self._blob.name}: the file has changed")
        return self._builder.finish()

    def close(self) -> None:
        """Close the file."""
        self._blob.close()
