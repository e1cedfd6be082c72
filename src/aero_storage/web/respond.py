"""From a Twisted request to facts, and from a reply back to a Twisted request: the coat over the desk."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from http import HTTPStatus

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IReactorTime

from aero_storage.delivery.exchange import Ending, Exchange
from aero_storage.delivery.facts import Facts, HeaderReader, Names, read_facts, request_id_of
from aero_storage.delivery.handler import RequestHandler
from aero_storage.delivery.reply import Reply
from aero_storage.delivery.routes import Plane, Route
from aero_storage.disk import Disk
from aero_storage.errors import DiskHangsError, ShortReadError
from aero_storage.logs.json_log import EventLog
from aero_storage.streaming.producer import SegmentProducer
from aero_storage.streaming.transports import sendfile_transport, tracked_transport
from aero_storage.web.request import AeroRequest, host_of
from aero_storage.web.sending import FileSender, HeadWriter

_CLIENT_CLOSED_REQUEST = 499
"""Status in log and metrics of a request whose client left before there was one; nginx's convention."""


@attrs.frozen
class Responder:
    """Answers requests through a desk, reading through `readers`; `now` gives seconds since the epoch."""

    _handler: RequestHandler
    _sender: FileSender
    _readers: Disk
    _clock: IReactorTime
    _log: EventLog
    _now: Callable[[], float] = time.time
    _head: HeadWriter = attrs.field(init=False, factory=HeadWriter)

    async def respond(self, request: AeroRequest, route: Route | None, names: Names) -> None:
        """Answer a request to its end, whatever that is."""
        header = request.read_headers().get
        request.exchange = exchange = self._handler.begin(
            self._facts(request, route, names, header),
            host_of(request.client),
            request_id_of(header("X-Request-Id")),
        )
        ending = Ending.ABORTED
        try:
            await self._send(request, await self._answer(request, exchange), exchange)
            ending = Ending.COMPLETE
        except (CancelledError, ConnectionLost):
            ending = Ending.ABORTED if request.aborted_by_us else Ending.DISCONNECTED
        except (ShortReadError, DiskHangsError, OSError) as error:
            self._complain(exchange, f"response broken off: {error}")
            request.abort()
        except Exception:  # noqa: BLE001 - Twisted would write a page of its own into the body
            self._complain(exchange, "response broken off", traceback=traceback.format_exc())
            request.abort()
        finally:
            status = request.code if request.startedWriting else _CLIENT_CLOSED_REQUEST
            exchange.end(ending, status, _body_sent(request))
        if ending is Ending.COMPLETE:
            request.finish()

    def _facts(self, request: AeroRequest, route: Route | None, names: Names, header: HeaderReader) -> Facts:
        return read_facts(
            method=request.method.decode("latin-1"),
            path=request.path.decode("ascii"),
            route=route,
            names=names,
            header=header,
            announces_body=request.announces_body,
            now=self._now(),
        )

    async def _answer(self, request: AeroRequest, exchange: Exchange) -> Reply:
        if request.refusal is not None:
            return self._handler.fail(exchange.facts, request.refusal)
        if request.turned_away is not None and exchange.facts.plane is not Plane.OPERATIONS:
            return self._handler.fail(exchange.facts, request.turned_away)
        try:
            return await self._handler.answer(exchange)
        except CancelledError:
            raise
        except Exception:  # noqa: BLE001 - a defect of ours: the client gets a clean 500, the log the traceback
            self._complain(exchange, "request failed", traceback=traceback.format_exc())
            return self._handler.fail(exchange.facts, HTTPStatus.INTERNAL_SERVER_ERROR)

    def _complain(self, exchange: Exchange, message: str, **fields: object) -> None:
        self._log.event("error", message, {"request_id": exchange.request_id, **fields})

    async def _send(self, request: AeroRequest, reply: Reply, exchange: Exchange) -> None:
        request.part_if_retiring()
        persistent = not request.responseHeaders.hasHeader(b"Connection")
        head = self._head.write(reply, exchange.request_id, self._now(), persistent=persistent)
        if request.method == b"HEAD":
            reply = attrs.evolve(reply, body=b"", segment=None)
        request.begin(reply.status, reply.length or 0)
        transport, blob = sendfile_transport(request.transport), exchange.blob
        if transport is None or (reply.segment is not None and blob is not None and blob.file is None):
            await self._produce(request, head, reply, exchange)
        elif (sending := self._sender.send(transport, head, reply, blob)) is not None:
            transport.mark_unfinished()
            await sending
            transport.mark_finished()

    async def _produce(self, request: AeroRequest, head: bytes, reply: Reply, exchange: Exchange) -> None:
        """Send what is read in threads: by TLS, a UNIX socket, what a test has made; and files that are remote."""
        request.push(head + reply.body)
        tracked = None
        if reply.segment is not None and exchange.blob is not None:
            if (tracked := tracked_transport(request.transport)) is not None:
                tracked.mark_unfinished()
            request.sentLength = len(reply.body)  # the producer's writes are counted as they come
            offset, length, pace = reply.segment.offset, reply.segment.length, request.pace
            await SegmentProducer(self._readers, exchange.blob, request, offset, length, pace).start()
        await self._drained(request)
        if tracked is not None:
            tracked.mark_finished()

    async def _drained(self, request: AeroRequest) -> None:
        """Wait until the kernel has every byte: only then is a response complete (http.md §5 and §8)."""
        transport: object = request.transport
        tracked = tracked_transport(transport)
        if tracked is None:
            return
        if tracked is not transport:
            # TLS gathers small writes and passes them on in the next turn of the reactor.
            turn: Deferred[None] = Deferred(lambda _: call.cancel())
            call = self._clock.callLater(0, turn.callback, None)
            await turn
        await tracked.when_drained()


def _body_sent(request: AeroRequest) -> int:
    """Body bytes that are with the kernel: what was written, less what still waits in the transport."""
    tracked = tracked_transport(request.transport)
    return max(0, request.sentLength - (tracked.unsent if tracked else 0))
