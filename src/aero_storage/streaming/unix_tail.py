"""A large body over a UNIX socket: its end is held back until all before has been read (http.md §5).

The other end is on this machine, and shares the pages that `sendfile` has sent, as over TCP (`streaming.held_tail`).
Our own end tells what has been read: the memory of each piece counts as ours until then. So no timer is needed. With
the smallest send buffer the socket becomes writable when all of it has been read.
"""

from __future__ import annotations

import socket

import attrs
from typing_extensions import override

from aero_storage.streaming.flush_tracking import outstanding
from aero_storage.streaming.held_tail import HeldTailSegment
from aero_storage.streaming.look_times import Pauses

SEND_BUFFER_BYTES = 416 * 1024
"""Memory that waiting bytes may take: twice Linux's default, and the most that it allows to all by default."""

_LEAST_SEND_BUFFER = 1
"""Linux makes 4608 of it. A socket is writable when a quarter is in use; a piece takes 768 bytes and its own."""


@attrs.define(eq=False)
class UNIXReader:
    """The program at the other end of a UNIX socket."""

    _socket: socket.socket
    pauses: Pauses = attrs.field(init=False, factory=Pauses)

    def unread(self) -> int:
        """Return the memory of the pieces that it has not read to their ends; 0 once it has closed the connection."""
        memory = outstanding(self._socket.fileno())
        return 0 if memory == 1 else memory  # Linux wakes us before it takes the last byte off (sock_wfree)

    def narrow(self) -> None:
        """Have the socket be writable only when all has been read, but for a piece of a few bytes."""
        self._set_send_buffer(_LEAST_SEND_BUFFER)

    def widen(self) -> None:
        """Have it take as much as it may."""
        self._set_send_buffer(SEND_BUFFER_BYTES)

    def _set_send_buffer(self, size: int) -> None:
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size // 2)  # Linux doubles it


@attrs.define(eq=False)
class UNIXTailSegment(HeldTailSegment):
    """A segment whose tail waits until the socket is empty."""

    _reader: UNIXReader = attrs.field(kw_only=True)
    _is_narrow: bool = attrs.field(init=False, default=False)

    @override
    def _may_release(self) -> bool:
        """Return whether all has been read; if not, the socket counts as full until it is writable.

        If it is writable already, as the last piece is so small, looks follow.
        """
        if not self.unread():
            self._release()
            return True
        if not self._is_narrow:
            self._is_narrow = True
            self._reader.narrow()
            raise BlockingIOError
        self._look_later()
        return False

    @override
    def _release(self) -> None:
        if self._is_narrow:
            self._reader.widen()
        super()._release()
