"""Keeps a file system from being filled up: writers ask before, and other programs are watched while they write."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol

import attrs

from aero_storage.errors import OperatorError

IMAGES_ROOT = "the disk of the images root"

RESERVE = 256 * 1024 * 1024
"""So many bytes stay free; of a file system of less than 5 GiB a twentieth."""

WATCH_SECONDS = 0.02
"""Time between two looks while another program writes: at 3 GB/s that is a quarter of RESERVE."""

_SHARE = 20
_STEP = 8 * 1024 * 1024  # written between two looks
_MIB = 1024 * 1024


class FileSystemStatus(Protocol):
    """The part of the result of `os.statvfs` that is needed."""

    @property
    def f_frsize(self) -> int:
        """Bytes of a block."""

    @property
    def f_blocks(self) -> int:
        """Blocks of the file system."""

    @property
    def f_bavail(self) -> int:
        """Free blocks for users without privileges."""


@attrs.define
class FreeSpace:
    """The free space of a file system, by `look`, above what stays free. Raises OperatorError if it is used up."""

    _look: Callable[[], FileSystemStatus]
    disk: str = IMAGES_ROOT
    """Its name in messages."""
    _granted: int = attrs.field(init=False, default=0)
    """Bytes that may be written before the next look."""

    @classmethod
    def around(cls, descriptor: int, disk: str = IMAGES_ROOT) -> FreeSpace:
        """Return the free space of the file system that an open file is on; messages call it `disk`."""
        return cls(lambda: os.fstatvfs(descriptor), disk)

    def take(self, count: int) -> None:
        """Ask before `count` bytes are written."""
        if count > self._granted:
            self._granted = max(count, min(_STEP, self.require(count)))
        self._granted -= count

    def require(self, count: int = 0) -> int:
        """Return how many bytes may be written now, at least `count`."""
        status = self._look()
        free = status.f_bavail * status.f_frsize
        kept = min(RESERVE, status.f_blocks * status.f_frsize // _SHARE)
        if free - kept < count:
            needed = f", and {_shown(count)} are needed" if count > _STEP else ""
            raise OperatorError(
                f"{self.disk} is too full: {_shown(free)} are free, of which {_shown(kept)} stay free"
                f"{needed}; nothing was changed, and what was written is removed again"
            )
        return free - kept


def _shown(count: int) -> str:
    """Return whole MiB: the sizes of the message are compared, and in other units they could look the same."""
    return f"{count / _MIB:,.0f} MiB"
