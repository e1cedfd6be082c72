"""The express lane: plain requests for bytes, answered before Twisted Web and Klein have looked at them.

It parses and writes, and knows no rule: routes, decisions, places, counters and log lines are those of the other
lane. What it does not recognise to the last byte, or cannot answer without waiting, it leaves untouched to that lane.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from functools import lru_cache
from http import HTTPStatus
from typing import Protocol

import attrs
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from aero_storage.delivery.desk import Desk
from aero_storage.delivery.exchange import Ending, Exchange
from aero_storage.delivery.facts import Names, read_facts
from aero_storage.delivery.reply import Reply
from aero_storage.delivery.routes import ROUTES, Plane, Route
from aero_storage.errors import ShortReadError
from aero_storage.logs import EventLog
from aero_storage.protocol.cors import Headers
from aero_storage.protocol.dates import format_http_date
from aero_storage.protocol.plain import PlainRequest, recognise
from aero_storage.store.blob import OpenFile
from aero_storage.streaming.residency import read_resident
from aero_storage.streaming.sendfile import SendfileServer

SMALL = 64 * 1024
"""Bodies up to this many bytes are read at once and leave in one write with their head."""

_DATA_ROUTES = tuple((route, tuple(route.template.split("/"))) for route in ROUTES if route.plane is Plane.DATA)


@lru_cache(4096)
def find_route(path: str) -> tuple[Route, Names] | None:
    """The byte or chunk route of a plain path, and the names in it."""
    given = path.split("/")
    if "" in given[1:]:
        return None
    for route, parts in _DATA_ROUTES:
        pairs = list(zip(parts, given, strict=False))
        if len(parts) == len(given) and all(part[:1] == ":" or part == raw for part, raw in pairs):
            return route, Names.parse({part[1:]: raw.encode("ascii") for part, raw in pairs if part[:1] == ":"})
    return None


def _line(name: str, value: str) -> bytes:
    return f"{name}: {value}\r\n".encode("latin-1")


@lru_cache(1024)
def _block(headers: Headers) -> bytes:
    return b"".join(_line(name, value) for name, value in headers)


@lru_cache(64)
def _status_line(status: int) -> bytes:
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nServer: aero-storage\r\n".encode("ascii")


@lru_cache(2)
def _date_line(second: int) -> bytes:
    return _line("Date", format_http_date(second))


def head_bytes(reply: Reply, request_id: str, now: float, *, persistent: bool) -> bytes:
    """The head of a response as it goes over the wire."""
    length = reply.length
    return b"".join(
        (
            _status_line(reply.status),
            _date_line(int(now)),
            b"X-Request-Id: %b\r\n" % request_id.encode("ascii"),
            b"" if length is None else b"Content-Length: %d\r\n" % length,
            b"" if persistent else b"Connection: close\r\n",
            _block(reply.common),
            *[_line(name, value) for name, value in reply.own],
            b"\r\n",
        )
    )


class Connection(Protocol):
    """The channel that a request came by."""

    def delivery_begins(self, delivery: Delivery) -> None:
        """A response is on its way that the kernel has not taken whole yet."""
        ...

    def delivered(self, *, persistent: bool) -> None:
        """A response has gone out."""
        ...


@attrs.define(eq=False)
class Delivery:
    """A response on its way; it ends once, when the kernel has all of it or never will."""

    exchange: Exchange
    status: int
    length: int
    """Of the body, in bytes."""
    persistent: bool
    transport: SendfileServer
    connection: Connection
    log: EventLog
    aborted_by_us: bool = False

    def follow(self, sending: Deferred[None]) -> None:
        """Wait until all is with the kernel, or the connection or the file has failed."""
        sending.addCallbacks(lambda _: self.complete(), self._fail)
        if not self.exchange.ended:
            self.connection.delivery_begins(self)

    def lost(self) -> None:
        """The connection is gone."""
        self._end(Ending.ABORTED if self.aborted_by_us else Ending.DISCONNECTED)

    def break_off(self, reason: str) -> None:
        """The body cannot be finished: reset, so that the client does not take what it has for the whole."""
        self.log.event("error", f"response broken off: {reason}", {"request_id": self.exchange.facts.request_id})
        self.aborted_by_us = True
        self.lost()
        self.transport.abortConnection()

    def complete(self) -> None:
        """The kernel has all of it."""
        self._end(Ending.COMPLETE)
        self.connection.delivered(persistent=self.persistent)

    def _fail(self, failure: Failure) -> None:
        if failure.check(ShortReadError, OSError):
            self.break_off(failure.getErrorMessage())
        else:
            self.lost()

    def _end(self, ending: Ending) -> None:
        self.exchange.end(ending, self.status, max(0, self.length - self.transport.unsent))


@attrs.frozen
class _Answer:
    """A reply that can be sent without waiting: with its `body`, or with a segment of `file` as body."""

    reply: Reply
    body: bytes | bytearray
    file: OpenFile | None = None


@attrs.frozen
class ExpressLane:
    """Answers plain requests through the desk; `now` gives seconds since the epoch."""

    _desk: Desk
    _log: EventLog
    _now: Callable[[], float] = time.time

    def take(self, data: bytes, client: str, transport: SendfileServer, connection: Connection) -> bool:
        """Answer what a connection has received between two requests; false if it is for the other lane.

        `transport` has nothing unsent, and is not being closed.
        """
        request = recognise(data)
        found = find_route(request.path) if request is not None else None
        if request is None or found is None:
            return False
        now = self._now()
        exchange = self._begin(request, *found, client, now)
        answer = self._answer(exchange)
        if answer is None:
            exchange.give_up()
            return False
        reply = answer.reply
        head = head_bytes(reply, exchange.facts.request_id, now, persistent=request.persistent)
        length = reply.segment.length if answer.file and reply.segment else len(answer.body)
        delivery = Delivery(exchange, reply.status, length, request.persistent, transport, connection, self._log)
        try:
            _send(delivery, head, answer)
        except Exception:  # noqa: BLE001 - a defect of ours, and the head may have gone out
            delivery.break_off(traceback.format_exc())
        return True

    def _begin(self, request: PlainRequest, route: Route, names: Names, client: str, now: float) -> Exchange:
        return self._desk.begin(
            read_facts(
                method=request.method,
                path=request.path,
                route=route,
                names=names,
                header=request.headers.get,
                announces_body=False,
                client=client,
                now=now,
            )
        )

    def _answer(self, exchange: Exchange) -> _Answer | None:
        try:
            reply = self._desk.answer_now(exchange)
            return None if reply is None else _prepare(reply, exchange)
        except Exception:  # noqa: BLE001 - a defect of ours: the other lane says what a client is to see of it
            self._log.event("error", "express lane failed", {"traceback": traceback.format_exc()})
            return None


def _prepare(reply: Reply, exchange: Exchange) -> _Answer | None:
    if exchange.facts.method == "HEAD":
        return _Answer(reply, b"")
    segment = reply.segment
    if segment is None:
        return _Answer(reply, reply.body)
    file = exchange.blob.file if exchange.blob is not None else None
    if file is None:
        return None
    if not segment.length:
        return _Answer(reply, b"")
    body = read_resident(file.fileno(), segment.offset, segment.length) if segment.length <= SMALL else None
    return _Answer(reply, b"", file) if body is None else _Answer(reply, body)


def _send(delivery: Delivery, head: bytes, answer: _Answer) -> None:
    transport, segment = delivery.transport, answer.reply.segment
    if answer.file is not None and segment is not None:
        delivery.follow(transport.send_file(answer.file, segment.offset, segment.length, head))
        return
    transport.write_through(head + answer.body)
    if transport.unsent:
        delivery.follow(transport.when_drained())
    else:
        delivery.complete()
