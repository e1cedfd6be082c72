"""The lines that are written to a log from now on, across rotations."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import attrs

from aero_storage.errors import OperatorError
from aero_storage.profiles.log_lines import MOST_LINE_BYTES

BEFORE_BYTES = 16 * 1024 * 1024
"""So much of what was written before is read too: it tells which sessions are under way."""

_PIECE = 1024 * 1024


@attrs.define(eq=False)
class _OpenLog:
    """A file that grows, or is truncated in place."""

    descriptor: int
    _begun: bytes = attrs.field(init=False, default=b"")
    """The beginning of a line whose end is not written yet."""

    def skip(self) -> None:
        """Leave out what was written long before."""
        size = os.fstat(self.descriptor).st_size
        if size > BEFORE_BYTES:
            os.lseek(self.descriptor, size - BEFORE_BYTES, os.SEEK_SET)
            while (piece := os.read(self.descriptor, MOST_LINE_BYTES)) and b"\n" not in piece:
                pass
            os.lseek(self.descriptor, -len(piece.partition(b"\n")[2]), os.SEEK_CUR)

    def lines(self) -> Iterator[bytes]:
        """Yield the whole lines that were written since the last call."""
        if os.fstat(self.descriptor).st_size < os.lseek(self.descriptor, 0, os.SEEK_CUR):
            os.lseek(self.descriptor, 0, os.SEEK_SET)  # truncated
            self._begun = b""
        while piece := os.read(self.descriptor, _PIECE):
            *whole, self._begun = (self._begun + piece).split(b"\n")
            self._begun = self._begun[: MOST_LINE_BYTES + 1]
            yield from whole


@attrs.define(eq=False)
class LogTail:
    """The end of the log `path`: a file that grows, is renamed for a new one, or is truncated in place."""

    path: Path
    _current: _OpenLog = attrs.field(init=False)
    _last: _OpenLog | None = attrs.field(init=False, default=None)
    """The file before the last rotation: the daemon may go on writing to it until it is told of the new one."""

    def __attrs_post_init__(self) -> None:
        self._current = self._opened()
        self._current.skip()

    def _opened(self) -> _OpenLog:
        descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OperatorError(f"{self.path} is no regular file; name the file that the daemon's log goes to")
        return _OpenLog(descriptor)

    def lines(self) -> Iterator[bytes]:
        """Yield the whole lines that were written since the last call. Raises OSError."""
        if self._last is not None:
            yield from self._last.lines()
        yield from self._current.lines()
        if self._is_replaced():
            yield from self._current.lines()  # written before the rename
            self._rotate()
            yield from self._current.lines()

    def _rotate(self) -> None:
        new = self._opened()
        if self._last is not None:
            os.close(self._last.descriptor)
        self._last, self._current = self._current, new

    def _is_replaced(self) -> bool:
        with suppress(FileNotFoundError):  # between two files
            return not os.path.samestat(self.path.stat(), os.fstat(self._current.descriptor))
        return False

    def close(self) -> None:
        """Close the files."""
        for one in (self._last, self._current):
            if one is not None:
                os.close(one.descriptor)
