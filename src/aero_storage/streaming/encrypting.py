"""Sending files over TLS: the write queue below has segments that are encrypted when the socket can take them."""

from __future__ import annotations

from functools import partial
from typing import TypeVar

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from aero_storage.open_file import OpenFile
from aero_storage.streaming.encrypted_segment import Encrypt, EncryptedSegment
from aero_storage.streaming.sendfile import SendfileServer
from aero_storage.streaming.stream_place import StreamPlace

_Result = TypeVar("_Result")


class Encrypting:
    """A mixin for a TLS connection, which sends files if it is above a SendfileServer.

    OpenSSL numbers its records. While a segment is under way, all that OpenSSL has to send leaves with the records of
    the segment, in OpenSSL's order.
    """

    transport: SendfileServer
    encrypts_files: bool
    """Whether it can."""
    _is_sending_file = False

    def encrypt_now(self) -> Encrypt | None:
        """Return what encrypts, behind all that was written before; None if the connection sends no more."""
        raise NotImplementedError

    def flush_output(self) -> None:
        """Send what OpenSSL has to send."""
        raise NotImplementedError

    def send_now(self, data: memoryview) -> Deferred[None] | None:
        """Send up to MOST_BYTES; return None if the kernel has all, else a Deferred that fires when it has."""
        encrypt = self.encrypt_now()
        if encrypt is None:
            return fail(ConnectionLost())
        return None if self.transport.write_through(encrypt(data)) else self.transport.when_drained()

    def send_file(
        self, source: OpenFile, offset: int, length: int, head: bytes, place: StreamPlace | None
    ) -> Deferred[None]:
        """Do as SendfileServer does; the bytes are verified and copied."""
        encrypt = self.encrypt_now()
        if encrypt is None:
            return fail(ConnectionLost())
        encrypted = partial(EncryptedSegment, encrypt=encrypt, count_overhead=self._count_overhead, head=head)
        self._is_sending_file = True
        make = partial(encrypted, source, offset, length, place=place)
        return self.transport.send_segment(make).addBoth(self._sent)

    def _count_overhead(self, count: int) -> None:
        self.transport.taken += count

    def _sent(self, result: _Result) -> _Result:
        self._is_sending_file = False
        if not isinstance(result, Failure):
            self.flush_output()
        return result


def encrypting_transport(transport: object) -> Encrypting | None:
    """Return the transport if it is TLS that can send files. Else None."""
    if not isinstance(transport, Encrypting) or not isinstance(transport.transport, SendfileServer):
        return None
    return transport if transport.encrypts_files else None
