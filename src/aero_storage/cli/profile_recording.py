"""Waits for the next sessions of an image, as a log tells of them."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence

import attrs

from aero_storage.errors import OperatorError
from aero_storage.profiles.learning import Learner
from aero_storage.profiles.sessions import Session

LATE_SECONDS = 2.0
"""The line of a request is written within a second after its end."""

MOST_READS = 2_000_000
"""Limit of the reads that are looked through again for each read of byte 0."""

_POLL_SECONDS = 0.25
_MICROSECONDS = 1_000_000


@attrs.define(eq=False)
class Recording:
    """A recording of the next `wanted` sessions; `now` gives seconds since the epoch, `wait` waits for seconds."""

    _learner: Learner
    _new_lines: Callable[[], Iterable[bytes]]
    _wanted: int
    _say: Callable[[str], None]
    _start: float
    """Sessions from then on are recorded, in seconds since the epoch."""
    _now: Callable[[], float]
    _wait: Callable[[float], object]
    _sessions: Sequence[Session] = attrs.field(init=False, default=())
    """Those that have begun since the start, the first ones."""

    def sessions(self, seconds: float) -> Sequence[Session]:
        """Wait at most so long; return the sessions whose first seconds are over, none if there is none."""
        self._look()
        while not self._is_over() and self._now() < self._start + seconds:
            self._wait(_POLL_SECONDS)
            self._take()
        self._look()
        return self._sessions

    def _take(self) -> None:
        has_started = False
        for line in self._new_lines():
            event = self._learner.take(line)
            has_started = has_started or (event is not None and not event.first)
        if self._learner.reads > MOST_READS:
            raise OperatorError(f"more than {MOST_READS} reads have come; wait for less time, or learn from the log")
        if has_started:
            self._look()

    def _look(self) -> None:
        """Find the sessions that count anew: a request for the profile takes one out again."""
        begun = (one for one in self._learner.sessions() if one.began >= self._start * _MICROSECONDS)
        found = heapq.nsmallest(self._wanted, begun, key=lambda one: one.began)
        if len(found) > len(self._sessions):
            self._say(f"{len(found)} of {self._wanted} sessions have begun.")
        self._sessions = found

    def _is_over(self) -> bool:
        if len(self._sessions) < self._wanted:
            return False
        last = self._sessions[-1].began / _MICROSECONDS
        return self._now() >= last + self._learner.rules.seconds + LATE_SECONDS
