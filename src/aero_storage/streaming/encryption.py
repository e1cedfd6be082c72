"""Encrypts and decrypts with OpenSSL for one connection. Needs pyOpenSSL: imported only for TLS ports.

pyOpenSSL's own calls copy once more, and say by an exception that there is nothing: 331 µs for a MiB that is
encrypted, against 197 for the same calls of OpenSSL without that, of which the cipher has 150. They have private
names: with a pyOpenSSL without these, to import this module raises AttributeError.
"""

from __future__ import annotations

from typing import Any, NoReturn, cast

from OpenSSL import SSL
from twisted.internet.error import ConnectionLost

RECORD_BYTES = 16 * 1024
"""Most bytes of a record. One at a time, as OpenSSL's buffer keeps the size that it has grown to."""

MOST_BYTES = 128 * 1024
"""Most bytes that are encrypted at once."""

_OVERHEAD = 4 * 1024
"""More than the records of RECORD_BYTES have beside their bytes: with the shortest records there are 32."""
_ROOM = 64 * 1024
"""For what else OpenSSL has to say: tickets, alerts and changes of keys."""

_LIBRARY, _FFI = cast("Any", SSL)._lib, cast("Any", SSL)._ffi  # noqa: SLF001
_READ, _WRITE, _TAKE, _ERROR = _LIBRARY.SSL_read, _LIBRARY.SSL_write, _LIBRARY.BIO_read, _LIBRARY.SSL_get_error
_WANT_READ = _LIBRARY.SSL_ERROR_WANT_READ
_OUTPUT = memoryview(bytearray(MOST_BYTES + MOST_BYTES // RECORD_BYTES * _OVERHEAD + _ROOM))
"""Where all connections have their bytes encrypted to; only the reactor's thread does it."""
_FROM_BUFFER = _FFI.from_buffer
_OUTPUT_POINTER, _OUTPUT_BYTES = _FROM_BUFFER(_OUTPUT), len(_OUTPUT)
_INPUT = memoryview(bytearray(RECORD_BYTES))
"""Where all connections have their bytes decrypted to."""
_INPUT_POINTER = _FROM_BUFFER(_INPUT)


class Encryption:
    """A TLS connection whose handshake is done, in memory."""

    def __init__(self, connection: Any) -> None:
        self._raise_error = connection._raise_ssl_error  # noqa: SLF001
        self._state, self._output = connection._ssl, connection._from_ssl  # noqa: SLF001

    def encrypt(self, *pieces: bytes | memoryview) -> memoryview:
        """Return up to MOST_BYTES as records, behind what OpenSSL had to send before; valid until the next call.

        Raises ConnectionLost if OpenSSL encrypts no more: the connection has been shut down, or has failed.
        """
        state, output, length = self._state, self._output, 0
        for piece in pieces:  # calls of our own would take a fifth of the time of the cipher
            pointer, size, start = _FROM_BUFFER(piece), len(piece), 0
            while start < size:
                written = _WRITE(state, pointer + start, min(size - start, RECORD_BYTES))
                if written <= 0:
                    self._fail(written)
                start += written  # one record: a client may have asked for shorter ones (RFC 6066 §4)
                taken = _TAKE(output, _OUTPUT_POINTER + length, _OUTPUT_BYTES - length)
                if taken > 0:
                    length += taken
        return _OUTPUT[:length]

    def output(self) -> bytes:
        """Return what OpenSSL has to send."""
        return bytes(_OUTPUT[: self._take_output(0)])

    def decrypt(self) -> bytes | None:
        """Return some of the bytes that have come; empty: no more have; None: pyOpenSSL knows what has happened."""
        count = _READ(self._state, _INPUT_POINTER, RECORD_BYTES)
        if count > 0:
            return bytes(_INPUT[:count])
        return b"" if _ERROR(self._state, count) == _WANT_READ else None

    def _take_output(self, start: int) -> int:
        count: int = _TAKE(self._output, _OUTPUT_POINTER + start, _OUTPUT_BYTES - start)
        return max(count, 0)

    def _fail(self, written: int) -> NoReturn:
        try:
            self._raise_error(self._state, written)  # it empties OpenSSL's queue of errors
        except SSL.Error as error:
            raise ConnectionLost from error
        raise ConnectionLost


Encryption(SSL.Connection(SSL.Context(SSL.TLS_METHOD)))  # has it all names?
