"""The link of `make bench-boot`, before a server that echoes."""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from typing import TYPE_CHECKING

import pytest
from bench.boot.link import Link, Shape, running

if TYPE_CHECKING:
    from collections.abc import Iterator


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(65536):
            self.request.sendall(data)


@pytest.fixture(scope="module")
def echo() -> Iterator[int]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def ask(connection: socket.socket, data: bytes) -> float:
    """Send bytes, wait until all are back; give the seconds."""
    began, back = time.monotonic(), b""
    connection.sendall(data)
    while len(back) < len(data):
        back += connection.recv(65536)
    assert back == data
    return time.monotonic() - began


def test_request_takes_a_round_trip(echo: int) -> None:
    """The first answer of a connection comes after two round trips, as one opens it, each later one after one."""
    with running(echo, Shape(0.05)) as port, socket.create_connection(("127.0.0.1", port)) as connection:
        assert ask(connection, b"first") >= 0.1
        assert ask(connection, b"second") >= 0.05


def test_end_is_passed_on(echo: int) -> None:
    """A client that closes its side gets the end of the answer."""
    with running(echo, Shape(0.01)) as port, socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"last")
        connection.shutdown(socket.SHUT_WR)
        assert b"".join(iter(lambda: connection.recv(100), b"")) == b"last"


def test_rate_is_shared() -> None:
    """Bytes of two connections pass one after the other; those to the server are not limited."""
    link = Link(Shape(0.1, rate=1000.0))
    assert link.arrival(0.0, 500, limited=True) == pytest.approx(0.55)
    assert link.arrival(0.0, 500, limited=True) == pytest.approx(1.05)
    assert link.arrival(0.0, 500, limited=False) == pytest.approx(0.05)
    assert link.arrival(10.0, 500, limited=True) == pytest.approx(10.55)


def test_rate_is_kept(echo: int) -> None:
    """100 kB at 1 MB/s take a tenth of a second at least."""
    with running(echo, Shape(0.0, rate=1e6)) as port, socket.create_connection(("127.0.0.1", port)) as connection:
        assert ask(connection, bytes(100_000)) >= 0.099
