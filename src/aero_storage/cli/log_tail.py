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
class LogTail:
    """The end of the log `path`: a file that grows, is renamed for a new one, or is truncated in place."""

    path: Path
    _descriptor: int = attrs.field(init=False)
    _begun: bytes = attrs.field(init=False, default=b"")
    """The beginning of a line whose end is not written yet."""

    def __attrs_post_init__(self) -> None:
        self._descriptor = self._opened()
        size = os.fstat(self._descriptor).st_size
        if size > BEFORE_BYTES:
            os.lseek(self._descriptor, size - BEFORE_BYTES, os.SEEK_SET)
            while (piece := os.read(self._descriptor, MOST_LINE_BYTES)) and b"\n" not in piece:
                pass
            os.lseek(self._descriptor, -len(piece.partition(b"\n")[2]), os.SEEK_CUR)

    def _opened(self) -> int:
        descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OperatorError(f"{self.path} is no regular file; name the file that the daemon's log goes to")
        return descriptor

    def lines(self) -> Iterator[bytes]:
        """Yield the whole lines that were written since the last call. Raises OSError."""
        yield from self._rest()
        if self._is_replaced():
            yield from self._rest()  # written before the rename
            new = self._opened()
            self.close()
            self._descriptor, self._begun = new, b""
            yield from self._rest()

    def _rest(self) -> Iterator[bytes]:
        if os.fstat(self._descriptor).st_size < os.lseek(self._descriptor, 0, os.SEEK_CUR):
            os.lseek(self._descriptor, 0, os.SEEK_SET)  # truncated
            self._begun = b""
        while piece := os.read(self._descriptor, _PIECE):
            *whole, self._begun = (self._begun + piece).split(b"\n")
            self._begun = self._begun[: MOST_LINE_BYTES + 1]
            yield from whole

    def _is_replaced(self) -> bool:
        with suppress(FileNotFoundError):  # between two files
            return not os.path.samestat(self.path.stat(), os.fstat(self._descriptor))
        return False

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)
