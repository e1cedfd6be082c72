"""Delays that can be interrupted: a second signal ends the wait of a graceful shutdown."""

from __future__ import annotations

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime


@attrs.define(eq=False)
class InterruptibleDelay:
    """A delay for one waiter at a time."""

    _clock: IReactorTime
    _waiting: Deferred[None] | None = attrs.field(init=False, default=None)
    _ended: bool = attrs.field(init=False, default=False)

    async def wait(self, seconds: float) -> None:
        """Wait for `seconds`, or not at all after `end`."""
        if self._ended or not seconds:
            return
        waiting: Deferred[None] = Deferred()
        self._waiting = waiting
        timer = self._clock.callLater(seconds, self.skip)
        await waiting
        if timer.active():
            timer.cancel()

    def skip(self) -> None:
        """End the current wait."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    def end(self) -> bool:
        """End the current wait and skip all later ones; return whether there was one."""
        waits = self._waiting is not None
        self._ended = True
        self.skip()
        return waits
