"""A response that waits for something, its client, and its one end."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Hashable
from math import inf
from typing import Any, Protocol

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionAborted, ConnectionLost
from twisted.internet.interfaces import IConsumer, IProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from aero_storage.delivery.exchange import Ending, Exchange
from aero_storage.errors import (
    DiskHangsError,
    FileChangedError,
    ObjectChangedError,
    OriginDeniedError,
    OriginUnavailableError,
    RefusalReason,
    ShortReadError,
    StatusAndReason,
)
from aero_storage.http.leases.verification import Lease
from aero_storage.logs.json_log import EventLog
from aero_storage.streaming.change_reports import ChangeReports
from aero_storage.streaming.encrypting import Encrypting
from aero_storage.streaming.sendfile import SendfileServer
from aero_storage.streaming.throttle import Pace
from aero_storage.streaming.transports import TrackedTransport
from aero_storage.streaming.waiting_bodies import WaitingBodies, WaitingBody

_CLIENT_CLOSED_REQUEST = 499
"""Status in log and metrics of a request whose client left before there was one; nginx's convention."""

_FILE_FAILURES = (
    *(ShortReadError, DiskHangsError, OSError),
    *(ObjectChangedError, OriginUnavailableError, OriginDeniedError),
)
"""Errors of the source of a body: the client learns of them by a reset, and the log says why."""


class Transport(Protocol):
    """The connection below HTTP: TCP, a UNIX socket, or TLS."""

    def write(self, data: bytes) -> None:
        """Send bytes, in the order of the calls."""
        ...

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:  # noqa: FBT001 - Twisted's interface
        """Pause and resume a producer as the peer takes its bytes."""
        ...

    def unregisterProducer(self) -> None:
        """Forget the producer."""
        ...


class Client(Protocol):
    """A connection, as far as a response needs it."""

    transport: Transport
    sendfile: SendfileServer | None
    """The transport, if the kernel can copy files to it."""
    encrypting: Encrypting | None
    """The transport, if it is TLS and sends files."""
    tracked: TrackedTransport | None
    """The transport at the bottom that counts unsent bytes; None in tests without a socket."""
    pace: Pace | None
    """How fast bytes of images may go; None: no limit."""
    is_secure: bool
    """Whether the transport is TLS."""
    refusal: StatusAndReason | None
    """How every request is refused, if the connection is over a limit."""

    @property
    def peer(self) -> str:
        """The host of the peer."""
        ...

    def stays_open(self) -> bool:
        """Whether the connection stays open after the response whose head goes out now."""
        ...

    def response_waits(self, response: Response) -> None:
        """The response under way waits for something; it is told when the connection is lost."""
        ...

    def response_sent(self) -> None:
        """The kernel has the last byte of the response."""
        ...

    def abort(self) -> None:
        """Reset the connection, so that the client cannot take what it has for the whole."""
        ...


@implementer(IConsumer)
@attrs.define(eq=False)
class Response:
    """A response that waits: for a place, a disk, or its client. It ends once, in `_end`."""

    exchange: Exchange
    _client: Client
    _log: EventLog
    _reports: ChangeReports
    status: int = _CLIENT_CLOSED_REQUEST
    length: int = 0
    """Bytes of the body that were given to the transport."""
    cut_by: Ending = Ending.DISCONNECTED
    """How it ends if the connection is lost first."""
    lease_until: float = inf
    """When it is reset, on the steady clock, as its lease has ended; see LeaseWatch."""
    _work: Deferred[Any] | None = None
    _body: WaitingBody | None = None
    _reason: RefusalReason | None = None
    """Why it is aborted, where the log tells that."""

    def follow(self, work: Deferred[Any], then: Callable[[Any], None] | None = None) -> None:
        """When `work` is done, do what comes `then`, or end; it is cancelled if the connection is lost first."""
        self._work = work
        work.addCallbacks(then or self._complete, self._failed).addErrback(self._defect)
        if not self.exchange.ended and self._work is work:
            self._client.response_waits(self)

    def hold_body(self, bodies: WaitingBodies, body: bytes, copied: int = 0) -> None:
        """Count a body that waits for the client, and `copied` bytes for this client alone, until the end."""
        self._body = waiting = bodies.add(body, copied, self._make_room)
        if self._client.tracked is not None:
            self._client.tracked.on_taken = waiting.taken

    def _make_room(self) -> None:
        self._reason = RefusalReason.WAITING_BODIES
        self.shut()

    def lost(self) -> None:
        """The connection is lost."""
        self._end(self.cut_by)
        if self._work is not None:
            self._work.cancel()

    def break_off(self, error: BaseException) -> None:
        """Reset the connection: the response cannot be finished, as its file has failed, or by a defect of ours."""
        self._tell(error)
        try:
            self._end(Ending.ABORTED)
        finally:
            self._client.abort()

    def _tell(self, error: BaseException) -> None:
        if isinstance(error, FileChangedError):
            self._reports.add(error.name)
            return
        message, fields = "response broken off", {"request_id": self.exchange.request_id}
        if isinstance(error, _FILE_FAILURES):
            message = f"{message}: {error}"
        else:
            fields["traceback"] = "".join(traceback.format_exception(error))
        self._log.event("error", message, fields)

    def _complete(self, _result: object) -> None:
        if self.exchange.ended:
            return
        if self._client.tracked is not None:
            self._client.tracked.mark_finished()
        self._end(Ending.COMPLETE)
        self._client.response_sent()

    def _failed(self, failure: Failure) -> None:
        if self.exchange.ended:
            return
        if failure.check(ConnectionAborted):  # the log has been told of the file that has changed
            self._end(Ending.ABORTED)
        elif failure.check(CancelledError, ConnectionLost):
            self._end(self.cut_by)
        elif failure.value is not None:
            self.break_off(failure.value)

    def _defect(self, failure: Failure) -> None:
        self._log.event("error", "response broken off", {"traceback": failure.getTraceback()})
        self._client.abort()

    def _end(self, ending: Ending) -> None:
        body, self._body, tracked = self._body, None, self._client.tracked
        if body is not None:
            body.leave()
            if tracked is not None:
                tracked.on_taken = None
        unsent = 0 if tracked is None else tracked.unsent
        self.exchange.end(ending, self.status, max(0, self.length - unsent), self._reason)

    # A Stream of StallDetector

    def progress(self) -> int | None:
        """Bytes that the client has acknowledged; None if the response waits for anything but the client."""
        return None if self._client.tracked is None else self._client.tracked.progress()

    def position(self) -> Hashable:
        """How far the response has come."""
        return None if self._client.tracked is None else (self.request_id, self._client.tracked.taken)

    def max_unacknowledged_read(self) -> int:
        """The most bytes that the client may have read since it made progress."""
        return 0 if self._client.tracked is None else self._client.tracked.max_unacknowledged_read()

    @property
    def holds_place(self) -> bool:
        """Whether it holds a place under the cap."""
        return self.exchange.holds_place

    def give_place_up(self) -> bool:
        """Give up the place under the cap."""
        return self.exchange.give_place_up()

    @property
    def request_id(self) -> str:
        """Of the request."""
        return self.exchange.request_id

    def shut(self) -> None:
        """Reset the connection."""
        self._cut(Ending.ABORTED)

    def _cut(self, ending: Ending) -> None:
        """Reset the connection; the first to do so says why."""
        if not self.is_cut:
            self.cut_by = ending
        self._client.abort()

    @property
    def is_cut(self) -> bool:
        """Whether we have reset the connection."""
        return self.cut_by is not Ending.DISCONNECTED

    # A Response of LeaseWatch

    @property
    def response(self) -> Response | None:
        """Itself, while it is under way."""
        return None if self.is_cut or self.exchange.ended else self

    @property
    def lease(self) -> Lease | None:
        """The lease that opened it."""
        return self.exchange.lease

    @property
    def image_id(self) -> str | None:
        """The image that it is read from."""
        return self.exchange.facts.names.image_id

    def end_lease(self, ending: Ending) -> None:
        """Reset the connection: the lease has ended, or is revoked."""
        self._cut(ending)

    # A Sender of FilesInFlight, where bytes are copied

    def acknowledged(self) -> int:
        """Nothing is shared with a socket."""
        return 0

    def file_changed(self) -> None:
        """Reset the connection: the file has changed of which bytes were still to be read."""
        self.shut()

    # IConsumer, for a producer of the body

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:  # noqa: FBT001 - IConsumer's interface
        """Let the transport pause and resume a producer."""
        self._client.transport.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """Have the transport forget it; a lost connection has nothing left to forget."""
        if not self.exchange.ended:
            self._client.transport.unregisterProducer()

    def write(self, data: bytes) -> None:
        """Send bytes of the body."""
        self.length += len(data)
        self._client.transport.write(data)
