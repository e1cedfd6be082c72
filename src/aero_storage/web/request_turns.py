"""Turns of the connections that pipeline: together they have TURN_SECONDS in one turn of the reactor.

All that is received in one read could be answered in one turn: a packet of 1,400 pipelined requests would hold all
other connections up for a second, and fifty such packets for as many times a millisecond if each connection had one
for itself. Requests that come one by one never wait here; of those that come together, the first does if the time of
this turn is over.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

import attrs
from twisted.internet.interfaces import IReactorTime

TURN_SECONDS = 0.001


class PipeliningConnection(Protocol):
    """A connection with requests that wait for their turn."""

    __slots__ = ()

    def take_turn(self) -> None:
        """Answer some of them; nothing, if the connection has ended meanwhile."""
        ...


@attrs.define(eq=False)
class RequestTurns:
    """The line of connections whose requests wait, and the time that is left to them in this turn of the reactor."""

    _clock: IReactorTime
    _waiting: deque[PipeliningConnection] = attrs.field(init=False, factory=deque)
    _end: float | None = attrs.field(init=False, default=None)
    """When the time of this turn is over; None while none of it is used."""
    _scheduled: bool = attrs.field(init=False, default=False)

    def now(self) -> float:
        """Return the time from which a connection counts what it uses."""
        return self._clock.seconds()

    @property
    def is_over(self) -> bool:
        """Whether the time of this turn is used up."""
        return self._end is not None and self._clock.seconds() >= self._end

    def has_time(self, since: float) -> bool:
        """Return whether a connection that began `since` may answer a further request in this turn."""
        if self._end is None:
            self._end = since + TURN_SECONDS
            self._schedule()
        return self._clock.seconds() < self._end

    def wait(self, connection: PipeliningConnection) -> None:
        """Call `take_turn` once, after the connections that have waited longer."""
        self._waiting.append(connection)
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._clock.callLater(0, self._begin_turn)

    def _begin_turn(self) -> None:
        """Begin a turn: the reactor has looked for new requests since the last one."""
        self._scheduled, self._end = False, None
        if not self._waiting:
            return
        start = self.now()
        try:
            self._waiting.popleft().take_turn()
            while self._waiting and self.has_time(start):
                self._waiting.popleft().take_turn()
        finally:
            if self._waiting:
                self._schedule()
