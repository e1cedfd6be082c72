"""From a reply to bytes on a connection whose kernel sends files: what both lanes have in common."""

from __future__ import annotations

from functools import lru_cache
from http import HTTPStatus

import attrs
from twisted.internet.defer import Deferred

from aero_storage.delivery.reply import Reply
from aero_storage.http.cors import Headers
from aero_storage.http.dates import format_http_date
from aero_storage.http.ranges import Segment
from aero_storage.linux.page_cache import read_resident_into
from aero_storage.storage.blob import Blob, OpenFile
from aero_storage.streaming.sendfile import SendfileServer

SMALL = 64 * 1024
"""Bodies up to this many bytes are read at once and leave in one piece with their head."""

_HEAD_ROOM = 2048


def _line(name: str, value: str) -> bytes:
    return f"{name}: {value}\r\n".encode("latin-1")


@lru_cache(256)
def _block(headers: Headers) -> bytes:
    return b"".join(_line(name, value) for name, value in headers)


@lru_cache(64)
def _status_line(status: int) -> bytes:
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nServer: aero-storage\r\n".encode("ascii")


@lru_cache(2)
def _date_line(second: int) -> bytes:
    return _line("Date", format_http_date(second))


@attrs.define(eq=False)
class HeadWriter:
    """Writes the heads of responses, and remembers what the last one may have in common with the next."""

    _common: Headers | None = None
    _status: int = 0
    _second: int = 0
    _fixed: bytes = b""

    def write(self, reply: Reply, request_id: str, now: float, *, persistent: bool) -> bytes:
        """The head of a response as it goes over the wire; `now` in seconds since the epoch."""
        second, length = int(now), reply.length
        if self._common is not reply.common or self._second != second or self._status != reply.status:
            self._common, self._second, self._status = reply.common, second, reply.status
            self._fixed = _status_line(reply.status) + _date_line(second) + _block(reply.common)
        own = "".join([f"{name}: {value}\r\n" for name, value in reply.own])
        more = "" if persistent else "Connection: close\r\n"
        if length is not None:
            more += f"Content-Length: {length}\r\n"
        return self._fixed + f"X-Request-Id: {request_id}\r\n{more}{own}\r\n".encode("latin-1")


@attrs.frozen(eq=False)
class FileSender:
    """Sends replies by transports that send files."""

    _buffer: memoryview = attrs.field(init=False, factory=lambda: memoryview(bytearray(_HEAD_ROOM + SMALL)))
    """Where a small body is read to, behind the room for its head, so that both leave in one piece."""

    def send(self, transport: SendfileServer, head: bytes, reply: Reply, blob: Blob | None) -> Deferred[None] | None:
        """Send head and body (without a `blob` no more of it than the reply holds), as far as possible at once.

        A `blob` whose bytes are to be sent has a `file`.

        None if all is with the kernel; else a Deferred that fires when it is, and fails as `send_file` does.
        """
        segment, file, pace = reply.segment, blob.file if blob is not None else None, transport.pace
        if segment is None or file is None or not segment.length:
            gone = transport.write_through(head + reply.body)
        elif (
            segment.length > SMALL
            or (pace is not None and pace.left < segment.length)
            or not self._read_small(head, file, segment)
        ):
            return transport.send_file(file, segment.offset, segment.length, head)
        else:
            if pace is not None:
                pace.spend(segment.length)
            gone = transport.write_through(self._buffer[_HEAD_ROOM - len(head) : _HEAD_ROOM + segment.length])
        return None if gone else transport.when_drained()

    def _read_small(self, head: bytes, file: OpenFile, segment: Segment) -> bool:
        """Put head and body side by side into the buffer, if the body is in memory."""
        start, end = _HEAD_ROOM - len(head), _HEAD_ROOM + segment.length
        if start < 0 or not read_resident_into(file.fileno(), segment.offset, self._buffer[_HEAD_ROOM:end]):
            return False
        file.verify()
        self._buffer[start:_HEAD_ROOM] = head
        return True
