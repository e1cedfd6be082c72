"""Answers requests: one way from a plan to a reply, one way from a reply to the kernel, one end."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from aero_storage.delivery.exchange import Ending, Exchange
from aero_storage.delivery.facts import Names, request_id_of
from aero_storage.delivery.handler import RequestHandler
from aero_storage.delivery.reply import Reply
from aero_storage.delivery.routes import Plane, Route
from aero_storage.disk import Disk
from aero_storage.errors import FileChangedError, ShortReadError, StatusAndReason
from aero_storage.http.request_head import RequestHead
from aero_storage.logs.json_log import EventLog
from aero_storage.open_file import OpenFile
from aero_storage.streaming.files_in_flight import FilesInFlight
from aero_storage.streaming.large_pieces import LargePieces
from aero_storage.streaming.producer import SegmentProducer
from aero_storage.streaming.sendfile import SendfileServer
from aero_storage.streaming.waiting_bodies import WaitingBodies
from aero_storage.web.fast_responses import Begun, FastClient, FastResponses
from aero_storage.web.file_sender import FileSender
from aero_storage.web.lease_watch import LeaseWatch
from aero_storage.web.response import Client, Response
from aero_storage.web.response_plans import PlannedRequest, ResponsePlan, ResponsePlans

PIECE_BYTES = 32 * 1024
"""Bytes of a made body that are copied at a time for a connection that cannot share it."""


@attrs.frozen
class Responder:
    """Answers requests through a handler; reads through `readers` where the kernel cannot copy.

    `now` gives seconds since the epoch.
    """

    _handler: RequestHandler
    plans: ResponsePlans
    _sender: FileSender
    _readers: Disk
    _bodies: WaitingBodies
    _in_flight: FilesInFlight
    _clock: IReactorTime
    _log: EventLog
    _now: Callable[[], float] = time.time
    _lease_watch: LeaseWatch | None = attrs.field(kw_only=True, default=None)
    """Ends responses whose leases have ended; None while leases are off."""
    _large: LargePieces = attrs.field(init=False, factory=LargePieces)
    fast: FastResponses | None = attrs.field(init=False)
    """Answers ranges of open images; None where each request is limited, or where nothing is remembered."""

    @fast.default
    def _make_fast(self) -> FastResponses | None:
        return (
            FastResponses(self._sender, self._clock, self._now, self._send_rest)
            if self._handler.admits_all and self.plans.enabled
            else None
        )

    def respond_routed(
        self, head: RequestHead, raw: bytes, route: Route | None, names: Names, client: Client
    ) -> None:
        """Answer a request that the router has routed."""
        self.respond(self.plans.make(head, raw, route, names), client)

    def refuse(self, head: RequestHead, refusal: StatusAndReason, client: Client) -> None:
        """Answer a request that is refused before it is routed."""
        self.respond(self.plans.make_refusal(head, refusal), client)

    def respond(self, planned: PlannedRequest, client: Client) -> None:
        """Answer a request. The client hears of the end, at once if nothing has to be waited for."""
        plan, wanted, request_id = planned
        handler = self._handler
        peer = client.peer
        client_host = handler.client_of(plan.facts, peer)
        exchange = Exchange(plan.record, client_host, request_id_of(request_id), peer, client.is_secure)
        try:
            reply: Reply | Deferred[Reply] | None = None
            if plan.wants_bytes and client.refusal is None:
                reply = handler.answer_now(exchange, wanted, plan.memo)
            if reply is None:
                reply = self._reply(plan, exchange, wanted, client)
        except Exception:  # noqa: BLE001 - a defect of ours: the client gets a clean 500, the log the traceback
            reply = self._defect(exchange, traceback.format_exc())
        if isinstance(reply, Reply):
            self._send(plan, exchange, reply, client)
        else:
            self._wait(plan, exchange, reply, client)

    def _reply(
        self, plan: ResponsePlan, exchange: Exchange, wanted: str | None, client: Client
    ) -> Reply | Deferred[Reply]:
        """The reply, or, if it has to be waited for, what waits."""
        if plan.refusal is not None:
            return self._handler.fail(plan.facts, *plan.refusal)
        if client.refusal is not None and plan.facts.plane is not Plane.OPERATIONS:
            return self._handler.fail(plan.facts, *client.refusal)
        return start(self._handler.answer(exchange, wanted))

    def _defect(self, exchange: Exchange, text: str) -> Reply:
        self._log.event("error", "request failed", {"request_id": exchange.request_id, "traceback": text})
        return self._handler.fail(exchange.facts, HTTPStatus.INTERNAL_SERVER_ERROR, None)

    def _wait(self, plan: ResponsePlan, exchange: Exchange, waiting: Deferred[Reply], client: Client) -> None:
        response = Response(exchange, client, self._log, self._in_flight.reports)

        def failed(failure: Failure) -> Reply:
            if failure.check(CancelledError):
                failure.raiseException()
            return self._defect(exchange, failure.getTraceback())

        waiting.addErrback(failed)
        response.follow(waiting, lambda reply: self._send_late(plan, exchange, reply, client, response))

    def _send_late(
        self, plan: ResponsePlan, exchange: Exchange, reply: Reply, client: Client, response: Response
    ) -> None:
        """Send the reply to a request that had to wait, unless its lease was revoked meanwhile."""
        if self._lease_watch is None or not self._lease_watch.end_if_revoked(response):
            self._send(plan, exchange, reply, client, response)

    def _send(
        self, plan: ResponsePlan, exchange: Exchange, reply: Reply, client: Client, response: Response | None = None
    ) -> None:
        """Send head and body, as far as possible at once; most leave at once, and need no Response."""
        exchange.reply = reply
        if client.pace is not None:
            client.pace.lease = None if exchange.lease_use is None else exchange.lease_use.bucket
        try:
            head = plan.head.write(
                reply, exchange.request_id, self._now(), persistent=client.stays_open(), lease=exchange.lease
            )
            if plan.facts.method == "HEAD":
                reply = attrs.evolve(reply, body=b"", segment=None)
            transport, blob, secure = client.sendfile, exchange.blob, client.encrypting
            segment, file = reply.segment, blob.file if blob is not None else None
            if secure is not None and file is not None and segment is not None and segment.length:
                transport = secure.transport
                sending = self._sender.send_encrypted(secure, head, file, segment, exchange.place)
            elif transport is None or (segment is not None and blob is not None and file is None):
                response = self._response(exchange, reply, client, response)
                self._follow(response, Deferred.fromCoroutine(self._produce(head, reply, response, client)))
                return
            else:
                sending = self._sender.send(transport, head, reply, file, exchange.place)
            if sending is None:
                exchange.end(Ending.COMPLETE, reply.status, reply.length or 0)
                client.response_sent()
                return
        except Exception as error:  # noqa: BLE001 - the file has failed, or a defect of ours
            response = self._response(exchange, reply, client, response)
            # A file is read before anything of the body is sent; a later failure comes by the Deferred.
            response.length = 0
            response.break_off(error)
            return
        transport.mark_unfinished()
        response = self._response(exchange, reply, client, response)
        if reply.body:
            response.hold_body(self._bodies, reply.body)
        self._follow(response, sending)

    def _send_rest(self, begun: Begun, client: FastClient, transport: SendfileServer) -> None:
        """Send the rest of a fast response: now it needs an exchange, with a place and the open file."""
        exchange = Exchange(begun.plan.record, client.peer, begun.request_id, client.peer, client.is_secure)
        exchange.begin_at(begun.started)
        exchange.reply = reply = begun.fast.reply(begun.segment)
        exchange.blob = blob = begun.fast.file.lease()
        response = self._response(exchange, reply, client, None)
        try:
            if not begun.fast.take_place(exchange) or blob.file is None:
                raise ShortReadError("the file was closed while its bytes were sent")  # noqa: TRY301
            sending = self._sender.send_rest(
                transport, begun.head, blob.file, begun.segment, begun.sent, exchange.place
            )
        except Exception as error:  # noqa: BLE001 - the file has failed, or a defect of ours
            response.break_off(error)
            return
        self._follow(response, sending)

    def _follow(self, response: Response, sending: Deferred[None]) -> None:
        """Follow a response whose head has gone out."""
        response.follow(sending)
        lease = response.lease
        if self._lease_watch is not None and lease is not None and not response.exchange.ended:
            self._lease_watch.begin(response, lease)

    def _response(self, exchange: Exchange, reply: Reply, client: Client, response: Response | None) -> Response:
        """The response under way, now that its reply is known."""
        response = response or Response(exchange, client, self._log, self._in_flight.reports)
        response.status, response.length = reply.status, reply.length or 0
        return response

    async def _produce(self, head: bytes, reply: Reply, response: Response, client: Client) -> None:
        """Send what threads read: from file systems on a network, and where neither `sendfile` nor our TLS works."""
        await self._write_body(head, reply.body, response, client)
        blob, segment = response.exchange.blob, reply.segment
        if segment is not None and blob is not None:
            if client.tracked is not None:
                client.tracked.mark_unfinished()
            producer = SegmentProducer(
                self._readers,
                blob,
                response,
                segment.offset,
                segment.length,
                client.pace,
                response.exchange.place,
                self._large,
            )
            await self._copy_file(producer, blob.file, response)
        await self._flushed(client)

    async def _copy_file(self, producer: SegmentProducer, file: OpenFile | None, response: Response) -> None:
        """Send the bytes of a file; if it has changed, reset all connections that get copies of it."""
        if file is None:
            await producer.start()
            return
        self._in_flight.begin(response, file, shared=False)
        try:
            await producer.start()
        except FileChangedError as error:
            if response.is_cut or self._in_flight.changed(file, response):  # the first has told of all
                raise ConnectionAborted from error
            raise
        finally:
            self._in_flight.end(response, file)

    async def _write_body(self, head: bytes, body: bytes, response: Response, client: Client) -> None:
        """Write a body piece by piece: each is copied when the kernel has the one before it."""
        client.transport.write(head + body[:PIECE_BYTES])
        response.length = min(len(body), PIECE_BYTES)
        if body:
            response.hold_body(self._bodies, body, response.length)
        if len(body) > PIECE_BYTES and client.tracked is not None:
            client.tracked.mark_unfinished()
        for start in range(PIECE_BYTES, len(body), PIECE_BYTES):
            await self._flushed(client)
            response.write(body[start : start + PIECE_BYTES])

    async def _flushed(self, client: Client) -> None:
        """Wait until the kernel has every byte: only then is a response complete (http.md §5 and §8)."""
        if client.tracked is None:
            return
        if client.is_secure:
            # TLS gathers small writes and passes them on in the next turn of the reactor.
            turn: Deferred[None] = Deferred(lambda _: call.cancel())
            call = self._clock.callLater(0, turn.callback, None)
            await turn
        await client.tracked.when_drained()


def start(work: Coroutine[Any, Any, Reply]) -> Reply | Deferred[Reply]:
    """Run a coroutine that waits for nothing but Deferreds; return its result, or a Deferred of it if it waits.

    A Deferred for a coroutine that need not wait takes longer than all the coroutines of a small request. If it does
    wait, it is asked a second time what it waits for, which a Deferred does not mind.
    """
    try:
        work.send(None)
    except StopIteration as done:
        reply: Reply = done.value
        return reply
    return Deferred.fromCoroutine(work)
