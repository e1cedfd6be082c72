"""Requests that wait for one result are told of it a few at a time.

Each of them then sends a response, in some 0.3 ms: 200 that wait for `/metrics` would hold all others up for 60 ms.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

AT_ONCE = 4
"""Requests that are told in one turn of the reactor."""

_T = TypeVar("_T")


@attrs.define(eq=False)
class Waiters(Generic[_T]):
    """Those who wait for the next result."""

    _clock: IReactorTime
    _group: deque[Deferred[_T]] = attrs.field(init=False, factory=deque)

    def join(self) -> Deferred[_T]:
        """Return a Deferred of the next result; a cancelled one is not told."""
        waiter: Deferred[_T] = Deferred(self._group.remove)
        self._group.append(waiter)
        return waiter

    def tell(self, result: _T | Failure) -> None:
        """Tell all that have joined, in their order: the first ones now, the others in the next turns."""
        group, self._group = self._group, deque()
        self._tell_some(group, result)

    def _tell_some(self, group: deque[Deferred[_T]], result: _T | Failure) -> None:
        told = 0
        while group and told < AT_ONCE:
            group.popleft().callback(result)
            told += 1
        if group:
            self._clock.callLater(0, self._tell_some, group, result)
