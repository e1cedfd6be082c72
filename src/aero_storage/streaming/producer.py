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
from aero_storage.streaming.large_pieces import SMALL_PIECE_BYTES, LargePieces
from aero_storage.streaming.stream_place import StreamPlace, has_no_place
from aero_storage.streaming.throttle import Pace

READ_AHEAD = 1
"""Pieces kept ready behind the one that is being written. A stream holds two pieces, and the transport's buffer.

A stream that has lost its place holds one, of SMALL_PIECE_BYTES or what `LargePieces` grants; nothing is read ahead.
"""

WRITE_BYTES = 128 * 1024
"""Most bytes of one write: a piece from an object store is larger, and a transport copies all that it has to keep."""


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
    _large: LargePieces = attrs.field(factory=LargePieces)
    _granted: int = attrs.field(init=False, default=0)
    """Bytes of `_large` that this stream may hold, having lost its place."""
    _writing: memoryview = attrs.field(init=False, default=memoryview(b""))
    """The rest of the piece that is being written."""
    _ready: deque[bytes] = attrs.field(init=False, factory=deque)
    _reading: Deferred[bytes] | None = attrs.field(init=False, default=None)
    _paused: bool = attrs.field(init=False, default=False)
    _awaiting_turn: bool = attrs.field(init=False, default=False)
    _done: Deferred[None] | None = attrs.field(init=False, default=None)

    def start(self) -> Deferred[None]:
        """Register with the consumer and begin to read."""
        done: Deferred[None] = Deferred(lambda _: self._end())
        self._done = done
        if self._place is not None:
            self._place.on_given_up = self._hold_less
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
        while (self._writing or self._ready) and not self._paused and self._done and self._may_write():
            self._consumer.write(self._take_piece())
        if self._done is None or self._reading is not None:
            return
        if self._left and len(self._ready) < READ_AHEAD:
            self._read_next()
        elif not (self._left or self._writing or self._ready):
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
        if not self._writing:
            self._writing = memoryview(self._ready.popleft())
        most = WRITE_BYTES if self._pace is None else min(WRITE_BYTES, self._pace.left)
        piece, self._writing = self._writing[:most], self._writing[most:]
        if self._pace is not None:
            self._pace.spend(len(piece))
        whole = piece.obj
        return whole if isinstance(whole, bytes) and len(whole) == len(piece) else bytes(piece)

    def _read_next(self) -> None:
        background = has_no_place(self._place)
        if background and (self._paused or self._writing):
            return
        length = min(self._left, self._small_or_granted() if background else self._source.piece_bytes)
        self._reading = self._source.read_later(self._disk, self._next, length, background=background)
        self._reading.addCallbacks(self._on_read, self._finish)

    def _on_read(self, data: bytes) -> None:
        self._reading = None
        self._next += len(data)
        self._left -= len(data)
        self._ready.append(data)
        self._pump()
        if self._reading is None and has_no_place(self._place):
            self._hold_less()

    # Without a place

    def _small_or_granted(self) -> int:
        """Return how many bytes to read: nothing is held now."""
        self._give_back()
        self._granted = self._large.take(min(self._source.piece_bytes, self._left))
        return max(self._granted, SMALL_PIECE_BYTES)

    def _give_back(self) -> None:
        granted, self._granted = self._granted, 0
        self._large.give_back(granted)

    def _hold_less(self) -> None:
        """Drop what is too much for a stream without a place; it is read again when it can be written."""
        held = len(self._writing) + sum(map(len, self._ready))
        if self._reading is not None or held <= max(self._granted, SMALL_PIECE_BYTES):
            return
        self._give_back()
        self._granted = self._large.take(held)
        if self._granted < held:
            self._keep_first(max(self._granted, SMALL_PIECE_BYTES))

    def _keep_first(self, most: int) -> None:
        held = b"".join((self._writing, *self._ready))
        self._writing = memoryview(held[:most])
        self._ready.clear()
        self._next -= len(held) - most
        self._left += len(held) - most

    def _finish(self, result: Failure | None) -> None:
        done = self._done
        if done is not None:
            self._end()
            done.errback(result) if result else done.callback(None)

    def _end(self) -> None:
        """Drop the bytes read, cancel the read and unregister: every ending comes here."""
        self._done = None
        self._ready.clear()
        self._writing = memoryview(b"")
        self._give_back()
        if self._place is not None:
            self._place.on_given_up = None
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.cancel()
        self._consumer.unregisterProducer()
