"""Makes values one at a time, each once for all who ask for it, and remembers the last ones in bounded memory."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from aero_storage.delivery.waiters import Waiters
from aero_storage.errors import ClientError

MOST_WAITING = 1000
"""Values that are made, or wait for it; a request for one more is refused."""

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")


def _for_ever(_value: object) -> float:
    return math.inf


@attrs.frozen(eq=False)
class _Flight(Generic[_V]):
    """A value that is being made, or waits for its turn."""

    make: Callable[[], Awaitable[_V]]
    waiters: Waiters[_V]


@attrs.frozen
class _Known(Generic[_V]):
    value: _V
    weight: int
    until: float


@attrs.define(eq=False)
class MadeOnce(Generic[_K, _V]):
    """Values by their keys, used on the reactor's thread.

    They are remembered up to `most` of what `weigh` returns, together; each for the seconds that `lasts` returns. A
    failure is not remembered. `refusal` is the error of a request for too many.
    """

    _clock: IReactorTime
    _refusal: type[ClientError]
    _most: int
    _weigh: Callable[[_V], int]
    _lasts: Callable[[_V], float] = _for_ever
    _known: OrderedDict[_K, _Known[_V]] = attrs.field(init=False, factory=OrderedDict)
    _weight: int = attrs.field(init=False, default=0)
    _flights: dict[_K, _Flight[_V]] = attrs.field(init=False, factory=dict)
    """In the order of their turns."""
    _is_busy: bool = attrs.field(init=False, default=False)

    def ask(self, key: _K, make: Callable[[], Awaitable[_V]]) -> Deferred[_V]:
        """Return the value, which `make` makes unless it is known, or being made.

        Can be cancelled: the value is made all the same, for the next who asks. Raises `refusal`.
        """
        known = self._known.get(key)
        if known is not None and self._clock.seconds() < known.until:
            self._known.move_to_end(key)
            return succeed(known.value)
        flight = self._flights.get(key)
        if flight is not None:
            return flight.waiters.join()
        if len(self._flights) >= MOST_WAITING:
            raise self._refusal("too many are waited for")
        flight = self._flights[key] = _Flight(make, Waiters(self._clock))
        waiter = flight.waiters.join()
        self._begin_next()
        return waiter

    def _begin_next(self) -> None:
        if self._is_busy or not self._flights:
            return
        self._is_busy = True
        key, flight = next(iter(self._flights.items()))
        Deferred.fromCoroutine(_awaited(flight)).addBoth(self._ended, key)

    def _ended(self, outcome: _V | Failure, key: _K) -> None:
        flight, self._is_busy = self._flights.pop(key), False
        if not isinstance(outcome, Failure):
            self._remember(key, outcome)
        try:
            flight.waiters.tell(outcome)
        finally:
            self._begin_next()

    def _remember(self, key: _K, value: _V) -> None:
        self._forget(key)
        self._known[key] = known = _Known(value, self._weigh(value), self._clock.seconds() + self._lasts(value))
        self._weight += known.weight
        while self._weight > self._most and len(self._known) > 1:
            self._forget(next(iter(self._known)))

    def _forget(self, key: _K) -> None:
        known = self._known.pop(key, None)
        if known is not None:
            self._weight -= known.weight


async def _awaited(flight: _Flight[_V]) -> _V:
    return await flight.make()
