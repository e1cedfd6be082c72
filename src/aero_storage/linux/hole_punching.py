"""Gives the space of a range of a file back (FALLOC_FL_PUNCH_HOLE, fallocate(2)); the range reads as zeros then."""

from __future__ import annotations

import ctypes
import errno
import os

_KEEP_SIZE, _PUNCH_HOLE = 0x1, 0x2


def punch_hole(descriptor: int, offset: int, length: int) -> None:
    """Free `length` > 0 bytes from `offset` on. Raises OSError (EOPNOTSUPP if the system cannot). May wait."""
    if _fallocate is None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
    if _fallocate(descriptor, _PUNCH_HOLE | _KEEP_SIZE, offset, length):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


_fallocate = getattr(ctypes.CDLL(None, use_errno=True), "fallocate", None)  # of Linux alone
if _fallocate is not None:
    _fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
