"""Single flight: all who want one block share one read of it. On the reactor's thread only."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure


@attrs.define(eq=False)
class Flight:
    """A block that is being brought in."""

    background: bool
    waiters: dict[Deferred[None], None] = attrs.field(factory=dict)
    is_ahead: bool = False
    """Whether a read-ahead wants it, too."""
    work: Deferred[None] | None = None
    has_begun: bool = False
    """Whether a thread is at work on it."""
    has_arrived: bool = False
    """Whether its bytes are in memory; they are being stored."""


Load = Callable[[Flight], Coroutine[Deferred[Any], Any, None]]
"""Brings a block in."""


@attrs.define(eq=False)
class Flights:
    """The blocks of one file that are being brought in.

    A flight ends early when nobody wants it any more; one who leaves does not end it for others.
    """

    _under_way: dict[int, Flight] = attrs.field(init=False, factory=dict)

    def __contains__(self, index: int) -> bool:
        return index in self._under_way

    def __len__(self) -> int:
        return len(self._under_way)

    def is_awaited(self, index: int) -> bool:
        """Return whether somebody waits for a block."""
        flight = self._under_way.get(index)
        return flight is not None and bool(flight.waiters)

    def join(self, index: int, load: Load, *, background: bool) -> Deferred[None]:
        """Return a Deferred that fires when the block is there, or fails as `load` does; it can be cancelled."""
        flight = self._under_way.get(index)
        if flight is None:
            flight = self._under_way[index] = Flight(background)
        waiter: Deferred[None] = Deferred(lambda waiter: self._leave(index, flight, waiter))
        flight.waiters[waiter] = None
        if flight.work is None:
            self._start(index, flight, load)
        elif flight.background and not (background or flight.has_begun):
            self._hasten(index, flight, load)
        return waiter

    def begin_ahead(self, index: int, load: Load) -> None:
        """Bring a block in that nobody waits for yet."""
        if index not in self._under_way:
            flight = self._under_way[index] = Flight(background=True, is_ahead=True)
            self._start(index, flight, load)

    def end_ahead(self, index: int) -> None:
        """The read-ahead no longer wants the block."""
        flight = self._under_way.get(index)
        if flight is not None:
            flight.is_ahead = False
            self._end_if_unwanted(index, flight)

    def is_under_way(self, index: int, flight: Flight) -> bool:
        """Return whether a block is being brought in by this flight."""
        return self._under_way.get(index) is flight

    def arrived(self, flight: Flight) -> None:
        """Fire what waits for a block whose bytes can be sent now, from memory; they are stored to the end."""
        flight.has_arrived = True
        waiters, flight.waiters = flight.waiters, {}
        for waiter in waiters:
            waiter.callback(None)

    def cancel_all(self) -> None:
        """End all flights; those that still wait get a CancelledError."""
        for flight in tuple(self._under_way.values()):
            if flight.work is not None:
                flight.work.cancel()

    def _start(self, index: int, flight: Flight, load: Load) -> None:
        flight.work = work = Deferred.fromCoroutine(load(flight))
        work.addBoth(lambda result: self._ended(index, flight, work, result))

    def _hasten(self, index: int, flight: Flight, load: Load) -> None:
        """Somebody waits now for what was read in the background: ask again, in front of the background's line."""
        slow, flight.background = flight.work, False
        self._start(index, flight, load)
        if slow is not None:
            slow.cancel()

    def _ended(self, index: int, flight: Flight, work: Deferred[None], result: object) -> None:
        if flight.work is not work and flight.work is not None:  # it was hastened
            return
        if self._under_way.get(index) is flight:
            del self._under_way[index]
        waiters, flight.waiters = flight.waiters, {}
        for waiter in waiters:
            if isinstance(result, Failure):
                waiter.errback(result)
            else:
                waiter.callback(None)

    def _leave(self, index: int, flight: Flight, waiter: Deferred[None]) -> None:
        if waiter in flight.waiters:
            del flight.waiters[waiter]
            self._end_if_unwanted(index, flight)

    def _end_if_unwanted(self, index: int, flight: Flight) -> None:
        is_wanted = flight.waiters or flight.is_ahead or flight.has_arrived
        if not is_wanted and flight.work is not None:
            if self._under_way.get(index) is flight:
                del self._under_way[index]
            flight.work.cancel()
