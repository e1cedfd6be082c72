"""One client of the soak: its random generator, its endpoint, its connection, and how it reports what is wrong."""

from __future__ import annotations

import random
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable

import attrs
from tests.blackbox.raw_http import Fields, NoReplyError, RawConnection, Reply, head

from torture.image_content import Content
from torture.soak.changing_images import ChangingImages
from torture.soak.mixed_client import Tally
from torture.soak.requests import ServedImage

IDLE_SECONDS = 10
"""After so long the daemon closes connections on which nothing is asked: no client of ours takes that for a fault."""
_POLL_SECONDS = 0.2
_KEPT_FOR = 200
"""A connection is given up after about so many requests."""


@attrs.frozen
class Target:
    """What clients know of the daemon; `content` is that of all images, each from an offset of its own."""

    plain: int
    """Ports on 127.0.0.1."""
    tls: int
    context: ssl.SSLContext
    content: Content
    image: ServedImage
    changing: ChangingImages
    tally: Tally

    def dial(self, *, secure: bool, receive_buffer: int | None = None) -> RawConnection:
        """Connect."""
        conn = RawConnection.dial(self.tls if secure else self.plain, receive_buffer=receive_buffer)
        if secure:
            plain = conn.sock
            try:
                conn.sock = self.context.wrap_socket(plain, server_hostname="localhost")
            except OSError:
                plain.close()
                raise
        return conn


@attrs.define(eq=False)
class Pacer:
    """How long clients wait between two acts: so long that all this takes no more of a core than `share`.

    A share of 0 is no limit: clients do not wait at all.
    """

    share: float
    factor: float = attrs.field(default=attrs.Factory(lambda self: float(self.share > 0), takes_self=True))

    def adapt(self, used: float) -> None:
        """Follow the share of a core that was used of late."""
        if self.share:
            self.factor = min(max(self.factor * min(max(used / self.share, 0.8), 1.25), 0.01), 20.0)


@attrs.define(eq=False)
class SoakClient:
    """A client, which acts every `interval` seconds, or as often as the pacer allows."""

    target: Target
    rng: random.Random
    pacer: Pacer
    over: threading.Event
    interval: float
    secure: bool
    acts: int = 0
    _conn: RawConnection | None = None
    _used: float = 0.0

    def run(self, act: Callable[[SoakClient], None]) -> None:
        """Act again and again until it is over; what is wrong goes to the tally."""
        while not self.pause():
            try:
                act(self)
                self.acts += 1
            except (OSError, AssertionError, ValueError) as error:
                door = "TLS" if self.secure else "TCP"
                self.target.tally.fault(f"{act.__name__} by {door}: {type(error).__name__}: {str(error)[:600]}")
                self.leave()
        self.leave()

    def pause(self) -> bool:
        """Wait for the next act; whether it is over."""
        return self.over.wait(self.rng.uniform(0, 2 * self.interval * self.pacer.factor))

    def dial(self, receive_buffer: int | None = None) -> RawConnection:
        """Connect, apart from the connection that is kept."""
        return self.target.dial(secure=self.secure, receive_buffer=receive_buffer)

    def conn(self) -> RawConnection:
        """The connection that is kept from act to act, for a while."""
        now = time.monotonic()
        if now - self._used > IDLE_SECONDS / 2 or self.rng.randrange(_KEPT_FOR) == 0:
            self.leave()
        self._used = now
        if self._conn is None:
            self._conn = self.dial()
        return self._conn

    def leave(self) -> None:
        """Close the connection that is kept."""
        if self._conn is not None:
            self._conn.close()
            self._conn = None

    def ask(self, status: int, method: str, target: str, fields: Fields = ()) -> Reply:
        """Ask by the connection that is kept; the reply has to have that status."""
        conn = self.conn()
        conn.send(head(method, target, fields))
        return whole(conn.reply(method), status, f"{method} {target[:200]} {fields}")

    def compare(self, got: bytes, wanted: bytes, of: str) -> None:
        """Count the bytes that came, and those that are wrong."""
        self.target.tally.ended(of, got, wanted)

    def read(self, conn: RawConnection, offset: int, length: int, piece: int, seconds: float = 0.0) -> bool:
        """Read a part of the image, a piece every so many seconds; false if it was over before."""
        end = offset + length
        while offset < end:
            if self.over.wait(seconds) if seconds else self.over.is_set():
                return False
            wanted = min(piece, end - offset)
            got = conn.take(wanted)
            self.compare(got, self.target.content.part(offset, wanted), f"{wanted} bytes at {offset}")
            assert len(got) == wanted, f"{conn.ending} {end - offset - len(got)} bytes before the end"
            offset += wanted
        return True

    def reset(self, sock: socket.socket, seconds: float) -> None:
        """Wait, reading nothing, until the server resets or it is over; AssertionError if it does not in time."""
        poll, deadline = select.poll(), time.monotonic() + seconds
        poll.register(sock, 0)
        while not poll.poll(_POLL_SECONDS * 1000) and not self.over.is_set():
            assert time.monotonic() < deadline, f"no reset within {seconds} s"

    def hears(self, conn: RawConnection, seconds: float) -> bool:
        """Wait until the server says something or closes; false if it was over before.

        AssertionError if it does neither in time.
        """
        deadline = time.monotonic() + seconds
        while not self.over.is_set():
            try:
                conn.buffer[:0] = conn.take(1, _POLL_SECONDS)
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
