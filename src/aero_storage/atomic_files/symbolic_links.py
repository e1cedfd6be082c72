"""Reads a symbolic link and its owner together, though it may be replaced meanwhile."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import attrs

_TRIES = 40


@attrs.frozen
class SymbolicLink:
    """A link: where it leads to, and whose it is."""

    target: str
    owner: int


def read_link(name: str | Path, dir_fd: int | None = None) -> SymbolicLink | None:
    """Return a symbolic link; None if it is something else. Raises OSError."""
    if not hasattr(os, "O_PATH"):
        return _read_by_name(name, dir_fd)
    descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        status = os.fstat(descriptor)
        return (
            SymbolicLink(os.readlink("", dir_fd=descriptor), status.st_uid) if stat.S_ISLNK(status.st_mode) else None
        )
    finally:
        os.close(descriptor)


def _read_by_name(name: str | Path, dir_fd: int | None) -> SymbolicLink | None:
    """Read a link without opening it (no O_PATH): it has to be the same before and after."""
    for _ in range(_TRIES):
        status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        if not stat.S_ISLNK(status.st_mode):
            return None
        target = os.readlink(name, dir_fd=dir_fd)
        after = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        if os.path.samestat(status, after) and status.st_ctime_ns == after.st_ctime_ns:
            return SymbolicLink(target, status.st_uid)
    raise OSError(errno.EBUSY, "the link changes again and again", str(name))
