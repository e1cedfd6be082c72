"""Looks at many files at once, shared: to open each of 1,000 images takes 20 ms, which nobody may ask for at will."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

FRESH_SECONDS = 0.5
"""For how long after it began a look answers for others: with the time between two looks at the catalog, a second."""

_T = TypeVar("_T")


@attrs.define(eq=False)
class _Flight(Generic[_T]):
    """One look, under way or done."""

    subject: object
    begun: float
    outcome: _T | Failure | None = None
    under_way: bool = True
    waiting: list[Deferred[None]] = attrs.field(factory=list)

    def end(self, outcome: _T | Failure) -> None:
        """Tell all who wait."""
        self.outcome, self.under_way = outcome, False
        waiting, self.waiting = self.waiting, []
        for one in waiting:
            one.callback(None)

    async def ended(self) -> None:
        """Wait for the end; who gives up keeps nobody else waiting."""
        if self.under_way:
            waiting: Deferred[None] = Deferred(self.waiting.remove)
            self.waiting.append(waiting)
            await waiting


@attrs.define(eq=False)
class SingleFlight(Generic[_T]):
    """Looks of one kind: at most one at a time at the same subject, however many ask."""

    _clock: IReactorTime
    _last: _Flight[_T] | None = attrs.field(init=False, default=None)

    async def ask(self, subject: object, look: Callable[[], Awaitable[_T]]) -> _T:
        """What `look` finds, or has found within FRESH_SECONDS, about the same object; raises what it raised.

        Who comes later than that waits for the look under way, and shares the next.
        """
        while (last := self._last) is not None and last.subject is subject:
            if 0 <= self._clock.seconds() - last.begun <= FRESH_SECONDS:
                return await self._outcome(last)
            if not last.under_way:
                break
            await last.ended()
        return await self._outcome(self._begin(subject, look))

    def _begin(self, subject: object, look: Callable[[], Awaitable[_T]]) -> _Flight[_T]:
        self._last = begun = _Flight[_T](subject, self._clock.seconds())
        Deferred.fromCoroutine(_await(look)).addBoth(begun.end)
        return begun

    async def _outcome(self, look: _Flight[_T]) -> _T:
        await look.ended()
        if isinstance(look.outcome, Failure):
            if self._last is look:
                self._last = None
            look.outcome.raiseException()
        return look.outcome  # type: ignore[return-value]


async def _await(look: Callable[[], Awaitable[_T]]) -> _T:
    return await look()
