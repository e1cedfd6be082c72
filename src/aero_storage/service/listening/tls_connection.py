"""TLS connections that are freed when they end. Needs pyOpenSSL, so it is imported only for TLS ports."""

from __future__ import annotations

from twisted.internet.protocol import connectionDone
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory
from twisted.python.failure import Failure
from typing_extensions import override

__all__ = ["TLSConnection", "TLSMemoryBIOFactory"]


class TLSConnection(BufferingTLSTransport):
    """Twisted's TLS connection, without the reference cycles that keep it in memory until the cycle collector runs.

    The Failure of a lost connection is a local variable in a frame of its own traceback, with OpenSSL's state and
    buffers: 78 KiB. A connection that is aborted while it sends refers to its producer and up to 128 KiB of its data.
    Hundreds of connections ended between two runs of the collector.
    """

    def _tlsShutdownFinished(self, reason: Failure | None) -> None:
        super()._tlsShutdownFinished(reason)
        if reason is not None:
            reason.cleanFailure()

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self._producer = None
