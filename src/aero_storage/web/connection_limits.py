"""How many connections may be open, in all and of one client.

A connection over the limit is answered 503 or 429 and closed; while many are being told, further ones are reset. Left
in the kernel's queue neither its client nor a load balancer would learn anything, and the queue of one full worker
would hold connections that other workers have room for.

A connection that lingers (web.lingering_close) takes no place of a new one, but it has a descriptor. MAX_LINGERING of
them may be open beyond the limit; for more, one whose client takes nothing is reset. So never more than the limit and
MAX_BEYOND are open.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Protocol

import attrs
from twisted.internet.interfaces import IReactorTime

from aero_storage.delivery.client_limits import ClientLimiter
from aero_storage.errors import RefusalReason, StatusAndReason
from aero_storage.logs.json_log import EventLog
from aero_storage.logs.rate_limited import RateLimitedEvent
from aero_storage.metrics import Metrics

MAX_REFUSED = 64
"""Connections over the limit that stay open for their refusal."""

MAX_LINGERING = 32
"""Connections over the limit that stay open until their clients have taken the last of their responses."""

MAX_PER_TURN = 32
"""Connections over the limit that are accepted in one turn of the reactor: those that it closes are open until the
next."""

MAX_BEYOND = MAX_REFUSED + MAX_LINGERING + MAX_PER_TURN
"""The most connections over the limit that are open at any time."""


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


@attrs.define(eq=False)
class Ticket:
    """The place of an open connection in the counts; `refusal` is how its requests are refused over a limit."""

    release_client: Callable[[], None] | None = None
    refusal: StatusAndReason | None = None
    is_leaving: bool = False
    """Whether the connection is being closed, so that another one may have its place."""


class Lingering(Protocol):
    """The admitted connections that linger."""

    def __len__(self) -> int:
        """How many they are."""
        ...

    def reset_stalled(self) -> bool:
        """Reset one whose client takes nothing; false if there is none."""
        ...


@attrs.define(eq=False)
class ConnectionLimiter:
    """Counts connections. `make_room` closes one that is not needed, if there is one; `refused` hears of refusals."""

    _limits: Limits
    _make_room: Callable[[], bool]
    _refused: Callable[[Reason], None]
    _lingering: Lingering
    _active: int = attrs.field(init=False, default=0)
    """Admitted connections that are not being closed."""
    _being_refused: int = attrs.field(init=False, default=0)
    _clients: ClientLimiter = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._clients = ClientLimiter(self._limits.max_connections_per_client, self._limits.is_exempt)

    def is_full(self, count: int) -> bool:
        """Whether no connection more can be open until the next turn, where `count` are."""
        most = self._limits.max_connections
        return bool(most) and count >= most + MAX_BEYOND

    def admit(self, host: str) -> Ticket | None:
        """Count a connection from a host; None if it is to be reset, as there is no room even for its refusal."""
        # This limit first: a client that is over it may not push out others.
        release_client = self._clients.take(host)
        if release_client is None:
            return self._refuse(Reason.CLIENT)
        if not self._has_room():
            release_client()
            return self._refuse(Reason.TOTAL)
        self._active += 1
        return Ticket(release_client)

    def _has_room(self) -> bool:
        most = self._limits.max_connections
        if not most:
            return True
        lingering = self._lingering
        if self._active + len(lingering) >= most + MAX_LINGERING and not lingering.reset_stalled():
            return False
        return self._active < most or self._make_room()

    def _refuse(self, reason: Reason) -> Ticket | None:
        self._refused(reason)
        if self._being_refused >= MAX_REFUSED:
            return None
        self._being_refused += 1
        return Ticket(refusal=reason.refusal)

    def closes(self, ticket: Ticket) -> None:
        """A connection is being closed: another may have its place; a second call does nothing."""
        if ticket.release_client is not None and not ticket.is_leaving:
            ticket.is_leaving = True
            self._active -= 1

    def leave(self, ticket: Ticket) -> None:
        """A connection is lost."""
        self.closes(ticket)
        if ticket.release_client is None:
            self._being_refused -= 1
        else:
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
