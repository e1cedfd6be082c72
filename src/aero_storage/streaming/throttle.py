"""Rate limits in bytes a second: of each connection, of each lease, and of all connections of a process together.

Token buckets limit the bytes that may be sent now. A stream whose bucket is empty waits in one queue with all others.
Every TICK_SECONDS the streams whose own bucket has tokens again share the tokens of the common bucket, and those of
one lease the tokens of its bucket, the longest waiting first. Without a limit there is no Throttle; without a waiting
stream there is no timer.
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
"""Smallest share of a shared bucket for one stream; with too many streams, some wait for the next tick."""


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
    def fill_seconds(self) -> float:
        """Seconds in which an empty bucket becomes full."""
        return self._depth / self._rate

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
class SharedBucket:
    """A token bucket of several streams: while one waits for it, further ones wait too, and take equal shares."""

    _tokens: TokenBucket
    is_contended: bool = attrs.field(init=False, default=False)
    """Whether a stream waits for it."""
    _share: int = attrs.field(init=False, default=0)
    """Bytes of the share of the stream that is being served."""
    _share_left: int | None = attrs.field(init=False, default=None)
    """The rest of that share; None between turns."""
    _budget: int = attrs.field(init=False, default=0)
    """Bytes for the streams that are still to be served in this tick."""
    _due: int = attrs.field(init=False, default=0)
    """Number of these streams."""

    @property
    def fill_seconds(self) -> float:
        """Seconds in which it becomes full, whatever was spent."""
        return self._tokens.fill_seconds

    @property
    def left(self) -> int:
        """Bytes that the caller may send now."""
        if self._share_left is not None:
            return self._share_left
        return 0 if self.is_contended else self._tokens.left

    def spend(self, count: int) -> None:
        """Take `count` bytes, at most `left`."""
        self._tokens.spend(count)
        if self._share_left is not None:
            self._share_left -= count

    def begin_tick(self) -> None:
        """Begin to share what there is now; no stream waits until `is_contended` is set again."""
        self._budget, self._due, self.is_contended = self._tokens.left, 0, False

    def has_share_for_another(self) -> bool:
        """Whether one more stream can have a share in this tick."""
        least = min(LEAST_BYTES, self._budget)  # a smaller rest waits for the next tick
        return 0 < least * (self._due + 1) <= self._budget

    def add_stream(self) -> None:
        """Count a stream that is served in this tick."""
        self._due += 1

    def begin_turn(self) -> None:
        """Serve one of these streams."""
        self._share = self._share_left = self._budget // self._due

    def end_turn(self) -> None:
        """It has sent what it could; the rest of its share is for the others."""
        self._budget -= self._share - (self._share_left or 0)
        self._due, self._share_left = self._due - 1, None


@attrs.define(eq=False)
class Pace:
    """The rate limits of one connection: its own bucket, that of a lease, and the common one (None: no limit)."""

    _throttle: Throttle
    _own: TokenBucket | None
    _common: SharedBucket | None
    lease: SharedBucket | None = attrs.field(init=False, default=None)
    """The bucket of the lease by which the response under way reads."""

    @property
    def left(self) -> int:
        """Bytes that may be sent now."""
        left = sys.maxsize if self._common is None else self._common.left
        if self._own is not None:
            left = min(left, self._own.left)
        return left if self.lease is None else min(left, self.lease.left)

    def spend(self, count: int) -> None:
        """Take `count` bytes, at most `left`, from all buckets."""
        for bucket in (self._own, self.lease, self._common):
            if bucket is not None:
                bucket.spend(count)

    def wait(self, stream: QueuedStream) -> None:
        """Call `stream.take_turn` once, when bytes may be sent again."""
        self._throttle.wait(self, stream)

    @property
    def is_due(self) -> bool:
        """Whether the connection's own limit allows it to send."""
        return self._own is None or self._own.left > 0

    @property
    def shared(self) -> tuple[SharedBucket, ...]:
        """The buckets that other streams share."""
        return tuple(bucket for bucket in (self.lease, self._common) if bucket is not None)

    def contend(self) -> None:
        """Have further streams wait behind this one, if it does not wait for its own limit."""
        if not self.is_due:
            return
        for bucket in self.shared:
            is_empty, bucket.is_contended = not bucket.left, True
            if is_empty:  # it waits for this one, and keeps nobody from the next
                return


@attrs.define(eq=False)
class Throttle:
    """The rate limits of one process, in bytes a second; 0 is no limit. Makes the Pace of each connection."""

    _clock: IReactorTime
    _each: int
    _all: int
    _common: SharedBucket | None = attrs.field(init=False)
    _waiting: deque[tuple[Pace, QueuedStream]] = attrs.field(init=False, factory=deque)
    _scheduled: bool = attrs.field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self._common = shared_bucket(self._all, self._clock) if self._all else None

    def pace(self) -> Pace:
        """Return the Pace of a new connection."""
        own = TokenBucket(self._each, self._clock.seconds) if self._each else None
        return Pace(self, own, self._common)

    def wait(self, pace: Pace, stream: QueuedStream) -> None:
        """Call `stream.take_turn` once, when the limits allow it."""
        self._waiting.append((pace, stream))
        self._schedule()
        pace.contend()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._clock.callLater(TICK_SECONDS, self._tick)

    def _tick(self) -> None:
        self._scheduled = False
        due = self._begin_tick()
        try:
            while due:
                self._serve(*due.popleft())
        finally:
            self._waiting.extendleft(reversed(due))
            for pace, _ in self._waiting:
                pace.contend()
            if self._waiting:
                self._schedule()

    def _begin_tick(self) -> deque[tuple[Pace, QueuedStream]]:
        """Take the streams out of the queue that can have a share in this tick."""
        waited, self._waiting = self._waiting, deque()
        for bucket in {bucket for pace, _ in waited for bucket in pace.shared}:
            bucket.begin_tick()
        due: deque[tuple[Pace, QueuedStream]] = deque()
        for pace, stream in waited:
            shared = pace.shared
            if not (pace.is_due and all(bucket.has_share_for_another() for bucket in shared)):
                self._waiting.append((pace, stream))
                continue
            due.append((pace, stream))
            for bucket in shared:
                bucket.add_stream()
        return due

    def _serve(self, pace: Pace, stream: QueuedStream) -> None:
        """Call `take_turn` of a stream, with an equal share of what it shares."""
        shared = pace.shared
        for bucket in shared:
            bucket.begin_turn()
        try:
            stream.take_turn()
        finally:
            for bucket in shared:
                bucket.end_turn()


def throttle(clock: IReactorTime, each: int, total: int, per_lease: int = 0) -> Throttle | None:
    """Return a Throttle for limits in bytes a second: per connection, in total, and per lease; None if all are 0.

    The buckets of leases are the caller's.
    """
    return Throttle(clock, each, total) if each or total or per_lease else None


def shared_bucket(rate: int, clock: IReactorTime) -> SharedBucket:
    """Return a bucket of `rate` bytes a second for several streams."""
    return SharedBucket(TokenBucket(rate, clock.seconds))
