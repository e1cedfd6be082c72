"""How many connections may be open, in all and of one client.

A connection over the limit is answered 503 or 429 and closed; while many are being told, further ones are reset. Left
in the kernel's queue neither its client nor a load balancer would learn anything, and the queue of one full worker
would hold connections that other workers have room for.
"""

from __future__ import annotations

import enum
from collections.abc import Callable

import attrs
from twisted.internet.interfaces import IReactorTime

from aero_storage.delivery.client_limits import ClientLimiter
from aero_storage.errors import RefusalReason, StatusAndReason
from aero_storage.logs.json_log import EventLog
from aero_storage.logs.rate_limited import RateLimitedEvent
from aero_storage.metrics import Metrics

MAX_REFUSED = 64
"""Connections over the limit that stay open for their refusal."""


class Reason(enum.Enum):
    """Why a connection is refused: the label in the metrics, and how its requests are."""

    TOTAL = ("total", 503, RefusalReason.PLACE)
    CLIENT = ("client", 429, RefusalReason.SHARE)

    def __init__(self, label: str, *refusal: *StatusAndReason) -> None:
        self.label = label
        self.refusal: StatusAndReason = refusal


@attrs.frozen
class Limits:
    """Limits of connections: seconds, and numbers where 0 is no limit; the settings of these names explain them."""

    header_timeout_secs: float
    idle_timeout_secs: float
    max_connections: int
    max_connections_per_client: int
    is_exempt: Callable[[str], bool]
    """Whether a host speaks for many clients, so that the limit for one client is not for it."""


@attrs.frozen(eq=False)
class Ticket:
    """The place of an open connection in the counts; `refusal` is how its requests are refused over a limit."""

    release_client: Callable[[], None] | None = None
    refusal: StatusAndReason | None = None


@attrs.define(eq=False)
class ConnectionLimiter:
    """Counts connections. `make_room` closes one that is not needed, if there is one; `refused` hears of refusals."""

    _limits: Limits
    _make_room: Callable[[], bool]
    _refused: Callable[[Reason], None]
    _admitted: int = attrs.field(init=False, default=0)
    _being_refused: int = attrs.field(init=False, default=0)
    _clients: ClientLimiter = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._clients = ClientLimiter(self._limits.max_connections_per_client, self._limits.is_exempt)

    def admit(self, host: str) -> Ticket | None:
        """Count a connection from a host; None if it is to be reset, as there is no room even for its refusal."""
        # This limit first: a client that is over it may not push out others.
        release_client = self._clients.take(host)
        if release_client is None:
            return self._refuse(Reason.CLIENT)
        most = self._limits.max_connections
        if most and self._admitted >= most and not self._make_room():
            release_client()
            return self._refuse(Reason.TOTAL)
        self._admitted += 1
        return Ticket(release_client)

    def _refuse(self, reason: Reason) -> Ticket | None:
        self._refused(reason)
        if self._being_refused >= MAX_REFUSED:
            return None
        self._being_refused += 1
        return Ticket(refusal=reason.refusal)

    def leave(self, ticket: Ticket) -> None:
        """A connection is lost."""
        if ticket.release_client is None:
            self._being_refused -= 1
        else:
            self._admitted -= 1
            ticket.release_client()


class Refusals:
    """Counts and logs refused connections, and requests over the limit of one client."""

    def __init__(self, limits: Limits, metrics: Metrics, log: EventLog, clock: IReactorTime) -> None:
        self._metrics = metrics
        self._events = {reason: RateLimitedEvent(log, clock, "warn", "connections refused") for reason in Reason}
        self._limits = {
            Reason.TOTAL: limits.max_connections,
            Reason.CLIENT: limits.max_connections_per_client,
        }

    def __call__(self, reason: Reason) -> None:
        """A connection is refused."""
        self._metrics.connection_refused(reason.label)
        self._events[reason].happened({"reason": reason.label, "limit": self._limits[reason]})
