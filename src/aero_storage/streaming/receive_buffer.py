"""Reading from TCP with one buffer for all connections."""

from __future__ import annotations

import errno

from twisted.internet import tcp
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from typing_extensions import override

_BUFFER = memoryview(bytearray(64 * 1024))
"""Safe to share: only the reactor's thread reads, and it copies the bytes before the next read."""


class SharedReceiveBuffer(tcp.Connection):
    """Receives into a shared buffer and copies the received bytes at their exact size.

    Twisted allocates 64 KiB for each read and shrinks it to the size of a head. That fragments the heap: with mixed
    clients it grew by 0.4 MiB a minute, though no more memory was in use.
    """

    _spent = 0
    """Bytes sent since the last read, or in this turn of the reactor."""

    @override
    def doRead(self) -> ConnectionLost | ConnectionDone | None:  # type: ignore[override]
        self._spent = 0
        try:
            count = self.socket.recv_into(_BUFFER)
        except OSError as error:
            return None if error.errno == errno.EWOULDBLOCK else CONNECTION_LOST
        if not count:
            return CONNECTION_DONE
        self.protocol.dataReceived(_BUFFER[:count].tobytes())
        return None
