"""Count the bytes that the kernel has taken: a mixin for Twisted's socket transports."""

from __future__ import annotations

import fcntl
import select
import socket
import struct
import termios
from collections.abc import Callable

from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred
from typing_extensions import override

from aero_storage.linux.tcp_info import max_unacknowledged_read

_CLOSE_BY_RST, _CLOSE_BY_FIN = struct.pack("ii", 1, 0), struct.pack("ii", 0, 0)
"""Values of SO_LINGER: the kernel closes the connection with RST, or with FIN."""


class FlushTracking(FileDescriptor):
    """Counts unsent bytes and fires a Deferred when there are none."""

    socket: socket.socket

    _flushed: Deferred[None] | None = None
    _writing = False
    _lingers = _CLOSE_BY_FIN
    """How the kernel closes the connection."""
    taken = 0
    """Bytes that the kernel has accepted."""
    on_taken: Callable[[], object] | None = None
    """Called when the kernel has accepted some of what had to wait."""

    @property
    def unsent(self) -> int:
        """Bytes written that the kernel has not accepted yet."""
        return len(self.dataBuffer) - self.offset + self._tempDataLen

    @override
    def writeSomeData(self, data: bytes) -> int | BaseException:
        result = super().writeSomeData(data)
        if isinstance(result, int) and result > 0:
            self.taken += result
            if self.on_taken is not None:
                self.on_taken()
        return result

    def progress(self) -> int | None:
        """Return how many bytes the peer has acknowledged; None if none are outstanding."""
        unacknowledged = outstanding(self.fileno())
        return self.taken - unacknowledged if unacknowledged else None

    def acknowledged(self) -> int:
        """Return how many bytes the peer has acknowledged."""
        return self.taken - outstanding(self.fileno())

    def max_unacknowledged_read(self) -> int:
        """Return an upper bound on the bytes read but not acknowledged; 0 if the peer's system does not answer."""
        return max_unacknowledged_read(self.socket, self.acknowledged())

    def is_writable(self) -> bool:
        """Return whether the reactor would call `doWrite` now; a connection that is lost is, too."""
        if not self.connected:
            return True
        writable = select.poll()
        writable.register(self.fileno(), select.POLLOUT)
        return bool(writable.poll(0))

    def when_drained(self) -> Deferred[None]:
        """Return a Deferred that fires once nothing is unsent; cancel it if the connection is lost first."""
        flushed: Deferred[None] = Deferred(lambda _: setattr(self, "_flushed", None))
        if self.unsent:
            self._flushed = flushed
        else:
            flushed.callback(None)
        return flushed

    def mark_unfinished(self) -> None:
        """Have the kernel reset the connection if this process is killed before `mark_finished`.

        Without it the kernel would send FIN, as after a complete response.
        """
        self._linger(_CLOSE_BY_RST)

    def mark_finished(self) -> None:
        """Have the kernel close with FIN again: the response is complete."""
        self._linger(_CLOSE_BY_FIN)

    def _linger(self, option: bytes) -> None:
        if self.connected and option != self._lingers:
            self._lingers = option
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, option)

    @override
    def doWrite(self) -> object:
        result: object = super().doWrite()
        self._notify_if_flushed()
        return result

    def _notify_if_flushed(self) -> None:
        flushed = self._flushed
        if flushed is not None and not self.unsent:
            self._flushed = None
            flushed.callback(None)

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


def outstanding(descriptor: int) -> int:
    """Return the bytes in the socket that the peer has not acknowledged (tcp(7), unix(7): SIOCOUTQ = TIOCOUTQ)."""
    try:
        (count,) = struct.unpack("i", fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4)))
    except (OSError, ValueError):  # no longer connected
        return 0
    return int(count)
