"""One HTTP/1.1 connection: how it begins, what it answers, how it ends.

All changes of its state are in `connection_state`. A known head is answered by the plans of the responder; any other
head becomes a Twisted Web request, which Klein routes to the same responder.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol, IReactorTime
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from aero_storage.errors import StatusAndReason
from aero_storage.http.client_address import host_of
from aero_storage.http.request_head import Refusal, RequestHead, refusal_of
from aero_storage.streaming.encrypting import Encrypting, encrypting_transport
from aero_storage.streaming.sendfile import SendfileServer
from aero_storage.streaming.throttle import Pace
from aero_storage.streaming.transports import TrackedTransport, sendfile_transport, tracked_transport
from aero_storage.web.connection_limits import Ticket
from aero_storage.web.connection_site import Site
from aero_storage.web.connection_state import ConnectionState, Event, State
from aero_storage.web.fast_responses import FastConnection
from aero_storage.web.lingering_close import (
    LingeringClose,
    can_close_at_once,
    close_if_acknowledged,
    close_now,
    is_secure,
)
from aero_storage.web.request import AeroRequest, RequestChannel
from aero_storage.web.request_reader import RequestReader
from aero_storage.web.responder import Responder
from aero_storage.web.response import Response
from aero_storage.web.response_plans import FindPlan, PlannedRequest
from aero_storage.web.timeouts import Wait, Waiting


@implementer(IHalfCloseableProtocol)
class HTTPConnection(TwistedProtocol):
    """One connection; the client of a response, a TimedConnection for Timeouts."""

    transport: Any
    sendfile: SendfileServer | None = None
    encrypting: Encrypting | None = None
    tracked: TrackedTransport | None = None
    is_secure = False
    refusal: StatusAndReason | None = None
    _ticket: Ticket | None = None
    _response: Response | None = None
    _request: AeroRequest | None = None
    _peer: str | None = None
    _lingering: LingeringClose | None = None
    _fast: FastConnection | None = None

    def __init__(
        self, site: Site[HTTPConnection], responder: Responder, clock: IReactorTime, pace: Pace | None
    ) -> None:
        self.site, self.pace, self.wait = site, pace, Wait()
        self._responder, self._clock = responder, clock
        self.find_plan: FindPlan = responder.plans.find
        self.state = ConnectionState()
        self._reader = RequestReader(self, self.state, site.turns)

    # Opening

    def connectionMade(self) -> None:
        """Join the open connections of the site, or be turned away."""
        self.is_secure = is_secure(self.transport)
        self.sendfile, self.tracked = sendfile_transport(self.transport), tracked_transport(self.transport)
        self.encrypting = encrypting_transport(self.transport)
        sends_files = self.sendfile if self.encrypting is None else self.encrypting.transport
        if sends_files is not None:
            sends_files.pace, sends_files.on_file_changed = self.pace, self.reset
        self._fast = None if self._responder.fast is None else self._responder.fast.to(self)
        self._ticket = self.site.opened(self, host_of(self.transport.getPeer()))
        if self._ticket is None:
            self.abort()
        elif (refusal := self._ticket.refusal) is not None:
            self.refusal, self.find_plan = refusal, lambda _raw: None  # every request is refused anew

    # Input

    def dataReceived(self, data: bytes) -> None:
        """Answer a known head at once; hand all else to the reader."""
        state = self.state
        if state.state is State.IDLE and not self._reader.has_input:
            fast = self._fast
            if fast is not None and fast.repeat(data):
                return
            if (planned := self.find_plan(data)) is None:
                self._reader.receive(data)
            elif fast is None or not fast.respond(planned, data):
                self.answer(planned)
        elif state.is_ending:
            self._count_unanswered()
        else:
            self._reader.receive(data)

    def answer(self, planned: PlannedRequest) -> None:
        """Answer a request whose head is known."""
        self.state.begin_response(last=not planned[0].persistent)
        self._responder.respond(planned, self)

    def answer_head(self, head: RequestHead, raw: bytes) -> None:
        """Answer any other request: let Klein route it, if there is anything to route."""
        if head.announces_body:
            self.state.expect_body()
        self.state.begin_response(last=not head.persistent or self.refusal is not None)
        if (refusal := refusal_of(head)) is not None:
            self._responder.refuse(head, refusal, self)
            return
        self._request = request = AeroRequest(RequestChannel(self), head, raw)
        request.process()

    def refuse(self, refusal: Refusal) -> None:
        """Answer a head that cannot be read like any request, with id, `Date` and log line, then close."""
        self.state.expect_body()
        self.state.begin_response(last=True)
        self._responder.refuse(refusal.as_head(), (refusal.status, refusal.reason), self)

    def turn_away(self, protocol: str) -> None:
        """Close without an answer: the client speaks another protocol."""
        self.site.no_http.happened({"client": self.peer, "looks_like": protocol})
        self.close()

    def input_answered(self) -> None:
        """Close, if no more is to come or to be answered."""
        if self.state.input_ended or (self.site.draining and self.is_silent):
            self.close()

    # The client of a response

    @property
    def peer(self) -> str:
        """The host of the peer, asked for by the first request: a PROXY header comes before that."""
        if self._peer is None:
            self._peer = host_of(self.transport.getPeer())
        return self._peer

    def stays_open(self) -> bool:
        """Whether the connection stays open after the response whose head goes out now.

        A client that is told (RFC 9112 §9.6) may send elsewhere what it has sent here meanwhile. While the daemon is
        about to stop, and only then, there is time for what has come already.
        """
        state, site = self.state, self.site
        if state.state is State.LAST_RESPONSE:
            return False
        if site.retiring and (site.draining or not self._reader.begun):
            state.retire()
            return False
        return True

    def response_waits(self, response: Response) -> None:
        """Remember the response that is under way."""
        self._response = response
        self.site.stream_begins(response)

    def response_sent(self) -> None:
        """Close, or go on with what has come."""
        state, self._request = self.state, None
        if self._response is not None:
            self._forget_response()
        if state.state is State.LAST_RESPONSE or self.site.draining:
            if state.state is State.ANSWERING:
                state.retire()
            self.close()
            return
        state.on(Event.RESPONSE_SENT)
        self._reader.response_sent()

    def _forget_response(self) -> None:
        response, self._response, self._request = self._response, None, None
        if response is not None:
            self.site.stream_ends(response)

    def abort(self) -> None:
        """Reset the connection."""
        self.state.on(Event.ABORT)
        self.site.closes(self, self._ticket, lingers=False)
        self.transport.abortConnection()

    # Closing

    def close(self) -> None:
        """Close; if the client may still be sending, throw that away until it has our answer."""
        may_send = self.state.client_may_send
        if self._reader.begun or self._reader.has_discarded:
            self._count_unanswered()
        linger = may_send or not can_close_at_once(self.transport, self.tracked)
        self._begin_close(linger=linger)
        if linger:
            self._lingering = LingeringClose(self.transport, self.tracked, self._clock)
            self._lingering.start()
            self.site.stream_begins(self._lingering)
        else:
            self.transport.loseConnection()

    def make_way(self) -> None:
        """Close for another connection: no client is waited for that has all."""
        if not self.has_all:
            self.close()
            return
        self._begin_close(linger=False)
        close_now(self.transport, self.tracked)

    def _begin_close(self, *, linger: bool) -> None:
        self.state.begin_close(linger=linger)
        self.site.closes(self, self._ticket, lingers=linger)

    @property
    def has_all(self) -> bool:
        """Whether the client has acknowledged all that was sent."""
        return self.tracked is None or self.tracked.progress() is None

    def acknowledged(self) -> int:
        """Bytes that the client has acknowledged."""
        return 0 if self.tracked is None else self.tracked.acknowledged()

    def _count_unanswered(self) -> None:
        """Count input that stays unanswered, if its client could not know in time that we close."""
        if self.state.count_unanswered():
            self.site.unanswered += 1

    def readConnectionLost(self) -> None:
        """The client will send no more: answer what it has sent, but do not wait for a place, then close."""
        state = self.state
        state.end_input()
        if state.is_ending:
            close_if_acknowledged(self.transport)
        elif state.takes_requests and not self._reader.waits_for_turn:
            self.close()
        elif self._response is not None and self._response.exchange.waiting:
            self.abort()  # nearly always it has closed for good, and others wait for places

    def writeConnectionLost(self) -> None:
        """Our half is closed."""

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """Leave the site, and tell the response under way."""
        self.state.on(Event.LOST)
        if self._lingering is not None:
            self._lingering.stop()
            self.site.stream_ends(self._lingering)
        self._reader.stop()
        response, request = self._response, self._request
        self._forget_response()
        if response is not None:
            response.lost()
        if request is not None:
            request.connectionLost(reason)
        self.site.lost(self, self._ticket)

    def drain(self) -> None:
        """Close when what is under way has been answered: at once, if nothing is."""
        if self.state.is_answering:
            self.state.retire()
        elif self.is_silent and not self.state.is_ending:
            self.close()

    def shut(self) -> None:
        """Break off a response that is under way, or the wait until its client has all; close an idle connection."""
        is_idle = self._response is None and self.state.takes_requests
        (self.close if is_idle else self.reset)()

    def reset(self) -> None:
        """Reset the connection; a response under way is aborted by us, not left by its client."""
        (self.abort if self._response is None else self._response.shut)()

    # Timeouts; see TimedConnection

    @property
    def heads(self) -> int:
        """Request heads that have been read."""
        return self.state.heads

    @property
    def waiting(self) -> Waiting | None:
        """The input that it waits for; None while it answers or closes."""
        if self._reader.waits_for_turn or not self.state.takes_requests:
            return None
        return Waiting.REQUEST if self.state.heads and self.is_silent else Waiting.HEAD

    @property
    def is_silent(self) -> bool:
        """Whether no response is under way, and nothing of a next request has come."""
        return not (self.state.is_answering or self._reader.waits_for_turn or self._reader.begun)

    def time_out(self) -> None:
        """Say 408 to a head that does not end (RFC 9110 §15.5.9); close a silent connection without a word."""
        self.close() if self.is_silent else self.refuse(Refusal(408))

    @property
    def busy(self) -> bool:
        """Whether a response is under way."""
        return self.state.is_answering
