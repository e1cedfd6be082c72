"""Where the data of a sparse file lies; the rest are holes, which read as zeros and cost nothing if left alone."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

_NO_HOLES = frozenset({errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOTTY})


def data_extents(descriptor: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The stretches `(first, after)` of a file between two offsets that hold data, in order.

    A file system that knows no holes has data everywhere. The descriptor's own position moves.
    """
    position = start
    while position < end:
        first = next_data(descriptor, position)
        if first is None or first >= end:
            return
        after = min(_next_hole(descriptor, first, end), end)
        if after > first:  # it may have become a hole just now
            yield first, after
        position = after


def next_data(descriptor: int, position: int) -> int | None:
    """Where the next byte of data lies from `position` on, or None if there are only holes."""
    try:
        return os.lseek(descriptor, position, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a hole up to the end of the file
            return None
        if error.errno in _NO_HOLES:
            return position
        raise


def _next_hole(descriptor: int, position: int, end: int) -> int:
    try:
        return os.lseek(descriptor, position, os.SEEK_HOLE)
    except OSError as error:
        if error.errno == errno.ENXIO or error.errno in _NO_HOLES:  # the former: the file has just become shorter
            return end
        raise
