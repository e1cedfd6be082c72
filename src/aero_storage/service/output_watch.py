"""Looks whether anybody reads the standard output of a daemon in the foreground.

A log line shows it too, but an idle daemon writes none: it would run on unseen behind `aero-storage serve | head -1`.
"""

from __future__ import annotations

import os
import select
import stat
from collections.abc import Callable

import attrs
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

SECONDS = 1.0
"""Between two looks."""


@attrs.define(eq=False)
class OutputWatch:
    """Calls `unread` once, when the reader of a pipe or a socket has gone; other files have no reader."""

    _clock: IReactorTime
    _descriptor: int
    _unread: Callable[[], object]
    _looks: LoopingCall = attrs.field(init=False)

    @_looks.default
    def _make_looks(self) -> LoopingCall:
        looks = LoopingCall(self._look)
        looks.clock = self._clock
        return looks

    def start(self) -> None:
        """Begin to look."""
        if has_reader(self._descriptor):
            self._looks.start(SECONDS)

    def stop(self) -> None:
        """Look no more."""
        if self._looks.running:
            self._looks.stop()

    def _look(self) -> None:
        if is_unread(self._descriptor):
            self.stop()
            self._unread()


def has_reader(descriptor: int) -> bool:
    """Return whether a descriptor leads to a process that may go away: by a pipe or a socket."""
    mode = os.fstat(descriptor).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def is_unread(descriptor: int) -> bool:
    """Return whether the other end of a pipe or a socket is closed."""
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
