"""Reading from TCP with one buffer for all connections."""

from __future__ import annotations

import errno

from twisted.internet import tcp
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.main import CONNECTION_LOST
from typing_extensions import override

_BUFFER = bytearray(64 * 1024)
"""Nobody else reads until what has come is copied: only the reactor's thread reads."""


class SharedReceiveBuffer(tcp.Connection):
    """Takes what has come at its own size.

    Twisted has each read make a block of 64 KiB and cut it down to the size of a head: the rests fall apart, and with
    clients of all kinds the heap grew by 0.4 MiB a minute, though no more was in use.
    """

    @override
    def doRead(self) -> ConnectionLost | ConnectionDone | None:  # type: ignore[override]
        try:
            count = self.socket.recv_into(_BUFFER)
        except OSError as error:
            return None if error.errno == errno.EWOULDBLOCK else CONNECTION_LOST
        return self._dataReceived(bytes(memoryview(_BUFFER)[:count]))
