"""The data extents of a sparse file (SEEK_DATA, SEEK_HOLE); the rest are holes, which read as zeros."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

_SEEK_DATA: int | None = getattr(os, "SEEK_DATA", None)
_SEEK_HOLE: int | None = getattr(os, "SEEK_HOLE", None)
_NO_HOLES = frozenset({errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOTTY})


def data_extents(descriptor: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the data extents `(first, after)` of a file between two offsets, in order.

    A file system without support for holes reports data everywhere. The descriptor's file position changes.
    """
    position = start
    while position < end:
        first = next_data(descriptor, position)
        if first is None or first >= end:
            return
        after = min(_next_hole(descriptor, first, end), end)
        if after > first:  # a hole may have been punched in the meantime
            yield first, after
        position = after


def next_data(descriptor: int, position: int) -> int | None:
    """Return the offset of the next data at or after `position`, or None if there are only holes."""
    if _SEEK_DATA is None:
        return position
    try:
        return os.lseek(descriptor, position, _SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a hole up to the end of the file
            return None
        if error.errno in _NO_HOLES:
            return position
        raise


def _next_hole(descriptor: int, position: int, end: int) -> int:
    if _SEEK_HOLE is None:
        return end
    try:
        return os.lseek(descriptor, position, _SEEK_HOLE)
    except OSError as error:
        if error.errno == errno.ENXIO or error.errno in _NO_HOLES:  # ENXIO: the file has just become shorter
            return end
        raise
