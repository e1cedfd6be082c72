"""Ranges of open images, answered by one read and one send (see `delivery.fast_range`).

No object is made for such a request that outlives it. The Responder gets all that are unusual, before anything has
been sent; if the socket takes only a part, it sends the rest.

A client that reads an image sends heads that differ in their range alone. From the second on a connection knows what
stands before and behind the range, and looks for no plan.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import attrs
from twisted.internet.interfaces import IReactorTime

from aero_storage.delivery.facts import make_request_id
from aero_storage.delivery.fast_range import FastRange
from aero_storage.http.ranges import Segment
from aero_storage.http.request_head import MAX_RANGE_DIGITS
from aero_storage.logs.json_lines import quote
from aero_storage.streaming.sendfile import SendfileServer
from aero_storage.web.connection_state import ConnectionState
from aero_storage.web.file_sender import FileSender
from aero_storage.web.response import Client
from aero_storage.web.response_plans import Around, PlannedRequest, ResponsePlan

MAX_BYTES = 64 * 1024
"""The longest range that is answered so."""

_UNKNOWN = Around()


@attrs.frozen
class Begun:
    """A response of which a part has been sent."""

    plan: ResponsePlan
    fast: FastRange
    segment: Segment
    request_id: str
    started: float
    """By the clock."""
    head: bytes
    sent: int
    """Bytes of head and body that the kernel has."""


class Closing(Protocol):
    """All connections, as far as a fast response needs them."""

    retiring: bool
    """Whether connections end with their next response."""


class FastClient(Client, Protocol):
    """A connection, as far as a fast response needs it."""

    state: ConnectionState

    @property
    def site(self) -> Closing:
        """All connections."""
        ...


@attrs.frozen(eq=False)
class FastResponses:
    """Answers the ranges of all connections; `now` gives seconds since the epoch."""

    _sender: FileSender
    _clock: IReactorTime
    _now: Callable[[], float]
    _send_rest: Callable[[Begun, FastClient, SendfileServer], None]

    def to(self, client: FastClient) -> FastConnection | None:
        """Return what answers the ranges of one connection; None where its bytes go another way."""
        transport = client.sendfile
        return None if transport is None or client.pace is not None else FastConnection(self, client, transport)

    def respond(self, plan: ResponsePlan, first: int, last: int, connection: FastConnection) -> bool:  # noqa: PLR0911 - one call for all
        """Answer a request for two positions; False, with nothing done, if it goes the ordinary way."""
        fast, note, client = plan.memo.fast, plan.record.note, connection.client
        if fast is None or note is None or client.site.retiring:
            return False
        started, now, size = self._clock.seconds(), self._now(), fast.size
        if last >= size:
            last = size - 1
        length = last - first + 1
        if not 0 < length <= MAX_BYTES or length > fast.most:
            return False
        try:
            if (file := fast.file_now(now, started)) is None:
                return False
            request_id = make_request_id()
            fixed = plan.head.fixed(206, fast.decision.headers, int(now))
            part, length_text = f"{first}-{last}", str(length)
            own = (
                f"{request_id}\r\nContent-Length: {length_text}\r\nContent-Range: bytes {part}/{size}\r\n\r\n"
            ).encode()
            body = self._sender.read(file, first, length)
        except Exception:  # noqa: BLE001 - the file has changed, or a defect: the ordinary way tells of it
            return False
        if body is None:
            return False
        sent = connection.transport.send_small(fixed, own, body)
        if sent < len(fixed) + len(own) + length:
            client.state.begin_response(last=False)
            begun = Begun(plan, fast, Segment(first, length), request_id, started, fixed + own, sent)
            self._send_rest(begun, client, connection.transport)
            return True
        client.state.heads += 1
        seconds = self._clock.seconds() - started
        note(request_id, connection.peer, part, length, length_text, fast.version, seconds)
        return True


@attrs.define(eq=False)
class FastConnection:
    """Answers the ranges of one connection."""

    _fast: FastResponses
    client: FastClient
    transport: SendfileServer
    peer: str = attrs.field(init=False, default="null")
    """The host of the peer as JSON, once it has asked for a range."""
    _plan: ResponsePlan | None = attrs.field(init=False, default=None, repr=False)
    """The plan of the last range that was answered so."""
    _around: Around = attrs.field(init=False, default=_UNKNOWN, repr=False)
    """The common part of its heads, once two in a row had this plan."""

    def repeat(self, data: bytes) -> bool:
        """Answer a head that differs from the last one in its range alone; False, with nothing done, if it does not.

        It has the plan of the last one: `split_varying` finds the positions between the same bytes.
        """
        around, plan = self._around, self._plan
        if not (data.startswith(around.before) and data.endswith(around.behind)):
            return False
        first, _, last = data[around.start : around.end].partition(b"-")
        if (
            plan is None
            or not (first.isdigit() and last.isdigit())
            or len(first) > MAX_RANGE_DIGITS
            or len(last) > MAX_RANGE_DIGITS
        ):
            return False
        return self._fast.respond(plan, int(first), int(last), self)

    def respond(self, planned: PlannedRequest, data: bytes) -> bool:
        """Answer a request that has a plan; False, with nothing done, if it goes the ordinary way."""
        plan, wanted, given_id = planned
        if wanted is None or given_id is not None or not plan.persistent:
            return False
        self.peer = quote(self.client.peer)
        first, last = wanted.removeprefix("bytes=").split("-")
        if not self._fast.respond(plan, int(first), int(last), self):
            return False
        if self._plan is not plan:
            self._plan, self._around = plan, _UNKNOWN
        elif self._around is not plan.around:
            if plan.around.start == 0:
                plan.around.learn(data)
            self._around = plan.around
        return True
