"""Tells the operator which files have changed in place, and how many connections were reset for each."""

from __future__ import annotations

import attrs
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from aero_storage.logs.json_log import EventLog

REPORT_SECONDS = 0.05
"""Resets for one file within this time are told in one line."""

_MESSAGE = "file changed in place: connections reset"


@attrs.define(eq=False)
class ChangeReports:
    """Gathers resets for a moment; one line in the log for each file."""

    _clock: IReactorTime
    _log: EventLog
    _resets: dict[str, int] = attrs.field(init=False, factory=dict)
    _timer: IDelayedCall | None = attrs.field(init=False, default=None)

    def add(self, name: str, connections: int = 1) -> None:
        """So many connections are reset, as the file `name` has changed."""
        self._resets[name] = self._resets.get(name, 0) + connections
        if self._timer is None:
            self._timer = self._clock.callLater(REPORT_SECONDS, self._report)

    def stop(self) -> None:
        """Tell what has been gathered: the process ends."""
        if self._timer is not None:
            self._timer.cancel()
            self._report()

    def _report(self) -> None:
        self._timer = None
        resets, self._resets = self._resets, {}
        for name, connections in resets.items():
            self._log.event("warn", _MESSAGE, {"file": name, "connections": connections})
