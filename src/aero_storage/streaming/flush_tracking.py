"""Knowing what has left: a mixin for Twisted's socket transports."""

from __future__ import annotations

import fcntl
import socket
import struct
import termios

from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred
from typing_extensions import override

from aero_storage.linux.tcp_info import max_unacknowledged_read

_RESET, _END = struct.pack("ii", 1, 0), struct.pack("ii", 0, 0)
"""What the kernel does with a connection that is closed (SO_LINGER)."""


class FlushTracking(FileDescriptor):
    """Counts what is unsent, and calls back when it is nothing."""

    socket: socket.socket

    _drained: Deferred[None] | None = None
    _writing = False
    taken = 0
    """Bytes that the kernel has taken."""

    @property
    def unsent(self) -> int:
        """Bytes that were written and are not with the kernel."""
        return len(self.dataBuffer) - self.offset + self._tempDataLen

    @override
    def writeSomeData(self, data: bytes) -> int | BaseException:
        result = super().writeSomeData(data)
        if isinstance(result, int) and result > 0:
            self.taken += result
        return result

    def progress(self) -> int | None:
        """How many bytes the peer has acknowledged; None if it has all that the kernel was given."""
        outstanding = _outstanding(self.fileno())
        return self.taken - outstanding if outstanding else None

    def max_unacknowledged_read(self) -> int:
        """The most bytes that the peer may have read since it made progress; 0 if its system does not answer."""
        return max_unacknowledged_read(self.socket, self.taken - _outstanding(self.fileno()))

    def when_drained(self) -> Deferred[None]:
        """Fires once nothing is unsent; never, if the connection is lost first: cancel it then."""
        drained: Deferred[None] = Deferred(lambda _: setattr(self, "_drained", None))
        if self.unsent:
            self._drained = drained
        else:
            drained.callback(None)
        return drained

    def mark_unfinished(self) -> None:
        """See to it that the connection is reset if this process is killed before `mark_finished`.

        The kernel would say FIN for it, as after a last byte.
        """
        self._linger(_RESET)

    def mark_finished(self) -> None:
        """What was begun is whole."""
        self._linger(_END)

    def _linger(self, how: bytes) -> None:
        if self.connected:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, how)

    @override
    def doWrite(self) -> object:
        result: object = super().doWrite()
        self._tell_if_drained()
        return result

    def _tell_if_drained(self) -> None:
        drained = self._drained
        if drained is not None and not self.unsent:
            self._drained = None
            drained.callback(None)

    @override
    def startWriting(self) -> None:

        if not self._writing:
            self._writing = True
            super().startWriting()

    @override
    def stopWriting(self) -> None:
        if self._writing:
            self._writing = False
            super().stopWriting()


def _outstanding(descriptor: int) -> int:
    """Bytes in the socket that the peer has not acknowledged (tcp(7), unix(7): SIOCOUTQ, which is TIOCOUTQ)."""
    try:
        (count,) = struct.unpack("i", fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4)))
    except (OSError, ValueError):  # not connected any more
        return 0
    return int(count)
