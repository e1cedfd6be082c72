"""How many connections may be open, in all and of one client.

Who comes over the limit is told so, by a 503 or 429 to his first request and a close, as far as there is room for
that: rather than wait in the kernel's queue, where neither he nor a load balancer learns anything, and where the
queue of one full worker would hold what others have room for. Beyond that room connections are reset.
"""

from __future__ import annotations

import enum
from collections.abc import Callable

import attrs
from twisted.internet.interfaces import IReactorTime

from aero_storage.delivery.client_limits import ClientLimiter
from aero_storage.logs.json_log import EventLog
from aero_storage.logs.rate_limited import RateLimitedEvent
from aero_storage.metrics import Metrics

MOST_TOLD = 64
"""Connections over the limit that are open to be told so."""


def nobody(_host: str) -> bool:
    """No host at all."""
    return False


class Reason(enum.Enum):
    """Why a connection is refused, in the words of the metrics, and how its requests are answered."""

    TOTAL = ("total", 503)
    CLIENT = ("client", 429)

    def __init__(self, label: str, status: int) -> None:
        self.label = label
        self.status = status


@attrs.frozen
class Limits:
    """What connections may do: seconds, and numbers where 0 is no limit."""

    header_timeout: float = 20.0
    idle_timeout: float = 60.0
    most: int = 4096
    most_per_client: int = 0
    is_exempt: Callable[[str], bool] = nobody
    """Whether a host speaks for many clients, so that the limit for one is not for it."""


@attrs.frozen(eq=False)
class Ticket:
    """What an open connection has been counted as; `refusal` is the status for its requests if it is over a limit."""

    give_share_back: Callable[[], None] | None = None
    refusal: int | None = None


@attrs.define(eq=False)
class Crowd:
    """Counts connections. `make_room` closes one that is not needed, if there is one; `refused` is told."""

    _limits: Limits
    _make_room: Callable[[], bool]
    _refused: Callable[[Reason], None]
    _members: int = attrs.field(init=False, default=0)
    _told: int = attrs.field(init=False, default=0)
    _clients: ClientLimiter = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._clients = ClientLimiter(self._limits.most_per_client, self._limits.is_exempt)

    def admit(self, host: str) -> Ticket | None:
        """Count a connection from a host; None if there is no room even to tell it that there is none."""
        # This limit first: nobody who is over it may push out others.
        give_share_back = self._clients.take(host)
        if give_share_back is None:
            return self._refuse(Reason.CLIENT)
        if self._limits.most and self._members >= self._limits.most and not self._make_room():
            give_share_back()
            return self._refuse(Reason.TOTAL)
        self._members += 1
        return Ticket(give_share_back)

    def _refuse(self, reason: Reason) -> Ticket | None:
        self._refused(reason)
        if self._told >= MOST_TOLD:
            return None
        self._told += 1
        return Ticket(refusal=reason.status)

    def leave(self, ticket: Ticket) -> None:
        """A connection is gone."""
        if ticket.give_share_back is None:
            self._told -= 1
        else:
            self._members -= 1
            ticket.give_share_back()


class Refusals:
    """Tells metrics and log of connections that are refused."""

    def __init__(self, limits: Limits, metrics: Metrics, log: EventLog, clock: IReactorTime) -> None:
        self._metrics = metrics
        self._complaints = {reason: RateLimitedEvent(log, clock, "warn", "connections refused") for reason in Reason}
        self._shown = {Reason.TOTAL: limits.most, Reason.CLIENT: limits.most_per_client}

    def __call__(self, reason: Reason) -> None:
        """A connection is refused."""
        self._metrics.connection_refused(reason.label)
        self._complaints[reason].happened({"reason": reason.label, "limit": self._shown[reason]})
