"""Ranges of open images, answered by one read and one send (see `delivery.fast_range`).

No object is made for such a request that outlives it. The Responder gets all that are unusual, before anything has
been sent; if the socket takes only a part, it sends the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import attrs
from twisted.internet.interfaces import IReactorTime

from aero_storage.delivery.facts import make_request_id
from aero_storage.delivery.fast_range import FastRange
from aero_storage.http.ranges import Segment
from aero_storage.streaming.sendfile import SendfileServer
from aero_storage.web.connection_state import ConnectionState
from aero_storage.web.file_sender import FileSender
from aero_storage.web.response import Client
from aero_storage.web.response_plans import PlannedRequest, ResponsePlan

MAX_BYTES = 64 * 1024
"""The longest range that is answered so."""

_BYTES_UNIT = len("bytes=")


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

    @property
    def peer_json(self) -> str:
        """The host of the peer as JSON."""
        ...


@attrs.frozen(eq=False)
class FastResponses:
    """Answers planned requests; `now` gives seconds since the epoch."""

    _sender: FileSender
    _clock: IReactorTime
    _now: Callable[[], float]
    _send_rest: Callable[[Begun, FastClient, SendfileServer], None]

    def respond(self, planned: PlannedRequest, client: FastClient) -> bool:  # noqa: PLR0911 - one call for all
        """Answer a request; False, with nothing done, if it has to be answered in the ordinary way."""
        plan, wanted, given_id = planned
        fast, transport = plan.memo.fast, client.sendfile
        if (
            (fast is None or wanted is None or given_id is not None or transport is None)
            or not plan.persistent
            or client.pace is not None
            or client.site.retiring
            or (note := plan.record.note_range()) is None
        ):
            return False
        started, now = self._clock.seconds(), self._now()
        texts = wanted[_BYTES_UNIT:].split("-")
        first, last, size = int(texts[0]), int(texts[1]), fast.size
        last = last if last < size else size - 1
        length = last - first + 1
        if not 0 < length <= MAX_BYTES or length > fast.most:
            return False
        try:
            if (file := fast.file_now(now)) is None:
                return False
            request_id = make_request_id()
            fixed = plan.head.fixed(206, fast.decision.headers, int(now))
            head = (
                f"{fixed}{request_id}\r\nContent-Length: {length}\r\n"
                f"Content-Range: bytes {first}-{last}/{size}\r\n\r\n"
            ).encode("latin-1")
            data = self._sender.join(head, file, first, length)
        except Exception:  # noqa: BLE001 - the file has changed, or a defect: the ordinary way tells of it
            return False
        if data is None:
            return False
        sent = transport.send_now(data)
        if sent < len(data):
            client.state.begin_response(last=False)
            begun = Begun(plan, fast, Segment(first, length), request_id, started, head, sent)
            self._send_rest(begun, client, transport)
            return True
        client.state.heads += 1
        note(request_id, client.peer_json, first, last, length, fast.version, self._clock.seconds() - started)
        return True
