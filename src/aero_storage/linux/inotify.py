"""Watches open files for changes in place (inotify(7)).

A file is watched by its descriptor, through `/proc/self/fd`, never by its path: a watch belongs to the inode that is
open, whatever is renamed meanwhile, and all open files of one inode share it. Writes, truncation and allocation raise
an event. Stores to a mapping of the file raise none.

Twisted's reader for inotify watches paths, and hides that the kernel has dropped events.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Callable

import attrs
from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

_IN_MODIFY, _IN_Q_OVERFLOW = 0x2, 0x4000
_EVENT = struct.Struct("iIII")
"""Watch, mask, cookie, and length of the name behind it, which a file has not."""

_READ_BYTES = 64 * 1024
_CLOSED = -1

Changed = Callable[[frozenset[int] | None], object]
"""Called with the watches whose files have changed; with None if events were dropped, so that any may have."""


@implementer(IReadDescriptor)
@attrs.define(eq=False)
class Inotify:
    """One inotify instance, read by a reactor between `start` and `stop`.

    Nothing here waits: the calls keep the GIL (PyDLL), as getting it back may take milliseconds.
    """

    _reactor: IReactorFDSet
    error: str | None = attrs.field(init=False, default=None)
    """Why a file could not be watched last."""
    _descriptor: int = attrs.field(init=False, default=_CLOSED)
    _changed: Changed | None = attrs.field(init=False, default=None)

    def start(self, changed: Changed) -> None:
        """Begin to report changes. Without inotify, or with too many instances, no file can be watched."""
        self._changed = changed
        self._descriptor = self._result("inotify_init1", os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor != _CLOSED:
            self._reactor.addReader(self)

    def stop(self) -> None:
        """Remove all watches."""
        if self._descriptor != _CLOSED:
            self._reactor.removeReader(self)
            os.close(self._descriptor)
            self._descriptor = _CLOSED

    def add(self, descriptor: int) -> int | None:
        """Watch an open file; return its watch, which is that of all open files of its inode.

        None if it cannot be watched: `error` says why.
        """
        if self._descriptor == _CLOSED:
            return None
        path = b"/proc/self/fd/%d" % descriptor
        watch = self._result("inotify_add_watch", self._descriptor, path, ctypes.c_uint32(_IN_MODIFY))
        return None if watch == _CLOSED else watch

    def remove(self, watch: int) -> None:
        """Remove a watch; numbers of watches are not used again."""
        if self._descriptor != _CLOSED:
            self._result("inotify_rm_watch", self._descriptor, watch)

    def _result(self, name: str, *arguments: object) -> int:
        try:
            result: int = getattr(_LIBC, name)(*arguments)
        except AttributeError:
            self.error = "the system has no inotify"
            return _CLOSED
        if result < 0:
            self.error = os.strerror(ctypes.get_errno())
        return result

    # IReadDescriptor

    def fileno(self) -> int:
        """Return the descriptor of the instance."""
        return self._descriptor

    def logPrefix(self) -> str:
        """Return what Twisted's log calls it."""
        return "inotify"

    def doRead(self) -> None:
        """Read events."""
        try:
            data = os.read(self._descriptor, _READ_BYTES)
        except BlockingIOError:
            return
        changed = changed_in(data)
        if self._changed is not None and (changed is None or changed):
            self._changed(changed)

    def connectionLost(self, reason: Failure) -> None:
        """Do nothing: the reactor ends, `stop` closes."""


def changed_in(data: bytes) -> frozenset[int] | None:
    """Return the watches in `data`, as inotify writes it, whose files have changed; None if events were dropped."""
    changed, at = set(), 0
    while at < len(data):
        watch, mask, _cookie, name_length = _EVENT.unpack_from(data, at)
        at += _EVENT.size + name_length
        if mask & _IN_Q_OVERFLOW:
            return None
        if mask & _IN_MODIFY:
            changed.add(watch)
    return frozenset(changed)


_LIBC = ctypes.PyDLL(None, use_errno=True)
