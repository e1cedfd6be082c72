"""How fast bytes may go out: a limit for each connection, one for all, or none."""

from __future__ import annotations

from collections.abc import Callable

import attrs
from twisted.internet.interfaces import IDelayedCall, IReactorTime

BURST_SECONDS = 0.1
"""What may go out at once after a pause is what the rate allows in so long."""


@attrs.define(eq=False)
class Bucket:
    """A token bucket: `rate` bytes a second, of which so much is saved up at the most as BURST_SECONDS allow."""

    rate: int
    _now: Callable[[], float]
    _left: float = attrs.field(init=False)
    _at: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._left, self._at = self._burst, self._now()

    @property
    def _burst(self) -> float:
        return max(1.0, self.rate * BURST_SECONDS)

    def allowance(self) -> int:
        """Bytes that may go out now; none in debt."""
        now = self._now()
        self._left = min(self._burst, self._left + max(0.0, now - self._at) * self.rate)
        self._at = now
        return max(0, int(self._left))

    def spend(self, count: int) -> None:
        """So many bytes have gone out; more than were allowed are a debt."""
        self._left -= count

    def delay(self) -> float:
        """Seconds until half a burst may go out: rather few pieces than small ones."""
        return max(0.0, (max(1.0, self._burst / 2) - self._left) / self.rate)


@attrs.frozen(eq=False)
class Pace:
    """The buckets that one connection draws from."""

    _clock: IReactorTime
    _buckets: tuple[Bucket, ...]

    def allowance(self) -> int:
        """See Bucket."""
        return min(bucket.allowance() for bucket in self._buckets)

    def spend(self, count: int) -> None:
        """See Bucket."""
        for bucket in self._buckets:
            bucket.spend(count)

    def later(self, work: Callable[[], object]) -> IDelayedCall:
        """Call `work` when something may go out again."""
        return self._clock.callLater(max(bucket.delay() for bucket in self._buckets), work)


@attrs.define(eq=False)
class Rates:
    """Bytes a second of a connection, and of all together; 0 is no limit."""

    _clock: IReactorTime
    _of_one: int
    _of_all: int
    _common: tuple[Bucket, ...] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._common = (Bucket(self._of_all, self._clock.seconds),) if self._of_all else ()

    def begin(self) -> Pace | None:
        """For a new connection; None if it may send as fast as it can."""
        own = (Bucket(self._of_one, self._clock.seconds),) if self._of_one else ()
        buckets = (*own, *self._common)
        return Pace(self._clock, buckets) if buckets else None
