"""Locks of byte ranges that belong to an open file description (F_OFD_SETLK, fcntl(2)).

All descriptors that were duplicated or inherited from one `open` share its locks. The kernel gives them back when the
last of them is closed, also after a kill -9. Two descriptions conflict within a process as between processes; two
users of one description do not, and the first `unlock` takes the lock from both.

No call here waits: a lock that another description holds is not taken.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct

import attrs

_SETLK: int = getattr(fcntl, "F_OFD_SETLK", 37)
_FLOCK = struct.Struct("hhqqi4x")
"""Type, whence, start, length, and the process, which has to be 0."""

_TAKEN = frozenset({errno.EAGAIN, errno.EACCES})


def lock_shared(descriptor: int, start: int, length: int = 1) -> bool:
    """Take the shared lock of some bytes; return False if another description has an exclusive one.

    Raises OSError if the file system has no such locks, or the system has none left.
    """
    return _set(descriptor, fcntl.F_RDLCK, start, length)


def lock_exclusive(descriptor: int, start: int, length: int = 1) -> bool:
    """Take the exclusive lock of some bytes; return False if another description has any. Raises the same."""
    return _set(descriptor, fcntl.F_WRLCK, start, length)


def _set(descriptor: int, kind: int, start: int, length: int) -> bool:
    try:
        fcntl.fcntl(descriptor, _SETLK, _FLOCK.pack(kind, os.SEEK_SET, start, length, 0))
    except OSError as error:
        if error.errno in _TAKEN:
            return False
        raise
    return True


class _Flock(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_short),
        ("whence", ctypes.c_short),
        ("start", ctypes.c_int64),
        ("length", ctypes.c_int64),
        ("process", ctypes.c_int),
    )


@attrs.define(eq=False)
class SharedLock:
    """The shared lock of a range of one description, for the reactor's thread: one range at a time.

    The calls keep the GIL (PyDLL): getting it back may take milliseconds, and they take two microseconds.
    """

    _descriptor: int
    _flock: _Flock = attrs.field(init=False, factory=_Flock)
    _at: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._at = ctypes.addressof(self._flock)

    def acquire(self, start: int, length: int) -> bool:
        """Take the lock; return False if another description has an exclusive one, or the system none left."""
        flock = self._flock
        flock.type, flock.start, flock.length = fcntl.F_RDLCK, start, length
        return not _fcntl(self._descriptor, _SETLK, self._at)

    def release(self) -> None:
        """Give back what `acquire` took."""
        self._flock.type = fcntl.F_UNLCK
        _fcntl(self._descriptor, _SETLK, self._at)


_fcntl = ctypes.PyDLL(None).fcntl
_fcntl.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_void_p)
