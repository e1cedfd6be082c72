"""One client of the soak: its dice, its way in, its connection, and how it tells what is wrong."""

from __future__ import annotations

import random
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable

import attrs
from bench.soak_asks import Site
from bench.soak_clients import Tally
from bench.soak_content import Content
from tests.blackbox.wire import Fields, NoReplyError, Reply, Wire, head

from torture.soak.shelf import Shelf

IDLE_SECONDS = 10
"""After so long the daemon closes connections on which nothing is asked: no client of ours takes that for a fault."""
_POLL_SECONDS = 0.2
_KEPT_FOR = 200
"""A connection is given up after about so many requests."""


@attrs.frozen
class Place:
    """What clients know of the daemon; `content` is that of all images, each from an offset of its own."""

    plain: int
    """Ports on 127.0.0.1."""
    tls: int
    context: ssl.SSLContext
    content: Content
    site: Site
    shelf: Shelf
    tally: Tally

    def dial(self, *, secure: bool, receive_buffer: int | None = None) -> Wire:
        """Connect."""
        wire = Wire.dial(self.tls if secure else self.plain, receive_buffer=receive_buffer)
        if secure:
            plain = wire.sock
            try:
                wire.sock = self.context.wrap_socket(plain, server_hostname="localhost")
            except OSError:
                plain.close()
                raise
        return wire


@attrs.define(eq=False)
class Pace:
    """How long clients wait between two acts: so long that all this takes no more of a core than `share`."""

    share: float
    factor: float = 1.0

    def adapt(self, used: float) -> None:
        """That share of a core was used of late."""
        self.factor = min(max(self.factor * min(max(used / self.share, 0.8), 1.25), 0.01), 20.0)


@attrs.define(eq=False)
class Seat:
    """A client, which acts every `interval` seconds, or as often as the pace allows."""

    place: Place
    chance: random.Random
    pace: Pace
    over: threading.Event
    interval: float
    secure: bool
    acts: int = 0
    _wire: Wire | None = None
    _used: float = 0.0

    def run(self, act: Callable[[Seat], None]) -> None:
        """Act again and again until it is over; what is wrong goes to the tally."""
        while not self.pause():
            try:
                act(self)
                self.acts += 1
            except (OSError, AssertionError, ValueError) as error:
                door = "TLS" if self.secure else "TCP"
                self.place.tally.fault(f"{act.__name__} by {door}: {type(error).__name__}: {str(error)[:600]}")
                self.leave()
        self.leave()

    def pause(self) -> bool:
        """Wait for the next act; whether it is over."""
        return self.over.wait(self.chance.uniform(0, 2 * self.interval * self.pace.factor))

    def dial(self, receive_buffer: int | None = None) -> Wire:
        """Connect, apart from the connection that is kept."""
        return self.place.dial(secure=self.secure, receive_buffer=receive_buffer)

    def wire(self) -> Wire:
        """The connection that is kept from act to act, for a while."""
        now = time.monotonic()
        if now - self._used > IDLE_SECONDS / 2 or self.chance.randrange(_KEPT_FOR) == 0:
            self.leave()
        self._used = now
        if self._wire is None:
            self._wire = self.dial()
        return self._wire

    def leave(self) -> None:
        """Close the connection that is kept."""
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def ask(self, status: int, method: str, target: str, fields: Fields = ()) -> Reply:
        """Ask by the connection that is kept; the reply has to have that status."""
        wire = self.wire()
        wire.send(head(method, target, fields))
        return whole(wire.reply(method), status, f"{method} {target[:200]} {fields}")

    def compare(self, got: bytes, wanted: bytes, of: str) -> None:
        """Count the bytes that came, and those that are wrong."""
        self.place.tally.ended(of, got, wanted)

    def read(self, wire: Wire, offset: int, length: int, piece: int, seconds: float = 0.0) -> bool:
        """Read a part of the image, a piece every so many seconds; false if it was over before."""
        end = offset + length
        while offset < end:
            if self.over.wait(seconds) if seconds else self.over.is_set():
                return False
            wanted = min(piece, end - offset)
            got = wire.take(wanted)
            self.compare(got, self.place.content.part(offset, wanted), f"{wanted} bytes at {offset}")
            assert len(got) == wanted, f"{wire.ending} {end - offset - len(got)} bytes before the end"
            offset += wanted
        return True

    def reset(self, sock: socket.socket, seconds: float) -> None:
        """Wait, reading nothing, until the server resets or it is over; AssertionError if it does not in time."""
        poll, deadline = select.poll(), time.monotonic() + seconds
        poll.register(sock, 0)
        while not poll.poll(_POLL_SECONDS * 1000) and not self.over.is_set():
            assert time.monotonic() < deadline, f"no reset within {seconds} s"

    def hears(self, wire: Wire, seconds: float) -> bool:
        """Wait until the server says something or closes; false if it was over before.

        AssertionError if it does neither in time.
        """
        deadline = time.monotonic() + seconds
        while not self.over.is_set():
            try:
                wire.buffer[:0] = wire.take(1, _POLL_SECONDS)
            except NoReplyError:
                assert time.monotonic() < deadline, f"not a word within {seconds} s"
            else:
                return True
        return False


def whole(reply: Reply, status: int, what: str) -> Reply:
    """The reply, if it has that status and came to its end; else AssertionError."""
    assert reply.status == status, f"{reply.status}, not {status}: {what}"
    assert reply.ending == "whole", f"{reply.ending} after {len(reply.body)} bytes: {what}"
    return reply
