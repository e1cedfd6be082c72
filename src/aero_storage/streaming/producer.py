"""A push producer with bounded read-ahead, for any blob and any consumer."""

from __future__ import annotations

from collections import deque

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IConsumer, IPushProducer
from twisted.python.failure import Failure
from typing_extensions import override
from zope.interface import implementer

from aero_storage.disk import Disk
from aero_storage.open_file import ByteSource
from aero_storage.streaming.fair_queue import QueuedStream
from aero_storage.streaming.stream_place import StreamPlace, has_no_place
from aero_storage.streaming.throttle import Pace

READ_AHEAD = 1
"""Reads kept ready while the consumer is paused. A stream holds two pieces, and the transport's buffer."""

BACKGROUND_READ_BYTES = 32 * 1024
"""Bytes per read of a stream that has lost its place; nothing is read ahead for it, as there may be thousands."""


@implementer(IPushProducer)
@attrs.define(eq=False)
class SegmentProducer(QueuedStream):
    """Writes `length` bytes of `source` from `offset` on to `consumer`, as fast as the consumer and `pace` allow.

    At most one read is under way. The Deferred of `start` fires once the consumer has all bytes and fails with the
    exception of a read. It can be cancelled: then nothing more is written, and no further read begins.
    """

    _disk: Disk
    _source: ByteSource
    _consumer: IConsumer
    _next: int
    _left: int
    _pace: Pace | None = None
    _place: StreamPlace | None = None
    _ready: deque[bytes] = attrs.field(init=False, factory=deque)
    _reading: Deferred[bytes] | None = attrs.field(init=False, default=None)
    _paused: bool = attrs.field(init=False, default=False)
    _awaiting_turn: bool = attrs.field(init=False, default=False)
    _done: Deferred[None] | None = attrs.field(init=False, default=None)

    def start(self) -> Deferred[None]:
        """Register with the consumer and begin to read."""
        done: Deferred[None] = Deferred(lambda _: self._end())
        self._done = done
        self._consumer.registerProducer(self, True)  # noqa: FBT003 - IConsumer's interface
        self._pump()
        return done

    def pauseProducing(self) -> None:
        """Write nothing until `resumeProducing` (IPushProducer)."""
        self._paused = True

    def resumeProducing(self) -> None:
        """Continue to write (IPushProducer)."""
        self._paused = False
        self._pump()

    def stopProducing(self) -> None:
        """Fail with CancelledError: the consumer is gone (IProducer)."""
        self._finish(Failure(CancelledError()))

    def _pump(self) -> None:
        while self._ready and not self._paused and self._done and self._may_write():
            self._consumer.write(self._take_piece())
        if self._done is None or self._reading is not None:
            return
        if self._left and len(self._ready) < READ_AHEAD:
            self._read_next()
        elif not self._left and not self._ready:
            self._finish(None)

    @override
    def take_turn(self) -> None:
        self._awaiting_turn = False
        self._pump()

    def _may_write(self) -> bool:
        if self._pace is None or self._pace.left > 0:
            return True
        if not self._awaiting_turn:
            self._awaiting_turn = True
            self._pace.wait(self)
        return False

    def _take_piece(self) -> bytes:
        """Take as many of the bytes read as may be written now."""
        piece = self._ready.popleft()
        if self._pace is not None:
            most = self._pace.left
            if most < len(piece):
                self._ready.appendleft(piece[most:])
                piece = piece[:most]
            self._pace.spend(len(piece))
        return piece

    def _read_next(self) -> None:
        background = has_no_place(self._place)
        if background and self._paused:
            return
        length = min(self._left, BACKGROUND_READ_BYTES if background else self._source.piece_bytes)
        self._reading = self._source.read_later(self._disk, self._next, length, background=background)
        self._reading.addCallbacks(self._on_read, self._finish)

    def _on_read(self, data: bytes) -> None:
        self._reading = None
        self._next += len(data)
        self._left -= len(data)
        self._ready.append(data)
        self._pump()

    def _finish(self, result: Failure | None) -> None:
        done = self._done
        if done is not None:
            self._end()
            done.errback(result) if result else done.callback(None)

    def _end(self) -> None:
        """Drop the bytes read, cancel the read and unregister: every ending comes here."""
        self._done = None
        self._ready.clear()
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.cancel()
        self._consumer.unregisterProducer()
