"""TLS connections that send files, and are freed when they end. Needs pyOpenSSL: imported only for TLS ports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.protocol import connectionDone
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory
from twisted.python.failure import Failure
from typing_extensions import override

from aero_storage.streaming.encrypted_segment import Encrypt
from aero_storage.streaming.encrypting import Encrypting

if TYPE_CHECKING:
    from aero_storage.streaming.encryption import Encryption
else:
    try:
        from aero_storage.streaming.encryption import Encryption
    except AttributeError:  # a pyOpenSSL that has other private names: bodies are sent by its public ones
        Encryption = None

__all__ = ["TLSConnection", "TLSMemoryBIOFactory"]


class TLSConnection(Encrypting, BufferingTLSTransport):
    """Twisted's TLS connection, which sends files, and is freed without the cycle collector.

    The Failure of a lost connection is a local variable in a frame of its own traceback, with OpenSSL's state and
    buffers: 78 KiB. A connection that is aborted while it sends refers to its producer and up to 128 KiB of its data.
    Hundreds of connections ended between two runs of the collector.
    """

    transport: Any
    encrypts_files = Encryption is not None
    _encryption: Encryption | None = None

    @override
    def encrypt_now(self) -> Encrypt | None:
        if not self._handshakeDone or self._lostTLSConnection or self.disconnecting or not self.connected:
            return None
        self._aggregator.flush()
        if self._encryption is None:
            self._encryption = Encryption(self.getHandle())
            self.transport.setTcpNoDelay(True)  # else the end of a body waits for an acknowledgement, up to 40 ms
        return self._encryption.encrypt

    @override
    def flush_output(self) -> None:
        self._flushSendBIO()

    def _flushSendBIO(self) -> None:
        if self._is_sending_file:
            return
        if self._encryption is None:
            super()._flushSendBIO()
        elif output := self._encryption.output():
            self.transport.write(output)

    def _flushReceiveBIO(self) -> None:
        encryption, data = self._encryption, None
        while encryption is not None and not self._lostTLSConnection and (data := encryption.decrypt()):
            if not self._aborted:
                self.wrappedProtocol.dataReceived(data)
        if data is None:
            super()._flushReceiveBIO()
        else:
            self._flushSendBIO()

    def _tlsShutdownFinished(self, reason: Failure | None) -> None:
        super()._tlsShutdownFinished(reason)
        if reason is not None:
            reason.cleanFailure()
        if self._is_sending_file:  # the client has left; its socket may be full for long
            self.transport.abortConnection()

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self._producer = self._encryption = None
