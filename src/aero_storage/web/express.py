"""The express lane: plain requests for bytes, answered before Twisted Web and Klein have looked at them.

It parses and writes, and knows no rule: routes, decisions, places, counters and log lines are those of the other
lane. What it does not recognise to the last byte, or cannot answer without waiting, it leaves untouched to that lane.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from functools import lru_cache
from typing import Protocol

import attrs
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from aero_storage.delivery.access_record import AccessRecord
from aero_storage.delivery.byte_handler import Memo
from aero_storage.delivery.exchange import Ending, Exchange
from aero_storage.delivery.facts import Facts, Names, read_facts, request_id_of
from aero_storage.delivery.handler import RequestHandler
from aero_storage.delivery.reply import Reply
from aero_storage.delivery.routes import ROUTES, Plane, Route
from aero_storage.errors import DiskHangsError, ShortReadError
from aero_storage.http.conditional import UNCONDITIONAL
from aero_storage.http.plain import PlainRequest, recognise, split_range
from aero_storage.logs.json_log import EventLog
from aero_storage.streaming.sendfile import SendfileServer
from aero_storage.web.sending import FileSender, HeadWriter

_MAX_PLANS = 256
"""Of some 4 KiB each: more would go on filling for hours, with what is asked for once, and memory with them."""
_Key = tuple[bytes, bytes | None]

_DATA_ROUTES = tuple((route, tuple(route.template.split("/"))) for route in ROUTES if route.plane is Plane.DATA)


@lru_cache(256)
def find_route(path: str) -> tuple[Route, Names] | None:
    """The byte or chunk route of a plain path, and the names in it; None if it is not clear which one."""
    given = path.split("/")
    fitting = [(route, parts) for route, parts in _DATA_ROUTES if _fits(parts, given)]
    if len(fitting) != 1 or "" in given[1:]:
        return None  # the router knows which route goes first
    route, parts = fitting[0]
    pairs = zip(parts, given, strict=True)
    return route, Names.parse({part[1:]: raw.encode("ascii") for part, raw in pairs if part[:1] == ":"})


def _fits(parts: tuple[str, ...], given: list[str]) -> bool:
    pairs = zip(parts, given, strict=False)
    return len(parts) == len(given) and all(part[:1] == ":" or part == raw for part, raw in pairs)


@attrs.frozen
class Plan:
    """What is known of all plain requests that differ in nothing but their range."""

    facts: Facts
    account: AccessRecord
    persistent: bool
    is_head: bool
    memo: Memo = attrs.field(factory=Memo)
    head: HeadWriter = attrs.field(factory=HeadWriter)


class Connection(Protocol):
    """The channel that a request came by."""

    def delivery_begins(self, delivery: Delivery) -> None:
        """A response is on its way that the kernel has not taken whole yet."""
        ...

    def delivered(self, *, persistent: bool) -> None:
        """A response has gone out."""
        ...

    def say_farewell(self) -> None:
        """The response that goes out is the last, which the client could not know."""
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
            self.transport.mark_unfinished()
            self.connection.delivery_begins(self)

    def complete(self) -> None:
        """The kernel has all of it."""
        self.transport.mark_finished()
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
        if failure.check(ShortReadError, DiskHangsError, OSError):
            self.break_off(failure.getErrorMessage())
        else:
            self.lost()

    def _end(self, ending: Ending) -> None:
        self.exchange.end(ending, self.status, max(0, self.length - self.transport.unsent))


@attrs.define(eq=False)
class ExpressLane:
    """Answers plain requests through the desk; `now` gives seconds since the epoch."""

    _handler: RequestHandler
    _sender: FileSender
    _log: EventLog
    _now: Callable[[], float] = time.time
    retiring: bool = attrs.field(init=False, default=False)
    """Whether responses say that their connections close (RFC 9112 §9.6)."""
    _plans: dict[_Key, Plan] = attrs.field(init=False, factory=dict, repr=False)

    def take(self, data: bytes, peer: str, transport: SendfileServer, connection: Connection) -> bool:
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
            request_id, asked = request.headers.get("X-Request-Id"), request.headers.get("Range")
            if request_id is None and asked == wanted and plan.facts.preconditions is UNCONDITIONAL:
                self._keep(key, plan)
            wanted = asked
        exchange = Exchange(plan.account, self._handler.client_of(plan.facts, peer), request_id_of(request_id))
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
        return Plan(facts, self._handler.account(facts), request.persistent, request.method == "HEAD")

    def _keep(self, key: _Key, plan: Plan) -> None:
        if len(self._plans) >= _MAX_PLANS:
            self._plans.clear()
        self._plans[key] = plan

    def _decide(self, exchange: Exchange, wanted: str | None, memo: Memo) -> Reply | None:
        try:
            reply = self._handler.answer_now(exchange, wanted, memo)
        except Exception:  # noqa: BLE001 - a defect of ours: the other lane says what a client is to see of it
            self._log.event("error", "express lane failed", {"traceback": traceback.format_exc()})
            return None
        sends_file = reply is not None and reply.segment is not None and exchange.facts.method != "HEAD"
        return None if sends_file and (exchange.blob is None or exchange.blob.file is None) else reply

    def _send(
        self, plan: Plan, reply: Reply, exchange: Exchange, transport: SendfileServer, connection: Connection
    ) -> None:
        persistent = plan.persistent and not self.retiring
        if self.retiring and plan.persistent:
            connection.say_farewell()
        head = plan.head.write(reply, exchange.request_id, self._now(), persistent=persistent)
        if plan.is_head:
            reply = attrs.evolve(reply, body=b"", segment=None)
        try:
            sending = self._sender.send(transport, head, reply, exchange.blob)
            if sending is None:
                exchange.end(Ending.COMPLETE, reply.status, reply.length or 0)
                connection.delivered(persistent=persistent)
            else:
                self._delivery(plan, reply, exchange, transport, connection).follow(sending)
        except ShortReadError as error:
            self._delivery(plan, reply, exchange, transport, connection).break_off(str(error))
        except Exception:  # noqa: BLE001 - a defect of ours, and the head may have gone out
            self._delivery(plan, reply, exchange, transport, connection).break_off(traceback.format_exc())

    def _delivery(
        self, plan: Plan, reply: Reply, exchange: Exchange, transport: SendfileServer, connection: Connection
    ) -> Delivery:
        length, persistent = reply.length or 0, plan.persistent and not self.retiring
        return Delivery(exchange, reply.status, length, persistent, transport, connection, self._log)
