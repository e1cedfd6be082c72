"""The site, as one of its connections sees it."""

from __future__ import annotations

from typing import Protocol, TypeVar

from twisted.web.resource import IResource

from aero_storage.logs.rate_limited import RateLimitedEvent
from aero_storage.web import lease_watch, stall_detector
from aero_storage.web.connection_limits import Ticket
from aero_storage.web.request_turns import RequestTurns


class SiteStream(stall_detector.Stream, lease_watch.Stream, Protocol):
    """A response under way, or the rest of one that a client has not taken yet."""


_Connection_contra = TypeVar("_Connection_contra", contravariant=True)


class Site(Protocol[_Connection_contra]):
    """All connections of a daemon, as one of them sees it."""

    resource: IResource
    """Routes requests."""
    retiring: bool
    """Whether connections end with their next response: the daemon is about to stop."""
    draining: bool
    """Whether they end as soon as nothing is under way."""
    unanswered: int
    """Connections that have ended so with requests behind the last that was answered."""
    turns: RequestTurns
    """When requests are answered that came behind others."""
    no_http: RateLimitedEvent
    """A connection is closed, as its first byte begins no request."""

    def stream_begins(self, stream: SiteStream) -> None:
        """Something is sent that waits for the client."""
        ...

    def stream_ends(self, stream: SiteStream) -> None:
        """It is not sent any more."""
        ...

    def opened(self, connection: _Connection_contra, host: str) -> Ticket | None:
        """A connection was opened; None if it is to be reset."""
        ...

    def closes(self, connection: _Connection_contra, ticket: Ticket | None, *, lingers: bool) -> None:
        """A connection is being closed, or reset."""
        ...

    def lost(self, connection: _Connection_contra, ticket: Ticket | None) -> None:
        """A connection is lost."""
        ...
