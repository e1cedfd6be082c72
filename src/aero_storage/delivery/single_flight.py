"""Shares expensive checks of many files between concurrent requests: opening 1,000 images takes 20 ms."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from aero_storage.delivery.waiters import Waiters

FRESH_SECONDS = 0.5
"""Time for which a result is used, counted from the start of its check; with the catalog's interval, one second."""

_T = TypeVar("_T")


@attrs.define(eq=False)
class _Check(Generic[_T]):
    """One check, under way or done."""

    subject: object
    started: float
    waiters: Waiters[None]
    outcome: _T | Failure | None = None
    under_way: bool = True

    def end(self, outcome: _T | Failure) -> None:
        """Record the outcome, and wake all waiters."""
        self.outcome, self.under_way = outcome, False
        self.waiters.tell(None)

    async def ended(self) -> None:
        """Wait for the end; a cancelled waiter does not affect the others."""
        if self.under_way:
            await self.waiters.join()


@attrs.define(eq=False)
class SingleFlight(Generic[_T]):
    """Runs checks of one kind: at most one at a time for a subject, shared by all callers."""

    _clock: IReactorTime
    _fresh_seconds: float = FRESH_SECONDS
    """0 for checks that have a memory of their own."""
    _last: _Check[_T] | None = attrs.field(init=False, default=None)

    async def ask(self, subject: object, check: Callable[[], Awaitable[_T]]) -> _T:
        """Return the result of `check`, or of one for the same subject that began within `fresh_seconds`.

        Raises the error of the check. If an older one is still under way, wait for it, and share the next one.
        """
        while (last := self._last) is not None and last.subject is subject:
            if 0 <= self._clock.seconds() - last.started <= self._fresh_seconds:
                return await self._outcome(last)
            if not last.under_way:
                break
            await last.ended()
        return await self._outcome(self._begin(subject, check))

    def _begin(self, subject: object, check: Callable[[], Awaitable[_T]]) -> _Check[_T]:
        self._last = started = _Check[_T](subject, self._clock.seconds(), Waiters(self._clock))
        Deferred.fromCoroutine(_await(check)).addBoth(started.end)
        return started

    async def _outcome(self, check: _Check[_T]) -> _T:
        await check.ended()
        if isinstance(check.outcome, Failure):
            if self._last is check:
                self._last = None
            check.outcome.raiseException()
        return check.outcome  # type: ignore[return-value]


async def _await(check: Callable[[], Awaitable[_T]]) -> _T:
    return await check()
