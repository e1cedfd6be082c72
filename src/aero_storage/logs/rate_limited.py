"""Rate-limited events: the first is logged at once, then one line a minute with the number of occurrences."""

from __future__ import annotations

import attrs
from twisted.internet.interfaces import IReactorTime

from aero_storage.logs.json_lines import Fields
from aero_storage.logs.json_log import EventLog

PAUSE_SECONDS = 60.0
"""Seconds between two lines about the same event."""


@attrs.define(eq=False)
class RateLimitedEvent:
    """One rate-limited event; used on the reactor's thread only."""

    _log: EventLog
    _clock: IReactorTime
    _level: str
    _message: str
    _count: int = attrs.field(init=False, default=0)
    _logged_at: float | None = attrs.field(init=False, default=None)

    def happened(self, fields: Fields, times: int = 1) -> None:
        """Count `times` occurrences; a line has `fields` and the `count` since the previous line."""
        self._count += times
        now = self._clock.seconds()
        if self._logged_at is not None and now - self._logged_at < PAUSE_SECONDS:
            return
        count, self._count, self._logged_at = self._count, 0, now
        self._log.event(self._level, self._message, {**fields, "count": count})
