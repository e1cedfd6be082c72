"""A segment of a file that is encrypted on its way to the socket."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol

import attrs
from typing_extensions import override

from aero_storage.streaming.file_segment import CopiedSegment
from aero_storage.streaming.stream_place import has_no_place

CHUNK_BYTES = 128 * 1024
"""Bytes that are read, encrypted and written at once. The rest that a full socket does not take waits in memory."""

SMALL_CHUNK_BYTES = 16 * 1024
"""The same for a stream that has lost its place: there may be thousands, each of them with a slow client."""

_PIECE = memoryview(bytearray(CHUNK_BYTES))
"""Where bytes are copied to, for the reactor's thread only."""


class Encrypt(Protocol):
    """Encrypts bytes for one connection; see Encryption."""

    def __call__(self, *pieces: bytes | memoryview) -> memoryview:
        """Return the bytes as records."""
        ...


@attrs.define(eq=False)
class EncryptedSegment(CopiedSegment):
    """A segment whose bytes are read, verified, encrypted behind its `head`, and written.

    Encrypted bytes have to be sent, before all that is encrypted later. So nothing is encrypted while a part of the
    last chunk waits. Of a chunk of which a part waits, the same part of its file's bytes counts as left.
    """

    _encrypt: Encrypt = attrs.field(kw_only=True)
    _count_overhead: Callable[[int], object] = attrs.field(kw_only=True)
    """Called with the bytes that the socket has taken beyond those of the file."""
    _head: bytes = attrs.field(kw_only=True)
    _waiting: bytes = attrs.field(init=False, default=b"")
    """Encrypted bytes that the socket has not taken."""
    _chunk: int = attrs.field(init=False, default=0)
    """Bytes of the file in the last chunk."""
    _records: int = attrs.field(init=False, default=0)
    """Bytes of the last chunk when it is encrypted."""
    _chunk_sent: int = attrs.field(init=False, default=0)
    """Bytes of the file in the last chunk that count as sent."""

    @override
    def ready(self) -> int:
        return self._chunk - self._chunk_sent if self._waiting else super(CopiedSegment, self).ready()

    @override
    def _transfer(self, socket: int, most: int) -> int:
        total = 0
        while total < most:
            records = self._waiting or self._next_records(most - total)
            if not records:
                break
            sent, blocked = self._write(socket, records)
            total += self._count(sent)
            if blocked is not None and not total:
                raise blocked
            if self._waiting:
                break
        return total

    def _next_records(self, most: int) -> memoryview:
        """Read and encrypt the next chunk; empty if the bytes are sendable no more."""
        chunk = _PIECE[: min(most, SMALL_CHUNK_BYTES if has_no_place(self._place) else CHUNK_BYTES)]
        count = self.source.read_sendable_into(self.offset, chunk)
        if not count:
            return chunk[:0]
        records = self._encrypt(self._head, chunk[:count])
        self._head, self._chunk, self._records, self._chunk_sent = b"", count, len(records), 0
        return records

    def _write(self, socket: int, records: bytes | memoryview) -> tuple[int, BlockingIOError | None]:
        """Write what the socket takes, and keep the rest."""
        sent, blocked = 0, None
        try:
            sent = os.write(socket, records)
        except BlockingIOError as error:
            blocked = error
        self._waiting = bytes(records[sent:])
        return sent, blocked

    def _count(self, sent: int) -> int:
        """Count `sent` encrypted bytes; return how many bytes of the file they stand for."""
        share = self._chunk * (self._records - len(self._waiting)) // self._records
        count, self._chunk_sent = share - self._chunk_sent, share
        self._count_overhead(sent - count)
        return self._advance(count)

    @override
    def drop(self) -> None:
        self._head = self._waiting = b""
        super().drop()
