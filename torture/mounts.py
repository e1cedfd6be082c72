"""Small file systems in memory, for faults of disks; only root may mount them."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_READ_ONLY = 1  # MS_RDONLY
_DETACH = 2  # MNT_DETACH


@contextmanager
def small_disk(place: Path, size: int, *, read_only: bool = False) -> Iterator[bool]:
    """Mount a tmpfs of so many bytes for the length of a with block; False where that is not allowed."""
    libc = ctypes.CDLL(None, use_errno=True)
    flags = _READ_ONLY if read_only else 0
    allowed = libc.mount(b"tmpfs", os.fsencode(place), b"tmpfs", flags, b"size=%d" % size) == 0
    try:
        yield allowed
    finally:
        if allowed:
            libc.umount2(os.fsencode(place), _DETACH)


def fill(path: Path) -> None:
    """Write to a file until there is no room."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return
