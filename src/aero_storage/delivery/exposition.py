"""The exposition of the metrics: made at most once in half a second, shared by all who ask meanwhile.

To make one takes a millisecond, in which nobody is served, and with workers a question to each of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from aero_storage.delivery.waiters import Waiters

INTERVAL_SECONDS = 0.5


@attrs.define(eq=False)
class PacedExposition:
    """Calls `make`, which gives an exposition of now, no more often than the interval allows."""

    _clock: IReactorTime
    _make: Callable[[], Awaitable[bytes]]
    _last: bytes | None = attrs.field(init=False, default=None, repr=False)
    _made_at: float = attrs.field(init=False, default=-INTERVAL_SECONDS)
    _waiters: Waiters[bytes] = attrs.field(init=False)
    _under_way: bool = attrs.field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self._waiters = Waiters(self._clock)

    async def current(self) -> bytes:
        """An exposition that is made now, or as soon as the interval since the last one has passed."""
        waiter = self._waiters.join()
        if not self._under_way:
            self._under_way = True
            delay = self._made_at + INTERVAL_SECONDS - self._clock.seconds()
            if delay > 0:
                self._clock.callLater(min(delay, INTERVAL_SECONDS), self._begin)
            else:
                self._begin()
        return await waiter

    async def last(self) -> bytes:
        """The one that was made last, however old it is; the first is made."""
        return await self.current() if self._last is None else self._last

    def _begin(self) -> None:
        Deferred.fromCoroutine(self._awaited()).addBoth(self._made)

    async def _awaited(self) -> bytes:
        return await self._make()

    def _made(self, result: bytes | Failure) -> None:
        self._under_way, self._made_at = False, self._clock.seconds()
        if isinstance(result, bytes):
            self._last = result
        self._waiters.tell(result)
