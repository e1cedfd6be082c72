"""Limits of the content that is unpacked or fetched: its size, and the room that the disk has to keep."""

from __future__ import annotations

import os

import attrs

from aero_storage.cli.sizes import format_size
from aero_storage.cli.sources.stream import Stream
from aero_storage.errors import OperatorError

MAX_SIZE = 1 << 40
"""Default of `--max-size`: 1 TiB."""

_STEP = 64 * 1024 * 1024  # between two looks at the file system
_MOST_KEPT = 1 << 30
_KEPT_SHARE = 20


def require_size(name: str, size: int, max_size: int) -> None:
    """Raise OperatorError if the content is longer than `--max-size` allows."""
    if size > max_size:
        raise OperatorError(
            f"{name}: holds more than {format_size(max_size)}; if it is no bomb, allow it with --max-size SIZE"
        )


@attrs.define
class LimitedSize:
    """A stream of at most `max_size` bytes; `name` is its source in messages. Raises OperatorError behind them."""

    name: str
    max_size: int
    _stream: Stream
    _count: int = attrs.field(init=False, default=0)

    def read(self, most: int, /) -> bytes:
        """Return the next bytes."""
        data = self._stream.read(most)
        self._count += len(data)
        require_size(self.name, self._count, self.max_size)
        return data


@attrs.define
class FreeSpace:
    """Keeps a part of a file system free: a twentieth, at most 1 GiB. `descriptor` is of anything on it."""

    descriptor: int
    _granted: int = attrs.field(init=False, default=0)
    """Bytes that may be written before the next look."""

    def take(self, count: int) -> None:
        """Ask before `count` bytes are written. Raises OperatorError if the file system would get too full."""
        if count > self._granted:
            self._granted = max(count, min(_STEP, self.require(count)))
        self._granted -= count

    def require(self, count: int = 0) -> int:
        """Return how many bytes may be written now. Raises OperatorError if it is less than `count`."""
        status = os.fstatvfs(self.descriptor)
        free = status.f_bavail * status.f_frsize
        kept = min(_MOST_KEPT, status.f_blocks * status.f_frsize // _KEPT_SHARE)
        if free - kept < count:
            raise OperatorError(
                f"the disk of the images root is too full: {format_size(free)} are free, of which an import "
                f"leaves {format_size(kept)}; nothing was imported, and what was written is removed again"
            )
        return free - kept
