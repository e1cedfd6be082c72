"""Heartbeats of workers: finds the workers that are silent, and has those killed that stay so."""

from __future__ import annotations

from collections.abc import Callable

import attrs
from twisted.internet.interfaces import IDelayedCall, IReactorTime

CHECK_SECONDS = 1.0
"""Interval of the checks; workers send a message at least as often."""

LATE_SECONDS = 1.0
"""A check that is late by more counts no silence: the parent did not run either, as the machine was suspended."""

PAUSE_SECONDS = 3.0
"""Silence after which other workers accept connections in place of a worker."""

SILENT_SECONDS = 10.0
"""Silence after which a worker is killed."""

START_SECONDS = 60.0
"""Silence after which a worker is killed that has not sent any message yet: imports from a cold disk take time."""

REPLACE_SECONDS = 60.0
"""Longest time for which the next silent worker is spared while the last one is being replaced."""


@attrs.define(eq=False)
class _Pulse:
    """The state of one running worker."""

    pid: int
    silence: float = 0.0
    limit: float = START_SECONDS
    is_paused: bool = False


@attrs.define(eq=False)
class Heartbeat:
    """Measures the silence of workers, and calls `kill` with the number and the silence of one that is stuck.

    One worker is killed at a time: a cause that stops all of them must not end every connection at once. A worker
    that a debugger holds is spared. `paused` is called with True for a worker that has been silent for
    PAUSE_SECONDS, with False when it is heard again.
    """

    _clock: IReactorTime
    _kill: Callable[[int, float], object]
    _paused: Callable[[int, bool], object]
    _is_traced: Callable[[int], bool]
    _pulses: dict[int, _Pulse] = attrs.field(init=False, factory=dict)
    _timer: IDelayedCall | None = attrs.field(init=False, default=None)
    _checked: float = attrs.field(init=False, default=0.0)
    _replaced: int | None = attrs.field(init=False, default=None)
    """The worker that was killed last, until its successor is heard."""
    _killed: float = attrs.field(init=False, default=0.0)

    def start(self) -> None:
        """Start the checks."""
        self._checked = self._clock.seconds()
        self._timer = self._clock.callLater(CHECK_SECONDS, self._check)

    def stop(self) -> None:
        """Stop the checks."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def began(self, number: int, pid: int) -> None:
        """A worker has been started."""
        self._pulses[number] = _Pulse(pid)

    def ended(self, number: int) -> None:
        """A worker has ended."""
        self._pulses.pop(number, None)

    def heard(self, number: int) -> None:
        """A worker has sent a message."""
        pulse = self._pulses.get(number)
        if pulse is None:  # it has been killed
            return
        pulse.silence, pulse.limit = 0.0, SILENT_SECONDS
        if number == self._replaced:
            self._replaced = None
        if pulse.is_paused:
            pulse.is_paused = False
            self._paused(number, False)  # noqa: FBT003

    def _check(self) -> None:
        now = self._clock.seconds()
        elapsed, self._checked = now - self._checked, now
        self._timer = self._clock.callLater(CHECK_SECONDS, self._check)
        if elapsed > CHECK_SECONDS + LATE_SECONDS:
            return
        for number, pulse in list(self._pulses.items()):
            self._count(number, pulse, elapsed)
        self._kill_one(now)

    def _count(self, number: int, pulse: _Pulse, elapsed: float) -> None:
        pulse.silence += elapsed
        if pulse.silence >= PAUSE_SECONDS and not pulse.is_paused:
            pulse.is_paused = True
            self._paused(number, True)  # noqa: FBT003
        if pulse.silence > PAUSE_SECONDS and self._is_traced(pulse.pid):
            pulse.silence = PAUSE_SECONDS  # so that it has time to be heard once it is let go

    def _kill_one(self, now: float) -> None:
        if self._replaced is not None and now - self._killed < REPLACE_SECONDS:
            return
        stuck = [number for number, pulse in self._pulses.items() if pulse.silence >= pulse.limit]
        if stuck:
            number = max(stuck, key=lambda number: self._pulses[number].silence)
            self._replaced, self._killed = number, now
            self._kill(number, self._pulses.pop(number).silence)
