"""The write queue of a connection: Twisted's buffer, then segments, each with the data written behind it.

Data written behind a segment waits with the segment, and becomes Twisted's buffer when the segment has been sent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any, Protocol, cast

from twisted.internet import tcp
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from typing_extensions import override

from aero_storage.open_file import OpenFile
from aero_storage.streaming.flush_tracking import FlushTracking
from aero_storage.streaming.local_reader import Reader, Unseen
from aero_storage.streaming.receive_buffer import SharedReceiveBuffer


class QueuedSegment(Protocol):
    """Bytes that are not copied into the queue: a part of a file, or of a body that connections share."""

    __slots__ = ()

    left: int
    """Bytes that are not sent yet."""
    done: Deferred[None] | None
    """Fires at the end; None after it."""
    behind: list[bytes]
    """Data written behind it."""
    is_paced: bool
    """Whether the speed limits are for it."""

    @property
    def is_shared(self) -> bool:
        """Whether bytes that were sent stay the file's until they are acknowledged."""
        ...

    @property
    def file(self) -> OpenFile | None:
        """The file that the bytes come from."""
        ...

    def unread(self) -> int | None:
        """Return how many bytes of the connection the client's program has not read; None if nobody tells."""
        ...

    def ready(self) -> int:
        """Return how many bytes can be sent now; 0 if they have to be read first.

        Raises BlockingIOError if the socket has to be writable first.
        """
        ...

    def send(self, socket: int, most: int) -> int:
        """Send up to `most` > 0 ready bytes and return how many were sent; `left` is exact even after an exception.

        Raises BlockingIOError if the socket is full, and OSError of the connection.
        """
        ...

    def finish(self, failure: Failure | None) -> None:
        """Drop the rest and fire `done`; a second call does nothing."""
        ...


class WriteQueue(FlushTracking, SharedReceiveBuffer, tcp.Server):  # type: ignore[misc]
    """A TCP connection whose write queue can hold segments."""

    _queued = 0
    """Bytes of segments and of the data behind them; they stay unsent when the connection is lost."""
    _lost = False
    """Whether a system call reported the connection lost; `doWrite` tells the reactor."""

    reader: Reader | Unseen | None = None
    """The program at the other end, once it matters which it is."""

    def __init__(self, *arguments: Any) -> None:
        self._segments: deque[QueuedSegment] = deque()
        super().__init__(*arguments)

    @property
    @override
    def unsent(self) -> int:
        # Bytes of segments count too.
        return super().unsent + self._queued

    @override
    def progress(self) -> int | None:
        # A program on this machine may have read far less than its system has acknowledged.
        unread = self._segments[0].unread() if self._segments else None
        if unread is None:
            return super().progress()
        return self.taken - unread if unread else None

    def is_idle(self) -> bool:
        """Return whether nothing is unsent and more may be sent."""
        return not (
            self._segments
            or self._tempDataLen
            or self.dataBuffer
            or self.disconnecting
            or self._writeDisconnecting
            or self._aborting
            or self.TLS
            or not self.connected
        )

    @override
    def write(self, data: bytes) -> None:
        if self._segments:
            self._append_behind((data,))
        else:
            super().write(data)

    @override
    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        if self._segments:
            self._append_behind(tuple(iovec))
        else:
            super().writeSequence(iovec)

    @override
    def startTLS(self, *arguments: Any) -> None:
        if self._segments:
            raise RuntimeError("the bytes of a segment are still on their way")
        super().startTLS(*arguments)

    def _isSendBufferFull(self) -> bool:
        return bool(self._segments) or bool(super()._isSendBufferFull())

    def _append(self, segment: QueuedSegment, head: bytes) -> None:
        """Append ordinary bytes and a segment to the queue, without starting to write."""
        if head and self._segments:
            self._append_behind((head,))
        elif head:
            self._tempDataBuffer.append(head)
            self._tempDataLen += len(head)
        self._segments.append(segment)

    def _append_behind(self, pieces: tuple[bytes, ...]) -> None:
        if not all(isinstance(piece, bytes) for piece in pieces):
            raise TypeError("Data must be bytes")
        self._segments[-1].behind.extend(pieces)
        self._queued += sum(map(len, pieces))
        self._maybePauseProducer()

    def _coalesce(self) -> memoryview:
        """Return Twisted's buffer as one piece."""
        if self._tempDataLen:
            self.dataBuffer = b"".join((memoryview(self.dataBuffer)[self.offset :], *self._tempDataBuffer))
            self._tempDataBuffer, self._tempDataLen, self.offset = [], 0, 0
        return memoryview(self.dataBuffer)[self.offset :]

    def _discard(self, sent: int) -> bool:
        """Remove `sent` bytes from Twisted's buffer; return whether it is empty."""
        self.offset += sent
        if self.offset < len(self.dataBuffer):
            return False
        self.dataBuffer, self.offset = b"", 0
        return True

    def _complete(self, segment: QueuedSegment) -> None:
        """Remove the first segment: it has been sent."""
        self._segments.popleft()
        self._tempDataBuffer = segment.behind
        self._tempDataLen = sum(map(len, segment.behind))
        self._queued -= self._tempDataLen
        segment.finish(None)

    def _has_more_to_do(self) -> bool:
        """Return whether Twisted's `doWrite` has work once all is sent: a pull producer, or closing."""
        pulled = self.producer is not None and not self.streamingProducer
        return pulled or bool(self.disconnecting) or self._writeDisconnecting

    def _resume_producer(self) -> None:
        """Resume a paused producer in this turn, not in the next.

        In the meantime the channel could learn that its client has gone and close: Twisted's `doWrite` then resumes
        the paused producer instead of closing, and the connection stays open.
        """
        if self.producer is not None and self.producerPaused:
            self.producerPaused = False
            cast("IPushProducer", self.producer).resumeProducing()

    def _is_connection_error(self, error: OSError) -> bool:
        """Return whether an error of `sendfile` is about the connection, not the file."""
        self._lost = isinstance(error, ConnectionError) or not self._has_peer()
        return self._lost

    def _has_peer(self) -> bool:
        try:
            self.socket.getpeername()
        except OSError:
            return False
        return True
