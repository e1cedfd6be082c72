"""Servers that keep a client for ever, or try to: every request has an end."""

from __future__ import annotations

import time

import pytest
from tests.hostile_server import Server

from aero_storage.chunks.verify.remote import HttpSource, OverdueError
from aero_storage.chunks.verify.verifier import verify
from aero_storage.errors import OperatorError

HEAD = b"HTTP/1.1 200 OK\r\nCache-Control: no-transform\r\n"
TRICKLES = {
    "nothing": b"",
    "a status line": b"HTTP/1.1 200 ",
    "a header": HEAD + b"X: ",
    "a body": HEAD + b"Content-Length: 1000000\r\n\r\n",
    "a body without a length": HEAD + b"\r\n",
    "the body of a redirect": b"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n",
}


@pytest.mark.parametrize("beginning", TRICKLES.values(), ids=TRICKLES)
def test_trickles(beginning: bytes) -> None:
    """A server that sends little by little, or nothing, is given up at the deadline, and the message says so."""
    began = time.monotonic()
    with (
        Server(beginning, b"x" if beginning else b"") as server,
        pytest.raises(OverdueError, match=r"within 0.4 seconds; --timeout"),
    ):
        verify(HttpSource(server.url, 0.4), jobs=1)
    assert time.monotonic() - began < 5


def test_interim_responses() -> None:
    """A server that sends interim responses without end is given up after a few of them, long before the deadline."""
    flood = b"HTTP/1.1 100 Continue\r\n\r\n"
    with Server(flood, flood, 0.001) as server, pytest.raises(OperatorError, match="cannot be read") as caught:
        verify(HttpSource(server.url, 30), jobs=1)
    assert not isinstance(caught.value, OverdueError)


def test_redirects() -> None:
    """A server that redirects without end is given up after a few redirects."""
    loop = b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    with Server(loop) as server, pytest.raises(OperatorError, match="cannot be read") as caught:
        verify(HttpSource(server.url, 30), jobs=1)
    assert not isinstance(caught.value, OverdueError)
    assert server.asked <= 10
