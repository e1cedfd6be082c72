"""Timeouts of request heads and of idle connections: one look a second at all connections, and nothing per request.

A timer for each connection would have to be set anew with each request. So a connection only says what it waits for,
and counts the heads that it has read; each look notes since when that has been so. A timeout is never early, and late
by two looks at most.
"""

from __future__ import annotations

import enum
from collections.abc import Collection
from typing import Protocol

import attrs
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from aero_storage.errors import StatusAndReason

_LONGEST_TICK, _SHORTEST_TICK = 1.0, 0.05
_TICKS = 4
"""Looks for each timeout, at the least: a short timeout is to be late by little."""


class Waiting(enum.Enum):
    """The input that a connection waits for."""

    HEAD = "the rest of a head"
    """The first head of a connection counts from the opening of the connection."""
    REQUEST = "the next request"


@attrs.define(eq=False)
class Wait:
    """The state of a connection at the last look."""

    state: tuple[Waiting | None, int] = (None, -1)
    """The input that it waited for, and the number of heads that it had read."""
    since: float = 0.0


class TimedConnection(Protocol):
    """A connection, as far as its timeouts go."""

    wait: Wait
    """Kept by Timeouts."""

    refusal: StatusAndReason | None
    """If it is over a limit of connections: it only waits for its refusal, REFUSED_SECONDS at most."""

    @property
    def heads(self) -> int:
        """Request heads that have been read."""
        ...

    @property
    def waiting(self) -> Waiting | None:
        """The input that it waits for; None while a response is made or sent, or while it closes."""
        ...

    @property
    def is_silent(self) -> bool:
        """Whether nothing of a next request has come."""
        ...

    def time_out(self) -> None:
        """It has waited too long."""
        ...

    @property
    def has_all(self) -> bool:
        """Whether its client has acknowledged all that was sent."""
        ...

    def make_way(self) -> None:
        """Close it without a word: it is silent, and another needs its place."""
        ...


REFUSED_SECONDS = 2.0
"""How long a connection over the limit waits for the head that its refusal answers."""


@attrs.define(eq=False)
class Timeouts:
    """Watches `connections`, a collection that others fill; seconds for heads and for idle connections."""

    _clock: IReactorTime
    _head_seconds: float
    _idle_seconds: float
    _connections: Collection[TimedConnection]
    _timer: IDelayedCall | None = attrs.field(init=False, default=None)
    _spare: list[TimedConnection] | None = attrs.field(init=False, default=None)
    """Connections that may be closed for others, the first of them at the end; None: unknown."""

    @property
    def tick(self) -> float:
        """Seconds between two looks."""
        return max(_SHORTEST_TICK, min(_LONGEST_TICK, self._head_seconds / _TICKS, self._idle_seconds / _TICKS))

    def limit_heads(self, seconds: float) -> None:
        """From now on let heads, those that have begun too, take no longer than `seconds`."""
        self._head_seconds = min(self._head_seconds, seconds)

    def opened(self, connection: TimedConnection) -> None:
        """A connection was opened."""
        connection.wait = Wait((Waiting.HEAD, 0), self._clock.seconds())
        if self._timer is None:
            self._timer = self._clock.callLater(self.tick, self._look)

    def stop(self) -> None:
        """No connection is left."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def make_room(self) -> bool:
        """Close a connection that has been silent for a second at least; false if there is none.

        It is the one that has been silent longest; one whose client has yet to take some of a response comes last.
        """
        if self._spare is None:
            self._spare = self._find_spare()
        while self._spare:
            connection = self._spare.pop()
            if connection in self._connections and self._is_spare(connection):
                connection.make_way()
                return True
        return False

    def _look(self) -> None:
        self._timer = self._spare = None
        now = self._clock.seconds()
        for connection in tuple(self._connections):
            state, wait = (connection.waiting, connection.heads), connection.wait
            if state != wait.state:
                wait.state, wait.since = state, now
            elif state[0] is not None and now - wait.since >= self._seconds_for(connection, state[0]):
                connection.time_out()
        if self._connections:
            self._timer = self._clock.callLater(self.tick, self._look)

    def _seconds_for(self, connection: TimedConnection, waiting: Waiting) -> float:
        seconds = self._head_seconds if waiting is Waiting.HEAD else self._idle_seconds
        return min(seconds, REFUSED_SECONDS) if connection.refusal else seconds

    def _find_spare(self) -> list[TimedConnection]:
        """Sorted once for each look: a search of all connections for each new one would cost too much."""
        spare = filter(self._is_spare, self._connections)
        return sorted(spare, key=lambda connection: (not connection.has_all, connection.wait.since), reverse=True)

    def _is_spare(self, connection: TimedConnection) -> bool:
        """Whether it has been silent since the last look, and for a tick: a new connection is about to ask.

        A refused connection takes no place that others could have.
        """
        waiting, wait = connection.waiting, connection.wait
        if waiting is None or not connection.is_silent or connection.refusal:
            return False
        if wait.state != (waiting, connection.heads):
            return False
        return self._clock.seconds() - wait.since >= self.tick
