"""Timeouts of request heads and of idle connections: one look a second at all connections, and nothing per request.

A timer for each connection would have to be set anew with each request. So a connection just says what it waits for
and counts the heads that it has read, and whoever looks notes since when that has been so. A timeout is never early,
and late by two looks at the most.
"""

from __future__ import annotations

import enum
from collections.abc import Collection

import attrs
from twisted.internet.interfaces import IDelayedCall, IReactorTime

_LONGEST_TICK, _SHORTEST_TICK = 1.0, 0.05
_TICKS = 4
"""Looks for each timeout, at the least: of a short one the lateness is to be short too."""


class Waiting(enum.Enum):
    """What a connection waits for."""

    HEAD = "the rest of a head"
    """Its first head counts from the opening of the connection."""
    REQUEST = "the next request"


class Watched:
    """A connection, as the vigil sees it, with what it notes of it."""

    heads = 0
    """Request heads that have been read."""
    noted: tuple[Waiting | None, int] = (None, -1)
    since = 0.0
    patience: float | None = None
    """Seconds that it may wait for anything, if it is only here to be turned away."""

    @property
    def waiting(self) -> Waiting | None:
        """What it waits for from the client; None while a response is made or sent, or it is closing."""
        raise NotImplementedError

    @property
    def is_silent(self) -> bool:
        """Whether nothing of a next request has come."""
        raise NotImplementedError

    def time_out(self) -> None:
        """It has waited too long."""
        raise NotImplementedError

    def make_way(self) -> None:
        """Close: it is silent, and others need the room."""
        raise NotImplementedError


@attrs.define(eq=False)
class Vigil:
    """Looks after the `members`, a collection that others fill; seconds for heads and for silence in between."""

    _clock: IReactorTime
    _head_seconds: float
    _idle_seconds: float
    _members: Collection[Watched]
    _timer: IDelayedCall | None = attrs.field(init=False, default=None)
    _spare: list[Watched] | None = attrs.field(init=False, default=None)
    """Those that could make way, the one that has been silent longest at the end; None: not looked for yet."""

    @property
    def tick(self) -> float:
        """Seconds between two looks."""
        return max(_SHORTEST_TICK, min(_LONGEST_TICK, self._head_seconds / _TICKS, self._idle_seconds / _TICKS))

    def hurry(self, seconds: float) -> None:
        """Let heads, those too that have begun, take no longer than so many seconds from now on."""
        self._head_seconds = min(self._head_seconds, seconds)

    def begin(self, one: Watched) -> None:
        """A connection was opened."""
        one.noted, one.since = (Waiting.HEAD, 0), self._clock.seconds()
        if self._timer is None:
            self._timer = self._clock.callLater(self.tick, self._look)

    def end(self) -> None:
        """There is nobody to look after."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def make_room(self) -> bool:
        """Close the connection that has been silent longest, for a second at the least; false if there is none."""
        if self._spare is None:
            self._spare = self._find_spare()
        while self._spare:
            one = self._spare.pop()
            if one in self._members and self._is_spare(one):
                one.make_way()
                return True
        return False

    def _look(self) -> None:
        self._timer = self._spare = None
        now = self._clock.seconds()
        for one in tuple(self._members):
            state = (one.waiting, one.heads)
            if state != one.noted:
                one.noted, one.since = state, now
            elif state[0] is not None and now - one.since >= self._patience(one, state[0]):
                one.time_out()
        if self._members:
            self._timer = self._clock.callLater(self.tick, self._look)

    def _patience(self, one: Watched, waiting: Waiting) -> float:
        usual = self._head_seconds if waiting is Waiting.HEAD else self._idle_seconds
        return usual if one.patience is None else min(usual, one.patience)

    def _find_spare(self) -> list[Watched]:
        """Sorted once for each look: to search all connections for each that is to make way would cost too much."""
        return sorted(filter(self._is_spare, self._members), key=lambda one: one.since, reverse=True)

    def _is_spare(self, one: Watched) -> bool:
        """Whether it has been silent since the last look, and for a tick: who has just come is about to ask.

        One that is only here to be turned away takes no place that others could have.
        """
        waiting = one.waiting
        if waiting is None or not one.is_silent or one.patience is not None or one.noted != (waiting, one.heads):
            return False
        return self._clock.seconds() - one.since >= self.tick
