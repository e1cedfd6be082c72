"""The general stair for bytes: a push producer with bounded read-ahead, for any blob and any consumer."""

from __future__ import annotations

from collections import deque
from typing import Protocol

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IConsumer, IDelayedCall, IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from aero_storage.disk import Disk
from aero_storage.streaming.pace import Pace

READ_BYTES = 128 * 1024
"""Bytes asked of the disk at a time: what one `send` of Twisted's transports takes."""

READ_AHEAD = 1
"""Reads kept ready while the consumer is not. A stream so holds 2 x READ_BYTES and what the transport buffers."""


class Source(Protocol):
    """What can be read at any offset; reads may wait for a disk."""

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes from `offset` on, or an exception."""
        ...


@implementer(IPushProducer)
@attrs.define(eq=False)
class SegmentProducer:
    """Writes `length` bytes of `source` from `offset` on to `consumer`, as fast as that takes them.

    At most one read is under way. The Deferred of `start` fires once all bytes are with the consumer, fails with
    what a read raised, and can be cancelled; from then on nothing more is written and no further read begins.
    """

    _disk: Disk
    _source: Source
    _consumer: IConsumer
    _next: int
    _left: int
    _pace: Pace | None = None
    _ready: deque[bytes] = attrs.field(init=False, factory=deque)
    _reading: Deferred[bytes] | None = attrs.field(init=False, default=None)
    _timer: IDelayedCall | None = attrs.field(init=False, default=None)
    _paused: bool = attrs.field(init=False, default=False)
    _done: Deferred[None] | None = attrs.field(init=False, default=None)

    def start(self) -> Deferred[None]:
        """Begin; see the class."""
        done: Deferred[None] = Deferred(lambda _: self._end())
        self._done = done
        self._consumer.registerProducer(self, True)  # noqa: FBT003 - IConsumer's interface
        self._pump()
        return done

    def pauseProducing(self) -> None:
        """See IPushProducer: write nothing until further notice."""
        self._paused = True

    def resumeProducing(self) -> None:
        """See IPushProducer: go on writing."""
        self._paused = False
        self._pump()

    def stopProducing(self) -> None:
        """See IProducer: the consumer is gone."""
        self._finish(Failure(CancelledError()))

    def _pump(self) -> None:
        while self._ready and not self._paused and self._done and not self._is_held():
            self._consumer.write(self._take(self._ready.popleft()))
        if self._done is None or self._reading is not None:
            return
        if self._left and len(self._ready) < READ_AHEAD:
            self._read()
        elif not self._left and not self._ready:
            self._finish(None)

    def _take(self, data: bytes) -> bytes:
        """As much of it as may go out now; the rest stays."""
        if self._pace is None:
            return data
        allowed = self._pace.allowance()
        if len(data) > allowed:
            self._ready.appendleft(data[allowed:])
        self._pace.spend(min(len(data), allowed))
        return data[:allowed]

    def _is_held(self) -> bool:
        """Whether nothing may go out yet; then it goes on by itself."""
        if self._pace is None or self._pace.allowance():
            return False
        if self._timer is None:
            self._timer = self._pace.later(self._go_on)
        return True

    def _go_on(self) -> None:
        self._timer = None
        self._pump()

    def _read(self) -> None:
        offset, length = self._next, min(self._left, READ_BYTES)
        self._reading = self._disk.run(lambda: self._source.read(offset, length))
        self._reading.addCallbacks(self._have_read, self._finish)

    def _have_read(self, data: bytes) -> None:
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
        """The one teardown."""
        self._done = None
        self._ready.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.cancel()
        self._consumer.unregisterProducer()
