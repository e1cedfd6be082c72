"""Rate limits in bytes a second: for each connection, and for all connections of a process together.

Token buckets limit the bytes that may be sent now. A stream whose bucket is empty waits in one queue with all others.
Every TICK_SECONDS the streams whose own bucket has tokens again share the tokens of the common bucket, the longest
waiting first. Without a limit there is no Throttle; without a waiting stream there is no timer.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable

import attrs
from twisted.internet.interfaces import IReactorTime

from aero_storage.streaming.fair_queue import QueuedStream

TICK_SECONDS = 0.05
"""Interval at which waiting streams are served."""

BURST_SECONDS = 0.15
"""Depth of a bucket; several ticks, so that a late tick loses no tokens."""

LEAST_BYTES = 16 * 1024
"""Smallest share of the common bucket for one stream; with too many streams, some wait for the next tick."""


@attrs.define(eq=False)
class TokenBucket:
    """A bucket that gains `rate` bytes a second, up to BURST_SECONDS' worth; `clock` returns seconds.

    In any t seconds at most `rate` x t bytes and one full bucket (at least one byte) can be spent. `left` is 0 while
    the bucket holds less than half a tick's worth: else a fast stream would send a few bytes again and again.
    """

    _rate: float
    _clock: Callable[[], float]
    _depth: float = attrs.field(init=False)
    _least: float = attrs.field(init=False)
    _tokens: float = attrs.field(init=False)
    _filled_at: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._depth = self._tokens = max(1.0, self._rate * BURST_SECONDS)
        self._least = max(1.0, self._rate * TICK_SECONDS / 2)
        self._filled_at = self._clock()

    @property
    def left(self) -> int:
        """Bytes that may be sent now."""
        now = self._clock()
        self._tokens = min(self._depth, self._tokens + max(0.0, now - self._filled_at) * self._rate)
        self._filled_at = now
        return int(self._tokens) if self._tokens >= self._least else 0

    def spend(self, count: int) -> None:
        """Take `count` bytes from the bucket. Raises ValueError if fewer are left."""
        if count > self._tokens:
            raise ValueError(f"{count} bytes are more than the {self._tokens:.0f} that may be sent")
        self._tokens -= count


@attrs.define(eq=False)
class Pace:
    """The rate limits of one connection: its own bucket (None: no limit) and the common one."""

    _throttle: Throttle
    _own: TokenBucket | None

    @property
    def left(self) -> int:
        """Bytes that may be sent now."""
        shared = self._throttle.left
        return shared if self._own is None else min(shared, self._own.left)

    def spend(self, count: int) -> None:
        """Take `count` bytes, at most `left`, from both buckets."""
        if self._own is not None:
            self._own.spend(count)
        self._throttle.spend(count)

    def wait(self, stream: QueuedStream) -> None:
        """Call `stream.take_turn` once, when bytes may be sent again."""
        self._throttle.wait(self, stream)

    @property
    def is_due(self) -> bool:
        """Whether the connection's own limit allows it to send."""
        return self._own is None or self._own.left > 0


@attrs.define(eq=False)
class Throttle:
    """The rate limits of one process, in bytes a second; 0 is no limit. Makes the Pace of each connection."""

    _clock: IReactorTime
    _each: int
    _all: int
    _bucket: TokenBucket | None = attrs.field(init=False)
    _contended: bool = attrs.field(init=False, default=False)
    """Whether a stream waits for the common bucket: then further streams wait too."""
    _share_left: int | None = attrs.field(init=False, default=None)
    """Bytes left of the share of the stream that is being served; None between turns."""
    _waiting: deque[tuple[Pace, QueuedStream]] = attrs.field(init=False, factory=deque)
    _scheduled: bool = attrs.field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self._bucket = self._make_bucket(self._all)

    def _make_bucket(self, rate: int) -> TokenBucket | None:
        return TokenBucket(rate, self._clock.seconds) if rate else None

    def pace(self) -> Pace:
        """Return the Pace of a new connection."""
        return Pace(self, self._make_bucket(self._each))

    @property
    def left(self) -> int:
        """Bytes that the common limit allows the caller to send now."""
        if self._bucket is None:
            return sys.maxsize
        if self._share_left is not None:
            return self._share_left
        return 0 if self._contended else self._bucket.left

    def spend(self, count: int) -> None:
        """Take `count` bytes from the common bucket and from the current share."""
        if self._bucket is not None:
            self._bucket.spend(count)
        if self._share_left is not None:
            self._share_left -= count

    def wait(self, pace: Pace, stream: QueuedStream) -> None:
        """Call `stream.take_turn` once, when the limits allow it."""
        self._waiting.append((pace, stream))
        self._schedule()
        self._contended = self._contended or pace.is_due

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._clock.callLater(TICK_SECONDS, self._tick)

    def _tick(self) -> None:
        self._scheduled = False
        waited, self._waiting = self._waiting, deque()
        due: deque[tuple[Pace, QueuedStream]] = deque()
        for one in waited:
            (due if one[0].is_due else self._waiting).append(one)
        try:
            self._serve(due)
        finally:
            self._share_left = None
            self._waiting.extendleft(reversed(due))
            self._contended = any(pace.is_due for pace, _ in self._waiting)
            if self._waiting:
                self._schedule()

    def _serve(self, due: deque[tuple[Pace, QueuedStream]]) -> None:
        """Call `take_turn` of the due streams, each with an equal share; streams left without a share stay queued."""
        budget = sys.maxsize if self._bucket is None else self._bucket.left
        least = min(LEAST_BYTES, budget)  # a smaller rest waits for the next tick
        while due and budget >= least > 0:
            self._share_left = share = max(least, budget // len(due))
            due.popleft()[1].take_turn()
            budget -= share - self._share_left


def throttle(clock: IReactorTime, each: int, total: int) -> Throttle | None:
    """Return a Throttle for limits in bytes a second, per connection and in total; None if both are 0."""
    return Throttle(clock, each, total) if each or total else None
