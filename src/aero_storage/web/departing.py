"""How a connection comes to its end from our side: drained, shut, broken off as its client takes nothing."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IDelayedCall
from twisted.web.http import Request as HTTPRequest

from aero_storage.delivery.exchange import Exchange
from aero_storage.streaming.transports import tracked_transport
from aero_storage.web.express import Delivery
from aero_storage.web.request import AeroRequest
from aero_storage.web.transport import Transport

if TYPE_CHECKING:
    from aero_storage.web.site import ImageSite

_LINGER_SECONDS = 2.0


class Departing:
    """A channel's part in that; a Stream for Stalls."""

    transport: Transport
    requests: list[AeroRequest]
    persistent: int
    callLater: Callable[..., IDelayedCall]
    site: ImageSite
    _delivery: Delivery | None
    _handlingRequest: bool
    _buffer: bytes
    _dataBuffer: list[bytes]
    _held = b""
    """What came during a response of the express lane."""
    _discarding: bool
    _half_closed = False
    _lingering: IDelayedCall | None = None
    _unheard = False
    """Whether we close and the client could not know it in time: it may be sending more, though nothing has come."""

    @property
    def is_silent(self) -> bool:
        """Whether no response is under way, and nothing of a next request has come."""
        raise NotImplementedError

    if TYPE_CHECKING:

        def loseConnection(self) -> None:
            """Close, without waiting for the client for ever."""

    def close_after(self, request: HTTPRequest) -> None:
        """Have the response to a request say that the connection closes, and close it then."""
        raise NotImplementedError

    def progress(self) -> int | None:
        """See Stream."""
        tracked = tracked_transport(self.transport) if self.busy or self._discarding else None
        return tracked.progress() if tracked is not None else None

    def position(self) -> Hashable:
        """See Stream."""
        tracked = tracked_transport(self.transport) if self.busy else None
        return None if tracked is None else (self.request_id, tracked.taken)

    def max_unacknowledged_read(self) -> int:
        """See Stream."""
        tracked = tracked_transport(self.transport)
        return tracked.max_unacknowledged_read() if tracked is not None else 0

    def give_place_up(self) -> bool:
        """See Stream."""
        exchange = self._exchange
        return exchange is not None and exchange.give_place_up()

    @property
    def request_id(self) -> str | None:
        """See Stream."""
        return None if self._exchange is None else self._exchange.request_id

    @property
    def _exchange(self) -> Exchange | None:
        """Of the response that is being sent."""
        if self._delivery is not None:
            return self._delivery.exchange
        return self.requests[0].exchange if self.requests else None

    @property
    def busy(self) -> bool:
        """Whether a response is under way."""
        return self._delivery is not None or bool(self._handlingRequest and not self._discarding)

    def drain(self) -> None:
        """Close when what is under way has been answered: at once, if nothing is."""
        if self.is_silent:
            self.loseConnection()
            self.persistent = 0
        elif self._handlingRequest:  # else its head is on its way, and will be answered, or time out
            self.say_farewell()
            for request in self.requests:
                if not request.startedWriting:
                    self.close_after(request)
            self.persistent = 0

    def part(self, request: HTTPRequest) -> None:
        """Let the response whose head goes out now be the last, unless there is time for what came behind it.

        The client is told (RFC 9112 §9.6), and whatever it has sent meanwhile it may send again elsewhere.
        """
        if self.site.draining or not self._has_more:
            self.say_farewell()
            self.close_after(request)

    def say_farewell(self) -> None:
        """The response that goes out is the last, which the client could not know unless it has said so itself."""
        self._unheard = self._unheard or bool(self.persistent)

    @property
    def _has_more(self) -> bool:
        """Whether more requests, or a part of one, have come behind the one in work."""
        return bool(self._held or self._buffer or self._dataBuffer)

    def _leave_unanswered(self) -> None:
        """What has come is not answered, and its client did not know that in time: counted once a connection."""
        if self._unheard:
            self._unheard = False
            self.site.unanswered += 1

    def _linger(self) -> None:
        self._lingering = self.callLater(_LINGER_SECONDS, self._end_lingering)

    def _end_lingering(self) -> None:
        if self.progress() is not None:
            self._linger()
        elif self._half_closed:
            self.transport.loseConnection()  # a reset could take away what it has and has not read yet
        else:
            self.transport.abortConnection()

    def shut(self) -> None:
        """Break off a request in work, or the wait until its client has all; close an idle connection."""
        if self._delivery is not None:
            self._delivery.aborted_by_us = True
        elif not self.requests and not self._discarding:
            self.loseConnection()
            return
        for request in self.requests:
            request.aborted_by_us = True
        self.transport.abortConnection()
