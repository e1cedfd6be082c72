"""An idle timer that costs next to nothing to stop and start again, as HTTP does for each request."""

from __future__ import annotations

from twisted.internet.interfaces import IDelayedCall
from twisted.protocols.policies import TimeoutMixin


class IdleTimer(TimeoutMixin):
    """Twisted's TimeoutMixin, but a stopped timer stays with the reactor: it runs out unheard, or is set anew.

    Twisted's own cancels a call of the reactor and makes a new one every time.
    """

    timeOut: float | None = None  # type: ignore[assignment]  # Twisted says int, and takes either
    _timer: IDelayedCall | None = None

    def setTimeout(self, period: float | None) -> float | None:
        """See TimeoutMixin."""
        previous, self.timeOut = self.timeOut, period
        if self._timer is not None:
            self.resetTimeout()
        elif period is not None:
            self._timer = self.callLater(period, self._run_out)
        return previous

    def resetTimeout(self) -> None:
        """See TimeoutMixin."""
        if self._timer is not None and self.timeOut is not None:
            self._timer.reset(self.timeOut)

    def forget_timeout(self) -> None:
        """The connection is gone, and nothing is to keep it in memory."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _run_out(self) -> None:
        self._timer = None
        if self.timeOut is not None:
            self.timeoutConnection()
