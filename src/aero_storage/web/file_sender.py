"""Sends a reply over TCP or a UNIX socket: in one write with its head, or by `sendfile`; over TLS without it."""

from __future__ import annotations

import attrs
from twisted.internet.defer import Deferred

from aero_storage.delivery.reply import Reply
from aero_storage.http.ranges import Segment
from aero_storage.open_file import OpenFile
from aero_storage.streaming.encrypting import Encrypting
from aero_storage.streaming.file_segment import COPIED_BYTES
from aero_storage.streaming.sendfile import SendfileServer
from aero_storage.streaming.stream_place import StreamPlace

SMALL = 64 * 1024
"""Made bodies, and over TLS all bodies, up to this many bytes are joined with their head."""

_HEAD_ROOM = 2048


@attrs.frozen(eq=False)
class FileSender:
    """Sends replies by transports that send files."""

    _buffer: memoryview = attrs.field(init=False, factory=lambda: memoryview(bytearray(_HEAD_ROOM + COPIED_BYTES)))
    """Where a body that is copied is read to, behind the room for its head, so that both leave in one piece."""

    def send(
        self,
        transport: SendfileServer,
        head: bytes,
        reply: Reply,
        file: OpenFile | None,
        place: StreamPlace | None = None,
    ) -> Deferred[None] | None:
        """Send head and body (without a `file` no more of it than the reply holds), as far as possible at once.

        Reads of the file go after those of others once `place` is lost. If the socket is full, the rest of the body
        waits in the file or in the reply: a client that reads nothing has no copy of it in memory.

        None if all is with the kernel; else a Deferred that fires when it is, and fails as `send_file` does.
        """
        segment = reply.segment
        if segment is not None and file is not None and segment.length:
            return self._send_file(transport, head, file, segment, place)
        if reply.body:
            return self._send_body(transport, head, reply.body)
        return None if transport.write_through(head) else transport.when_drained()

    def _send_body(self, transport: SendfileServer, head: bytes, body: bytes) -> Deferred[None] | None:
        sent = transport.send_now(head + body) if len(body) <= SMALL else 0
        gone = max(sent - len(head), 0)
        if gone == len(body):
            return None
        transport.mark_unfinished()
        return transport.send_body(body, gone, head[sent:])

    def _send_file(
        self, transport: SendfileServer, head: bytes, file: OpenFile, segment: Segment, place: StreamPlace | None
    ) -> Deferred[None] | None:
        pace, offset, length = transport.pace, segment.offset, segment.length
        if (
            length > COPIED_BYTES
            or transport.waits_for_turn(length)
            or (pace is not None and pace.left < length)
            or (data := self.join(head, file, offset, length)) is None
        ):
            transport.mark_unfinished()  # before the first byte: this may be killed in the turn that sends it
            return transport.send_file(file, offset, length, head, place)
        sent = transport.send_now(data)
        gone = sent - len(head)
        if pace is not None:
            pace.spend(max(gone, 0))
        return None if gone == length else self.send_rest(transport, head, file, segment, sent, place)

    def send_encrypted(
        self, transport: Encrypting, head: bytes, file: OpenFile, segment: Segment, place: StreamPlace | None
    ) -> Deferred[None] | None:
        """Do the same for a file over TLS. Of what is encrypted, the rest that a full socket does not take waits."""
        socket, length = transport.transport, segment.length
        pace = socket.pace
        joined = None
        if length <= SMALL and not socket.waits_for_turn(length) and (pace is None or pace.left >= length):
            joined = self.join(head, file, segment.offset, length)
        if joined is None:
            socket.mark_unfinished()
            return transport.send_file(file, segment.offset, length, head, place)
        if pace is not None:
            pace.spend(length)
        return transport.send_now(joined)

    def send_rest(  # noqa: PLR0913, PLR0917 - what was sent of what
        self,
        transport: SendfileServer,
        head: bytes,
        file: OpenFile,
        segment: Segment,
        sent: int,
        place: StreamPlace | None,
    ) -> Deferred[None]:
        """Send the rest of head and body, of which `sent` bytes are with the kernel; see `send`."""
        gone = max(sent - len(head), 0)
        transport.mark_unfinished()
        return transport.send_file(file, segment.offset + gone, segment.length - gone, head[sent:], place)

    def read(self, file: OpenFile, offset: int, length: int) -> memoryview | None:
        """Return a small body, valid until the next call, if it is in memory; else None. Raises as `join` does."""
        body = self._buffer[:length]
        return body if file.read_now_into(offset, body) else None

    def join(self, head: bytes, file: OpenFile, offset: int, length: int) -> memoryview | None:
        """Return head and body side by side, valid until the next call, if the body is in memory; else None.

        The bytes of the file are verified: raises as `OpenFile.verify` does.
        """
        buffer, start, end = self._buffer, _HEAD_ROOM - len(head), _HEAD_ROOM + length
        if start < 0 or not file.read_now_into(offset, buffer[_HEAD_ROOM:end]):
            return None
        buffer[start:_HEAD_ROOM] = head
        return buffer[start:end]
