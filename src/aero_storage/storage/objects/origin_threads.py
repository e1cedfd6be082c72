"""Threads that wait for an origin: a Disk whose work has a time limit, its time in line included."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import NoReturn, TypeVar

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from typing_extensions import override

from aero_storage.disk import Disk
from aero_storage.errors import OriginUnavailableError

_T = TypeVar("_T")

LOOK_LANE = "origin looks"
"""The lane of HEADs: a look never waits behind reads."""

LIST_LANE = "origin lists"

GRACE_SECONDS = 1.0
"""An origin ends a call by itself at its time limit; a call that goes on for longer is given up."""


def _ignore(_result: object) -> None:
    pass


@attrs.frozen(eq=False)
class OriginThreads(Disk):
    """Passes work on to other threads; gives it up after `seconds`, with OriginUnavailableError."""

    _threads: Disk
    _clock: IReactorTime
    _seconds: float

    @override
    def run(
        self,
        work: Callable[[], _T],
        discard: Callable[[_T], object] = _ignore,
        lane: Hashable = None,
        *,
        background: bool = False,
    ) -> Deferred[_T]:
        running = self._threads.run(work, discard, lane, background=background)
        if running.called:
            return running
        return running.addTimeout(self._seconds + GRACE_SECONDS, self._clock, onTimeoutCancel=_give_up)

    @override
    def later(self, work: Callable[[], object], lane: Hashable = None) -> None:
        self._threads.later(work, lane)


def _give_up(_result: object, seconds: float) -> NoReturn:
    raise OriginUnavailableError(f"no answer, and no thread that would ask, within {seconds:g} s")
