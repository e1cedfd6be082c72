"""The HTTP/1.1 channel: limits on the head, clean refusals, no bodies, half-closed clients, a lingering close."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.interfaces import (
    IAddress,
    IHalfCloseableDescriptor,
    IHalfCloseableProtocol,
)
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.http import Request as HTTPRequest
from zope.interface import implementer

from aero_storage.http.host import guess_request_line
from aero_storage.streaming.sendfile import SendfileServer
from aero_storage.streaming.throttle import Pace
from aero_storage.streaming.transports import sendfile_transport
from aero_storage.web.crowd import Ticket
from aero_storage.web.departing import Departing
from aero_storage.web.express import Delivery, ExpressLane
from aero_storage.web.request import AeroRequest, host_of
from aero_storage.web.transport import Transport
from aero_storage.web.vigil import Waiting, Watched

if TYPE_CHECKING:
    from aero_storage.web.site import ImageSite

_REFUSED_SECONDS = 2.0
"""How long a connection over the limit waits for the head to which to say so."""

_MAX_HEAD = 16 * 1024
_MAX_HEADERS = 200


@implementer(IHalfCloseableProtocol)
class AeroChannel(Departing, Watched, HTTPChannel):
    """One connection."""

    MAX_LENGTH = _MAX_HEAD
    totalHeadersSize = _MAX_HEAD
    maxHeaders = _MAX_HEADERS
    factory: ImageSite
    requests: list[AeroRequest]
    transport: Transport  # type: ignore[assignment]
    _refused = False
    _unread_body = False
    _first_line = b""
    _discarding = False
    _lane: ExpressLane | None = None
    _sender: SendfileServer | None = None
    pace: Pace | None = None
    """How fast bytes of images may go."""
    _peer_address: IAddress | None = None
    _own_address: IAddress | None = None
    _ticket: Ticket | None = None
    _delivery: Delivery | None = None
    """A response of the express lane that is still on its way."""

    def connectionMade(self) -> None:
        """Join the open connections of the site, or be turned away."""
        super().connectionMade()
        self._sender = sendfile_transport(self.transport)
        self._keep_pace()
        self._peer = host_of(self.transport.getPeer())
        self._ticket = self.factory.join(self, self._peer)
        if self._ticket is None:
            self.transport.abortConnection()
        elif self._ticket.refusal is not None:
            self.patience = _REFUSED_SECONDS
        elif self._sender is not None:
            self._lane = self.factory.lane

    def _keep_pace(self) -> None:
        if self.factory.throttle is not None:
            self.pace = self.factory.throttle.pace()
            if self._sender is not None:
                self._sender.pace = self.pace

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """Leave them, and tell the request that is being answered."""
        if self._lingering is not None and self._lingering.active():
            self._lingering.cancel()
        if self._delivery is not None:
            self._delivery.lost()
        super().connectionLost(reason)
        self.factory.leave(self, self._ticket)

    def getPeer(self) -> IAddress:
        """The other end, asked for once, by the first request: what a proxy says comes before that."""
        if self._peer_address is None:
            self._peer_address = super().getPeer()
        return self._peer_address

    def getHost(self) -> IAddress:
        """Our end, asked for once: the kernel would be asked for every request."""
        if self._own_address is None:
            self._own_address = super().getHost()
        return self._own_address

    def readConnectionLost(self) -> None:
        """The client will send no more: answer what it has sent, then close.

        While a request is in work this is all; when it is done reading starts again, and ends here again. A request
        that waits for a place is given up: nearly always its client has closed for good, and others wait as well.
        """
        if not self._handlingRequest or self._discarding:
            self.transport.loseConnection()
        elif any(request.waits for request in self.requests):
            self.transport.abortConnection()

    def writeConnectionLost(self) -> None:
        """Our half is closed, as a lingering close wants it."""

    def dataReceived(self, data: bytes) -> None:
        """Take the express lane, or parse, or throw away what follows a refused head."""
        if self._discarding:
            self._leave_unanswered()
        elif self._delivery is not None:
            self._hold(data)
        elif self._goes_express(data):
            self.heads += 1
        else:
            super().dataReceived(data)

    def _goes_express(self, data: bytes) -> bool:
        lane, sender = self._lane, self._sender
        if lane is None or sender is None or not self._is_between_requests():
            return False
        return sender.is_idle() and not self.site.draining and lane.take(data, self._peer, sender, self)

    def _is_between_requests(self) -> bool:
        """Whether all that came so far has been answered, and what comes now begins a request."""
        busy = self.requests or self._buffer or self._busyReceiving or not self.persistent
        return not busy and bool(self._HTTPChannel__first_line)  # type: ignore[attr-defined]

    def delivery_begins(self, delivery: Delivery) -> None:
        """Hold what comes until the response has gone out."""
        self._delivery = delivery

    def delivered(self, *, persistent: bool) -> None:
        """Go on with what was held, or close."""
        self._delivery = None
        if not persistent or self.site.draining:
            if persistent:
                self.say_farewell()
            self.persistent = 0
            self.loseConnection()
        elif self._held:
            held, self._held = self._held, b""
            if not self._waitingForTransport:
                self.transport.resumeProducing()
            self.dataReceived(held)

    def _hold(self, data: bytes) -> None:
        self._held += data
        if len(self._held) > self._optimisticEagerReadSize:
            self.transport.pauseProducing()

    def rawDataReceived(self, data: bytes) -> None:
        """Keep what comes behind the request in work, but not much: Twisted would, if the client takes no answer."""
        super().rawDataReceived(data)
        if sum(map(len, self._dataBuffer)) > self._optimisticEagerReadSize:
            self.transport.pauseProducing()

    def lineLengthExceeded(self, line: bytes) -> None:
        """Refuse a head with an endless line."""
        if self.requests:
            self._refuse(431)
        else:
            self._first_line = line
            self._refuse(414)

    def lineReceived(self, line: bytes) -> None:
        """Keep the request line, should it be one that cannot be parsed."""
        if self._HTTPChannel__first_line:  # type: ignore[attr-defined]
            self._first_line = line
        super().lineReceived(line)

    def headerReceived(self, line: bytes) -> bool:
        """Take a header; false if it cannot be digested, and the head has been refused."""
        try:
            taken: bool = super().headerReceived(line)
        except ValueError:  # int() refuses a Content-Length of more than 4,300 digits
            self._refuse(400)
            return False
        return taken

    def allHeadersReceived(self) -> None:
        """Mark a request that announces a body, and read none of it (http.md §2), or that comes over a limit."""
        self.heads += 1
        request = self.requests[-1]
        request.turned_away = self._ticket.refusal if self._ticket is not None else None
        if self.length != 0 or request.requestHeaders.hasHeader(b"Transfer-Encoding"):
            request.announces_body = True
            request.requestHeaders.removeHeader(b"Expect")  # no 100 Continue
            self.length, self._transferDecoder = 0, None
            self._unread_body = True
        super().allHeadersReceived()
        if self._unread_body or request.turned_away is not None:
            self.close_after(request)

    def checkPersistence(self, request: HTTPRequest, version: bytes) -> bool:
        """Whether the connection stays open (RFC 9112 §9.3); `Connection` is a list (RFC 9110 §7.6.1)."""
        values = request.requestHeaders.getRawHeaders(b"Connection", [])
        options = {option.strip().lower() for value in values for option in value.split(b",")}
        if version == b"HTTP/1.1" and b"close" not in options and not self.site.draining:
            return True
        request.responseHeaders.setRawHeaders(b"Connection", [b"close"])
        return False

    def _respondToBadRequestAndDisconnect(self) -> None:
        too_large = self._receivedHeaderSize > self.totalHeadersSize or self._receivedHeaderCount > self.maxHeaders
        self._refuse(431 if too_large else 400)

    def _refuse(self, status: int) -> None:
        """Answer a head that cannot be parsed like any request, with id, `Date` and log line, then close."""
        if self._refused:
            return
        self._refused = self._unread_body = True
        if not self.requests:
            self.requests.append(self.requestFactory(self))  # type: ignore[arg-type]
        request = self.requests[-1]
        request.refusal = status
        request.gotLength(0)
        self.close_after(request)
        if not hasattr(self, "_path"):
            self._command, self._path = guess_request_line(self._first_line)
        self._version = b"HTTP/1.1"
        self.allContentReceived()

    def close_after(self, request: HTTPRequest) -> None:
        """See Departing."""
        self.persistent = 0
        request.responseHeaders.setRawHeaders(b"Connection", [b"close"])

    def loseConnection(self) -> None:
        """Close; if the client may still be sending, throw away what comes until it has our answer, and two seconds.

        A close with unread data makes the kernel reset the connection, and the client lose our answer: so we
        half-close first. TLS closes with a word of its own (it only pretends to have the half-close of what is below
        it), but then waits for the client's: that has to be read, and not for ever.
        """
        if self._discarding:
            return
        may_be_sending = self._unread_body or self._unheard
        if self._has_more:
            self._leave_unanswered()
        can_half_close = IHalfCloseableDescriptor.providedBy(self.transport) and not self.isSecure()
        if can_half_close and not may_be_sending:
            super().loseConnection()
            return
        self._discarding = True
        self.transport.unregisterProducer()
        self.transport.resumeProducing()
        if can_half_close:
            self._half_closed = True
            self.transport.loseWriteConnection()
        else:
            self.transport.loseConnection()
        self._linger()

    @property
    def waiting(self) -> Waiting | None:
        """See Watched."""
        closing = self._discarding or not self.persistent or self._abortingCall is not None
        if self.busy or closing:
            return None
        return Waiting.REQUEST if self.heads and self.is_silent else Waiting.HEAD

    @property
    def is_silent(self) -> bool:
        """See Watched."""
        return self._delivery is None and not self.requests and not self._buffer

    def time_out(self) -> None:
        """Say 408 to a head that does not end (RFC 9110 §15.5.9); close a silent connection without a word."""
        if self.is_silent:
            self.make_way()
        else:
            self._first_line = b""  # what there is would be that of the request before
            self._refuse(408)

    def make_way(self) -> None:
        """Close a silent connection, quietly: it happens to every client."""
        self._abortingCall = self.callLater(self.abortTimeout, self.forceAbortClient)
        self.loseConnection()
