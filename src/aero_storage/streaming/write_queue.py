"""The write queue of a connection: Twisted's buffer, then segments of files, each with the data written behind it.

Data written behind a segment waits with the segment, and becomes Twisted's buffer when the segment has been sent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any, cast

from twisted.internet import tcp
from twisted.internet.interfaces import IPushProducer
from typing_extensions import override

from aero_storage.streaming.file_segment import FileSegment
from aero_storage.streaming.flush_tracking import FlushTracking
from aero_storage.streaming.receive_buffer import SharedReceiveBuffer


class WriteQueue(FlushTracking, SharedReceiveBuffer, tcp.Server):  # type: ignore[misc]
    """A TCP connection whose write queue can hold segments of files."""

    _queued = 0
    """Bytes of segments and of the data behind them; they stay unsent when the connection is lost."""

    def __init__(self, *arguments: Any) -> None:
        self._segments: deque[FileSegment] = deque()
        super().__init__(*arguments)

    @property
    @override
    def unsent(self) -> int:
        # Bytes of files count too.
        return super().unsent + self._queued

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
            raise RuntimeError("the bytes of a file are still on their way")
        super().startTLS(*arguments)

    def _isSendBufferFull(self) -> bool:
        return bool(self._segments) or bool(super()._isSendBufferFull())

    def _append(self, segment: FileSegment, head: bytes) -> None:
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

    def _complete(self, segment: FileSegment) -> None:
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
