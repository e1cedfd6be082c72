"""The express lane: plain requests for bytes, answered before Twisted Web and Klein have looked at them.

It parses and writes, and knows no rule: routes, decisions, places, counters and log lines are those of the other
lane. What it does not recognise to the last byte, or cannot answer without waiting, it leaves untouched to that lane.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from http import HTTPStatus
from typing import Protocol

import attrs
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from aero_storage.delivery.exchange import Ending, Exchange
from aero_storage.delivery.facts import Names
from aero_storage.delivery.reply import Reply
from aero_storage.delivery.routes import ROUTES, Plane, Route
from aero_storage.errors import ShortReadError
from aero_storage.protocol.dates import format_http_date
from aero_storage.streaming.outlet import Outlet
from aero_storage.streaming.sendfile import FileSource

SMALL = 64 * 1024
"""Bodies up to this many bytes are read at once and leave in one write with their head."""

_DATA_ROUTES = tuple((route, tuple(route.template.split("/"))) for route in ROUTES if route.plane is Plane.DATA)


class FileTransport(Outlet, Protocol):
    """What the lane asks of a transport: plain TCP whose kernel sends files."""

    def write_through(self, data: bytes) -> None:
        """Write, and have it sent within this turn of the reactor if the kernel takes it."""
        ...

    def send_file(self, source: FileSource, offset: int, length: int) -> Deferred[None]:
        """Send a segment of a file; fires when the kernel has its last byte."""
        ...

    def abortConnection(self) -> None:
        """Reset."""
        ...


@lru_cache(4096)
def find_route(path: str) -> tuple[Route, Names] | None:
    """The byte or chunk route of a plain path, and the names in it."""
    given = path.split("/")
    for route, parts in _DATA_ROUTES:
        if len(parts) == len(given) and all(
            part == raw or (raw and part[:1] == ":") for part, raw in zip(parts, given, strict=True)
        ):
            segments = {
                part[1:]: raw.encode("ascii") for part, raw in zip(parts, given, strict=True) if part[:1] == ":"
            }
            return route, Names.parse(segments)
    return None


@lru_cache(4096)
def _line(name: str, value: str) -> bytes:
    return f"{name}: {value}\r\n".encode("latin-1")


@lru_cache(64)
def _status_line(status: int) -> bytes:
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nServer: aero-storage\r\n".encode("ascii")


@lru_cache(2)
def _date_line(second: int) -> bytes:
    return _line("Date", format_http_date(second))


def head_bytes(reply: Reply, request_id: str, now: float, *, persistent: bool) -> bytes:
    """The head of a response as it goes over the wire."""
    length = reply.length
    lines = [
        _status_line(reply.status),
        _date_line(int(now)),
        b"X-Request-Id: %b\r\n" % request_id.encode("ascii"),
        b"" if length is None else b"Content-Length: %d\r\n" % length,
        b"" if persistent else b"Connection: close\r\n",
        *[_line(name, value) for name, value in reply.headers],
        b"\r\n",
    ]
    return b"".join(lines)


@attrs.define(eq=False)
class Delivery:
    """A response that the kernel has not taken whole yet; `done` is called once, when it has, or never will."""

    exchange: Exchange
    status: int
    length: int
    """Of the body, in bytes."""
    transport: FileTransport
    done: Callable[[], None]
    complain: Callable[[str], None]
    aborted_by_us: bool = False
    _sending: Deferred[None] | None = None

    def follow(self, sending: Deferred[None]) -> None:
        """Wait until everything is with the kernel."""
        self._sending = sending
        sending.addCallbacks(lambda _: self._end(Ending.COMPLETE), self._failed)

    def lost(self) -> None:
        """The connection is gone."""
        self._end(Ending.ABORTED if self.aborted_by_us else Ending.DISCONNECTED)

    def _failed(self, failure: Failure) -> None:
        if self.exchange.ended:
            return
        if failure.check(ShortReadError, OSError):
            self.complain(f"response broken off: {failure.getErrorMessage()}")
            self.aborted_by_us = True
            self._end(Ending.ABORTED)
            self.transport.abortConnection()
        else:
            self.lost()

    def _end(self, ending: Ending) -> None:
        if self.exchange.ended:
            return
        self.exchange.end(ending, self.status, max(0, self.length - self.transport.unsent))
        if ending is Ending.COMPLETE:
            self.done()
