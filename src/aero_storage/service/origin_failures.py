"""Tells the log why an origin has failed requests: one line a minute for each thing that it says."""

from __future__ import annotations

import attrs
from twisted.internet.interfaces import IReactorTime

from aero_storage.delivery.facts import Facts
from aero_storage.errors import ClientError
from aero_storage.logs.json_log import EventLog
from aero_storage.logs.rate_limited import RateLimitedEvent

_MAX_TEXTS = 64


@attrs.define(eq=False)
class OriginFailures:
    """Called with the request and the error, whose text names operation, status and the store's own word."""

    _log: EventLog
    _clock: IReactorTime
    _told: dict[str, RateLimitedEvent] = attrs.field(init=False, factory=dict)

    def __call__(self, facts: Facts, failure: ClientError) -> None:
        """Tell of a request that failed."""
        reason = str(failure)
        if reason not in self._told and len(self._told) >= _MAX_TEXTS:
            self._told.clear()
        event = self._told.setdefault(
            reason, RateLimitedEvent(self._log, self._clock, "error", "object store failed a request")
        )
        event.happened({"reason": reason, "path": facts.logged_path})
