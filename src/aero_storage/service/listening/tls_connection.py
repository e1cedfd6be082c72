"""TLS connections that are freed when they end. Needs pyOpenSSL, so it is imported where there is such a port."""

from __future__ import annotations

from twisted.internet.protocol import connectionDone
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory
from twisted.python.failure import Failure
from typing_extensions import override

__all__ = ["TLSConnection", "TLSMemoryBIOFactory"]


class TLSConnection(BufferingTLSTransport):
    """Twisted's, but a connection that has ended is in no cycle: it would stay until Python looks for cycles.

    The failure by which Twisted learns that a client has gone is a variable of a function on the stack that it
    records, with OpenSSL's state and buffers: 78 KiB. A connection that is broken off while it sends knows who
    produces what it sends, and has up to 128 KiB of that. Hundreds of connections ended in between.
    """

    def _tlsShutdownFinished(self, reason: Failure | None) -> None:
        super()._tlsShutdownFinished(reason)
        if reason is not None:
            reason.cleanFailure()

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self._producer = None
