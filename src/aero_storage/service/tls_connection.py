"""TLS connections that are freed when they end. Needs pyOpenSSL, so it is imported where there is such a port."""

from __future__ import annotations

from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory
from twisted.python.failure import Failure

__all__ = ["TLSConnection", "TLSMemoryBIOFactory"]


class TLSConnection(BufferingTLSTransport):
    """Twisted's, but what ends it holds no stack.

    The failure by which Twisted learns that a client has gone is a variable of a function on the stack that it
    records: a cycle, in which OpenSSL's state and buffers, 78 KiB, stay until Python looks for cycles. Hundreds of
    connections ended in between, and memory grew by what they had held.
    """

    def _tlsShutdownFinished(self, reason: Failure | None) -> None:
        super()._tlsShutdownFinished(reason)
        if reason is not None:
            reason.cleanFailure()
