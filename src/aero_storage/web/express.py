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

from aero_storage.delivery.desk import Desk, Memo
from aero_storage.delivery.exchange import Ending, Exchange
from aero_storage.delivery.facts import Facts, Names, read_facts, request_id_of
from aero_storage.delivery.reply import Reply
from aero_storage.delivery.routes import ROUTES, Plane, Route
from aero_storage.errors import ShortReadError
from aero_storage.logs import EventLog
from aero_storage.protocol.cors import Headers
from aero_storage.protocol.dates import format_http_date
from aero_storage.protocol.conditional import UNCONDITIONAL
from aero_storage.protocol.plain import PlainRequest, recognise, split_range
from aero_storage.protocol.ranges import Segment
from aero_storage.store.blob import OpenFile
from aero_storage.streaming.residency import read_resident_into
from aero_storage.streaming.sendfile import SendfileServer

SMALL = 64 * 1024
"""Bodies up to this many bytes are read at once and leave in one write with their head."""

_HEAD_ROOM = 2048
_MAX_PLANS = 1024

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


@attrs.frozen
class Plan:
    """What is known of all plain requests that differ in nothing but their range."""

    facts: Facts
    persistent: bool
    is_head: bool
    memo: Memo = attrs.field(factory=Memo)


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
    own = "".join([f"{name}: {value}\r\n" for name, value in reply.own])
    more = "" if persistent else "Connection: close\r\n"
    if length is not None:
        more += f"Content-Length: {length}\r\n"
    fixed = _status_line(reply.status) + _date_line(int(now)) + _block(reply.common)
    return fixed + f"X-Request-Id: {request_id}\r\n{more}{own}\r\n".encode("latin-1")


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

    def complete(self) -> None:
        """The kernel has all of it."""
        self._end(Ending.COMPLETE)
        self.connection.delivered(persistent=self.persistent)

    def lost(self) -> None:
        """The connection is gone."""
        self._end(Ending.ABORTED if self.aborted_by_us else Ending.DISCONNECTED)

    def break_off(self, reason: str) -> None:
        """The body cannot be finished: reset, so that the client does not take what it has for the whole."""
        self.log.event("error", f"response broken off: {reason}", {"request_id": self.exchange.request_id})
        self.aborted_by_us = True
        self.lost()
        self.transport.abortConnection()

    def _fail(self, failure: Failure) -> None:
        if failure.check(ShortReadError, OSError):
            self.break_off(failure.getErrorMessage())
        else:
            self.lost()

    def _end(self, ending: Ending) -> None:
        self.exchange.end(ending, self.status, max(0, self.length - self.transport.unsent))


@attrs.define(eq=False)
class ExpressLane:
    """Answers plain requests through the desk; `now` gives seconds since the epoch."""

    _desk: Desk
    _log: EventLog
    _now: Callable[[], float] = time.time
    _plans: dict[bytes, Plan] = attrs.field(init=False, factory=dict)
    _buffer: memoryview = attrs.field(init=False, factory=lambda: memoryview(bytearray(_HEAD_ROOM + SMALL)))
    """Where a small body is read to, behind the room for its head, so that both leave in one piece."""

    def take(self, data: bytes, client: str, transport: SendfileServer, connection: Connection) -> bool:
        """Answer what a connection has received between two requests; false if it is for the other lane.

        `transport` has nothing unsent, and is not being closed.
        """
        key, wanted = split_range(data)
        plan = self._plans.get(key)
        request_id = None
        if plan is None:
            request = recognise(data)
            plan = None if request is None else self._plan(request)
            if request is None or plan is None:
                return False
            request_id, wanted = request.headers.get("X-Request-Id"), request.headers.get("Range")
            if request_id is None and plan.facts.preconditions is UNCONDITIONAL:
                self._keep(key, plan)
        exchange = self._desk.begin(plan.facts, client, request_id_of(request_id))
        reply = self._decide(exchange, wanted, plan.memo)
        if reply is None:
            exchange.give_up()
            return False
        self._send(plan, reply, exchange, transport, connection)
        return True

    def _plan(self, request: PlainRequest) -> Plan | None:
        found = find_route(request.path)
        if found is None:
            return None
        route, names = found
        facts = read_facts(
            method=request.method,
            path=request.path,
            route=route,
            names=names,
            header=request.headers.get,
            announces_body=False,
            now=self._now(),
        )
        return Plan(facts, request.persistent, request.method == "HEAD")

    def _keep(self, key: bytes, plan: Plan) -> None:
        if len(self._plans) >= _MAX_PLANS:
            self._plans.clear()
        self._plans[key] = plan

    def _decide(self, exchange: Exchange, wanted: str | None, memo: Memo) -> Reply | None:
        try:
            reply = self._desk.answer_now(exchange, wanted, memo)
        except Exception:  # noqa: BLE001 - a defect of ours: the other lane says what a client is to see of it
            self._log.event("error", "express lane failed", {"traceback": traceback.format_exc()})
            return None
        sends_file = reply is not None and reply.segment is not None and exchange.facts.method != "HEAD"
        return None if sends_file and (exchange.blob is None or exchange.blob.file is None) else reply

    def _send(
        self, plan: Plan, reply: Reply, exchange: Exchange, transport: SendfileServer, connection: Connection
    ) -> None:
        head = head_bytes(reply, exchange.request_id, self._now(), persistent=plan.persistent)
        segment, file = reply.segment, exchange.blob.file if exchange.blob is not None else None
        length = 0 if plan.is_head else reply.length or 0
        delivery = Delivery(exchange, reply.status, length, plan.persistent, transport, connection, self._log)
        try:
            if plan.is_head or segment is None or file is None or not segment.length:
                transport.write_through(head if plan.is_head else head + reply.body)
            elif segment.length > SMALL or not self._write_small(transport, head, file, segment):
                delivery.follow(transport.send_file(file, segment.offset, segment.length, head))
                return
            if transport.unsent:
                delivery.follow(transport.when_drained())
            else:
                delivery.complete()
        except Exception:  # noqa: BLE001 - a defect of ours, and the head may have gone out
            delivery.break_off(traceback.format_exc())

    def _write_small(self, transport: SendfileServer, head: bytes, file: OpenFile, segment: Segment) -> bool:
        """Send head and body in one piece, if the body is in memory."""
        start, end = _HEAD_ROOM - len(head), _HEAD_ROOM + segment.length
        if start < 0 or not read_resident_into(file.fileno(), segment.offset, self._buffer[_HEAD_ROOM:end]):
            return False
        file.verify()
        self._buffer[start:_HEAD_ROOM] = head
        transport.write_through(self._buffer[start:end])
        return True
