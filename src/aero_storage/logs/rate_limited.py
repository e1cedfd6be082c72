"""What goes wrong a thousand times a second is logged at once, and then once a minute with how often it was."""

from __future__ import annotations

import attrs
from twisted.internet.interfaces import IReactorTime

from aero_storage.logs.json_lines import Fields
from aero_storage.logs.json_log import EventLog

PAUSE_SECONDS = 60.0
"""Between two lines about the same thing."""


@attrs.define(eq=False)
class RateLimitedEvent:
    """One thing that may go wrong, with the line about it; on the reactor's thread alone."""

    _log: EventLog
    _clock: IReactorTime
    _level: str
    _message: str
    _count: int = attrs.field(init=False, default=0)
    _told_at: float | None = attrs.field(init=False, default=None)

    def happened(self, fields: Fields, times: int = 1) -> None:
        """It has gone wrong; the line has `fields`, and in `count` how often since the line before."""
        self._count += times
        now = self._clock.seconds()
        if self._told_at is not None and now - self._told_at < PAUSE_SECONDS:
            return
        count, self._count, self._told_at = self._count, 0, now
        self._log.event(self._level, self._message, {**fields, "count": count})
