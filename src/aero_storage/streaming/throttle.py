"""Limits on speed: so many bytes a second by each connection, and by all of a process together.

Token buckets say how much may go now. A stream that has used that up stands in one line with all others, and every
TICK_SECONDS those whose own bucket has something again share what the common one has, the longest waiting first.
Where nothing is limited none of this exists; where nobody waits there is no timer.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable

import attrs
from twisted.internet.interfaces import IReactorTime

from aero_storage.streaming.fair_queue import QueuedStream

TICK_SECONDS = 0.05
"""How often those who wait are looked at."""

BURST_SECONDS = 0.15
"""What was not used for so long may be sent at once; several ticks, so that a late one loses nothing."""

LEAST_BYTES = 16 * 1024
"""A share of what there is for all is no smaller, however many want one: rather, some wait for the next tick."""


@attrs.define(eq=False)
class TokenBucket:
    """`rate` bytes a second flow in, as long as there are fewer than BURST_SECONDS' worth; `clock` gives seconds.

    In any t seconds no more than `rate` x t and a full bucket (a byte at least) can be spent. It gives nothing while
    it holds less than half a tick's worth: a fast stream would ask again and again for the few bytes since.
    """

    _rate: float
    _clock: Callable[[], float]
    _depth: float = attrs.field(init=False)
    _least: float = attrs.field(init=False)
    _tokens: float = attrs.field(init=False)
    _at: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._depth = self._tokens = max(1.0, self._rate * BURST_SECONDS)
        self._least = max(1.0, self._rate * TICK_SECONDS / 2)
        self._at = self._clock()

    @property
    def left(self) -> int:
        """Bytes that may be sent now."""
        now = self._clock()
        self._tokens = min(self._depth, self._tokens + max(0.0, now - self._at) * self._rate)
        self._at = now
        return int(self._tokens) if self._tokens >= self._least else 0

    def spend(self, count: int) -> None:
        """So many bytes, no more than are `left`, are sent. Raises ValueError if they are more."""
        if count > self._tokens:
            raise ValueError(f"{count} bytes are more than the {self._tokens:.0f} that may be sent")
        self._tokens -= count


@attrs.define(eq=False)
class Pace:
    """How fast one connection may be: by its own bucket (None: no limit) and by the one of all."""

    _throttle: Throttle
    _own: TokenBucket | None

    @property
    def left(self) -> int:
        """Bytes that may be sent now."""
        shared = self._throttle.left
        return shared if self._own is None else min(shared, self._own.left)

    def spend(self, count: int) -> None:
        """So many bytes, no more than are `left`, are sent."""
        if self._own is not None:
            self._own.spend(count)
        self._throttle.spend(count)

    def wait(self, stream: QueuedStream) -> None:
        """Nothing is left: call the stream's `take_turn`, once, when there is something again."""
        self._throttle.wait(self, stream)

    @property
    def is_due(self) -> bool:
        """Whether the connection's own limit lets it send something."""
        return self._own is None or self._own.left > 0


@attrs.define(eq=False)
class Throttle:
    """The limits of one process, in bytes a second; 0 is none. Makes the Pace of each connection."""

    _clock: IReactorTime
    _each: int
    _all: int
    _bucket: TokenBucket | None = attrs.field(init=False)
    _crowded: bool = attrs.field(init=False, default=False)
    """Whether somebody waits for the bucket: whoever comes then has to wait as well."""
    _granted: int | None = attrs.field(init=False, default=None)
    """What is left of the share of the stream whose turn it is."""
    _line: deque[tuple[Pace, QueuedStream]] = attrs.field(init=False, factory=deque)
    _ordered: bool = attrs.field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self._bucket = self._make_bucket(self._all)

    def _make_bucket(self, rate: int) -> TokenBucket | None:
        return TokenBucket(rate, self._clock.seconds) if rate else None

    def pace(self) -> Pace:
        """For a new connection."""
        return Pace(self, self._make_bucket(self._each))

    @property
    def left(self) -> int:
        """Bytes that whoever asks may send now, as far as the limit for all is concerned."""
        if self._bucket is None:
            return sys.maxsize
        if self._granted is not None:
            return self._granted
        return 0 if self._crowded else self._bucket.left

    def spend(self, count: int) -> None:
        """Take `count` bytes from the common bucket and from the current share."""
        if self._bucket is not None:
            self._bucket.spend(count)
        if self._granted is not None:
            self._granted -= count

    def wait(self, pace: Pace, stream: QueuedStream) -> None:
        """Call `stream.take_turn` once, when the limits allow it."""
        self._line.append((pace, stream))
        self._order()
        self._crowded = self._crowded or pace.is_due

    def _order(self) -> None:
        if not self._ordered:
            self._ordered = True
            self._clock.callLater(TICK_SECONDS, self._tick)

    def _tick(self) -> None:
        self._ordered = False
        waited, self._line = self._line, deque()
        due: deque[tuple[Pace, QueuedStream]] = deque()
        for one in waited:
            (due if one[0].is_due else self._line).append(one)
        try:
            self._serve(due)
        finally:
            self._granted = None
            self._line.extendleft(reversed(due))
            self._crowded = any(pace.is_due for pace, _ in self._line)
            if self._line:
                self._order()

    def _serve(self, due: deque[tuple[Pace, QueuedStream]]) -> None:
        """Let them send, each an equal share of what there is; whom nothing is left for stays."""
        budget = sys.maxsize if self._bucket is None else self._bucket.left
        least = min(LEAST_BYTES, budget)  # what is less in the end waits for the next tick
        while due and budget >= least > 0:
            self._granted = share = max(least, budget // len(due))
            due.popleft()[1].take_turn()
            budget -= share - self._granted


def throttle(clock: IReactorTime, each: int, total: int) -> Throttle | None:
    """The limits, in bytes a second by each connection and by all together; None where neither is set."""
    return Throttle(clock, each, total) if each or total else None
