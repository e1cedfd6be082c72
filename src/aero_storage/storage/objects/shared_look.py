"""A look at the origin that several wait for; one who leaves does not end it."""

from __future__ import annotations

from typing import Generic, TypeVar

import attrs
from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

_T = TypeVar("_T")

LATE_SECONDS = 1.5
"""A look that takes longer counts as unanswered for those who can be served from what was seen before."""


@attrs.define(eq=False)
class Flight(Generic[_T]):
    """A look under way; used on the reactor's thread only."""

    began: float
    subject: object = None
    waiters: list[Deferred[_T]] = attrs.field(factory=list)
    outcome: _T | Failure | None = None

    def join(self) -> Deferred[_T]:
        """Return what fires with the outcome; can be cancelled."""
        if self.outcome is not None:
            return _settled(self.outcome)
        waiter: Deferred[_T] = Deferred(self.waiters.remove)
        self.waiters.append(waiter)
        return waiter

    def end(self, outcome: _T | Failure) -> None:
        """Tell all who wait."""
        self.outcome = outcome
        while self.waiters:
            waiter = self.waiters.pop(0)
            if isinstance(outcome, Failure):
                waiter.errback(outcome)
            else:
                waiter.callback(outcome)


def _settled(outcome: _T | Failure) -> Deferred[_T]:
    return fail(outcome) if isinstance(outcome, Failure) else succeed(outcome)
