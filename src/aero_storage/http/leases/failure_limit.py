"""How many failed verifications a client may have in a second."""

from __future__ import annotations

from collections import OrderedDict, deque

import attrs

MAX_CLIENTS = 10_000
"""Limit of the clients that are remembered; the one that has failed least recently is forgotten first."""

_SECOND = 1.0


@attrs.define(eq=False)
class FailureLimit:
    """The last failures of each client; `limit` is their most, 0 for any number.

    `now` is of a steady clock, in seconds.
    """

    _limit: int
    _failures: OrderedDict[str, deque[float]] = attrs.field(init=False, factory=OrderedDict)

    def is_reached(self, client: str, now: float) -> bool:
        """Return whether a client has had as many failures in the last second as it may."""
        failures = self._failures.get(client)
        if failures is None or not self._limit:
            return False
        return len(failures) == self._limit and now - failures[0] < _SECOND

    def has_failed_within(self, client: str, seconds: float, now: float) -> bool:
        """Return whether a client has had a failure within the last `seconds`, and is remembered."""
        failures = self._failures.get(client)
        return failures is not None and now - failures[-1] < seconds

    def failed(self, client: str, now: float) -> None:
        """Count a failure."""
        failures = self._failures.setdefault(client, deque(maxlen=max(self._limit, 1)))
        self._failures.move_to_end(client)
        failures.append(now)
        if len(self._failures) > MAX_CLIENTS:
            self._failures.popitem(last=False)
