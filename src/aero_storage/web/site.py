"""The factory of channels: which connections are open, how many may be, how long they may keep us waiting."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.web.http import Request as HTTPRequest
from twisted.web.resource import IResource
from twisted.web.server import Site

from aero_storage.streaming.throttle import Throttle
from aero_storage.web.channel import AeroChannel
from aero_storage.web.crowd import Crowd, Limits, Reason, Ticket
from aero_storage.web.express import ExpressLane
from aero_storage.web.request import AeroRequest
from aero_storage.web.stalls import Stalls
from aero_storage.web.vigil import Vigil

_HEAD_SECONDS = 2.0
"""How long heads may take when the daemon only waits for what is under way."""


class ImageSite(Site):
    """The factory of channels; knows which are open."""

    protocol = AeroChannel  # type: ignore[assignment]
    noisy = False

    def __init__(
        self,
        resource: IResource,
        reactor: IReactorTime,
        lane: ExpressLane | None,
        limits: Limits,
        refused: Callable[[Reason], None],
    ) -> None:
        super().__init__(resource, AeroRequest, timeout=None, reactor=reactor)
        self.lane = lane
        self.limits = limits
        self.channels: set[AeroChannel] = set()
        self._vigil = Vigil(reactor, limits.header_timeout, limits.idle_timeout, self.channels)
        self._crowd = Crowd(limits, self._vigil.make_room, refused)
        self.retiring = False
        """Whether connections end with their next response: the daemon is about to stop."""
        self.draining = False
        """Whether they end as soon as nothing is under way."""
        self.unanswered = 0
        """Connections that have ended so with requests behind the last that was answered."""
        self.throttle: Throttle | None = None
        """Limits the speed of connections."""
        self.stalls: Stalls | None = None
        """Looks after streams whose clients take nothing."""
        self._all_gone: Deferred[None] | None = None

    def acceptableProtocols(self) -> list[bytes]:
        """HTTP/1.1 alone: the channel speaks nothing else, whatever is installed."""
        return [b"http/1.1"]

    def log(self, request: HTTPRequest) -> None:
        """No access log of Twisted's: an exchange writes its own line."""

    def buildProtocol(self, addr: IAddress | None) -> AeroChannel | None:  # type: ignore[override]
        """A channel for a new connection."""
        channel: AeroChannel | None = super().buildProtocol(addr)
        return channel

    @property
    def responses(self) -> int:
        """How many are under way."""
        return sum(channel.busy for channel in self.channels)

    def retire(self) -> None:
        """From now on have responses say that their connections close, while all is still answered."""
        self.retiring = True
        if self.lane is not None:
            self.lane.retiring = True

    def drain(self) -> Deferred[None]:
        """Close connections as soon as nothing is under way on them; fires once none is left."""
        self.retire()
        self.draining = True
        self._vigil.hurry(_HEAD_SECONDS)
        return self._see_off(AeroChannel.drain)

    def shut(self) -> Deferred[None]:
        """Break off every request in work and close every idle connection; fires once all are gone."""
        return self._see_off(AeroChannel.shut)

    def _see_off(self, how: Callable[[AeroChannel], None]) -> Deferred[None]:
        gone: Deferred[None] = Deferred()
        self._all_gone = gone
        for channel in tuple(self.channels):
            how(channel)
        self._tell_if_empty()
        return gone

    @property
    def connections(self) -> int:
        """How many are open, those that are being turned away included."""
        return len(self.channels)

    def make_room(self) -> bool:
        """Close the connection that has been silent longest; false if there is none that could be closed."""
        return self._vigil.make_room()

    def join(self, channel: AeroChannel, host: str) -> Ticket | None:
        """A connection was opened; see Crowd.admit."""
        self.channels.add(channel)
        self._vigil.begin(channel)
        if self.stalls is not None:
            self.stalls.begin()
        return self._crowd.admit(host)

    def leave(self, channel: AeroChannel, ticket: Ticket | None) -> None:
        """A connection is lost."""
        self.channels.discard(channel)
        if ticket is not None:
            self._crowd.leave(ticket)
        if not self.channels:
            self._vigil.end()
            if self.stalls is not None:
                self.stalls.end()
        self._tell_if_empty()

    def _tell_if_empty(self) -> None:
        gone = self._all_gone
        if gone is not None and not self.channels:
            self._all_gone = None
            gone.callback(None)
