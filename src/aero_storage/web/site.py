"""The site: which connections are open, how many may be, how long they may keep us waiting, and how they end."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.web.http import Request as HTTPRequest
from twisted.web.resource import IResource
from twisted.web.server import Site

from aero_storage.logs.rate_limited import RateLimitedEvent
from aero_storage.streaming.throttle import Throttle
from aero_storage.web.connection import HTTPConnection
from aero_storage.web.connection_limits import ConnectionLimiter, Limits, Reason, Ticket
from aero_storage.web.connection_site import SiteStream
from aero_storage.web.lease_watch import LeaseWatch
from aero_storage.web.lingering_connections import LingeringConnections
from aero_storage.web.request_turns import RequestTurns
from aero_storage.web.responder import Responder
from aero_storage.web.stall_detector import StallDetector
from aero_storage.web.timeouts import Timeouts

_HEAD_SECONDS = 2.0
"""How long heads may take when the daemon only waits for what is under way."""


class ImageSite(Site):
    """The factory of connections; `throttle` limits their speed (None: no limit).

    `no_http` tells of connections that speak another protocol. `streams` is the collection that `stalls` and
    `lease_watch` (None while leases are off) watch; the site fills it.
    """

    noisy = False

    def __init__(  # noqa: PLR0913, PLR0917 - the composition root has one call
        self,
        resource: IResource,
        reactor: IReactorTime,
        responder: Responder,
        limits: Limits,
        refused: Callable[[Reason], None],
        streams: set[SiteStream],
        stalls: StallDetector,
        no_http: RateLimitedEvent,
        throttle: Throttle | None = None,
        lease_watch: LeaseWatch | None = None,
    ) -> None:
        super().__init__(resource, timeout=None, reactor=reactor)
        self.limits = limits
        self.connections: set[HTTPConnection] = set()
        self.retiring = False
        """Whether connections end with their next response: the daemon is about to stop."""
        self.draining = False
        """Whether they end as soon as nothing is under way."""
        self.unanswered = 0
        """Connections that have ended so with requests behind the last that was answered."""
        self.turns = RequestTurns(reactor)
        self.no_http = no_http
        self.streams, self.stalls = streams, stalls
        self._lease_watch = lease_watch
        self._clock = reactor
        self._responder = responder
        self._throttle = throttle
        self._timeouts = Timeouts(reactor, limits.header_timeout_secs, limits.idle_timeout_secs, self.connections)
        self._lingering = LingeringConnections(reactor)
        self._limiter = ConnectionLimiter(limits, self._timeouts.make_room, refused, self._lingering)
        self._all_gone: Deferred[None] | None = None

    def acceptableProtocols(self) -> list[bytes]:
        """HTTP/1.1 alone: a connection speaks nothing else, whatever is installed."""
        return [b"http/1.1"]

    def startFactory(self) -> None:
        """Twisted's would open an access log, and keep a timer for its dates."""

    def stopFactory(self) -> None:
        """Nothing was opened."""

    def log(self, request: HTTPRequest) -> None:
        """No access log of Twisted's: an exchange writes its own line."""

    def buildProtocol(self, addr: IAddress | None) -> HTTPConnection:  # type: ignore[override]  # noqa: ARG002
        """A connection that was accepted."""
        pace = None if self._throttle is None else self._throttle.pace()
        return HTTPConnection(self, self._responder, self._clock, pace)

    @property
    def responses(self) -> int:
        """How many are under way."""
        return sum(connection.busy for connection in self.connections)

    def retire(self) -> None:
        """From now on have responses say that their connections close, while all is still answered."""
        self.retiring = True

    def drain(self) -> Deferred[None]:
        """Close connections as soon as nothing is under way on them; fires once none is left."""
        self.retire()
        self.draining = True
        self._timeouts.limit_heads(_HEAD_SECONDS)
        return self._end_all(HTTPConnection.drain)

    def shut(self) -> Deferred[None]:
        """Break off every response under way and close every idle connection; fires once all are gone."""
        return self._end_all(HTTPConnection.shut)

    def _end_all(self, end: Callable[[HTTPConnection], None]) -> Deferred[None]:
        gone: Deferred[None] = Deferred()
        self._all_gone = gone
        for connection in tuple(self.connections):
            end(connection)
        self._tell_if_empty()
        return gone

    def make_room(self) -> bool:
        """Free a descriptor: reset or close a connection that is not needed; false if there is none."""
        return self._lingering.reset_stalled() or self._timeouts.make_room()

    def is_full(self) -> bool:
        """Whether no connection more can be open until the next turn."""
        return self._limiter.is_full(len(self.connections))

    def stream_begins(self, stream: SiteStream) -> None:
        """Something is sent that waits for the client."""
        self.streams.add(stream)
        self.stalls.start()

    def stream_ends(self, stream: SiteStream) -> None:
        """It is not sent any more."""
        self.streams.discard(stream)
        if not self.streams:
            self.stalls.stop()
            if self._lease_watch is not None:
                self._lease_watch.stop()

    def opened(self, connection: HTTPConnection, host: str) -> Ticket | None:
        """A connection was opened; see ConnectionLimiter.admit."""
        self.connections.add(connection)
        self._timeouts.opened(connection)
        return self._limiter.admit(host)

    def closes(self, connection: HTTPConnection, ticket: Ticket | None, *, lingers: bool) -> None:
        """A connection is being closed, or reset; one that is refused has a place of its own until it is lost."""
        if ticket is not None:
            self._limiter.closes(ticket)
        if lingers and connection.refusal is None:
            self._lingering.add(connection)
        else:
            self._lingering.discard(connection)

    def lost(self, connection: HTTPConnection, ticket: Ticket | None) -> None:
        """A connection is lost."""
        self.connections.discard(connection)
        self._lingering.discard(connection)
        if ticket is not None:
            self._limiter.leave(ticket)
        if not self.connections:
            self._timeouts.stop()
        self._tell_if_empty()

    def _tell_if_empty(self) -> None:
        gone = self._all_gone
        if gone is not None and not self.connections:
            self._all_gone = None
            gone.callback(None)
