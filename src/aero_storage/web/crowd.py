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

from aero_storage.complaints import Complaint
from aero_storage.logs import EventLog
from aero_storage.metrics import Metrics
from aero_storage.protocol.clients import UNIX, client_of

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

    client: str | None = None
    refusal: int | None = None


@attrs.define(eq=False)
class Crowd:
    """Counts connections. `make_room` closes one that is not needed, if there is one; `refused` is told."""

    _limits: Limits
    _make_room: Callable[[], bool]
    _refused: Callable[[Reason], None]
    _members: int = attrs.field(init=False, default=0)
    _told: int = attrs.field(init=False, default=0)
    _clients: dict[str, int] = attrs.field(init=False, factory=dict)

    def admit(self, host: str) -> Ticket | None:
        """Count a connection from a host; None if there is no room even to tell it that there is none."""
        client = self._client(host)
        reason = self._why_not(client)
        if reason is None:
            self._members += 1
            if client is not None:
                self._clients[client] = self._clients.get(client, 0) + 1
            return Ticket(client)
        self._refused(reason)
        if self._told >= MOST_TOLD:
            return None
        self._told += 1
        return Ticket(refusal=reason.status)

    def leave(self, ticket: Ticket) -> None:
        """A connection is gone."""
        if ticket.refusal is not None:
            self._told -= 1
            return
        self._members -= 1
        if ticket.client is not None:
            left = self._clients.pop(ticket.client) - 1
            if left:
                self._clients[ticket.client] = left

    def _client(self, host: str) -> str | None:
        limits = self._limits
        if not limits.most_per_client or host == UNIX or limits.is_exempt(host):
            return None
        return client_of(host)

    def _why_not(self, client: str | None) -> Reason | None:
        limits = self._limits
        # This limit first: nobody who is over it may push out others.
        if client is not None and self._clients.get(client, 0) >= limits.most_per_client:
            return Reason.CLIENT
        if limits.most and self._members >= limits.most and not self._make_room():
            return Reason.TOTAL
        return None


class Refusals:
    """Tells metrics and log of connections that are refused."""

    def __init__(self, limits: Limits, metrics: Metrics, log: EventLog, clock: IReactorTime) -> None:
        self._metrics = metrics
        self._complaints = {reason: Complaint(log, clock, "warn", "connections refused") for reason in Reason}
        self._shown = {Reason.TOTAL: limits.most, Reason.CLIENT: limits.most_per_client}

    def __call__(self, reason: Reason) -> None:
        """A connection is refused."""
        self._metrics.connection_refused(reason.label)
        self._complaints[reason].happened({"reason": reason.label, "limit": self._shown[reason]})
