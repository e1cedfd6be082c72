"""Servers that keep a client for ever, or try to: every request has an end."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from typing import Self

import attrs
import pytest

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


@attrs.define(eq=False)
class Server:
    """Sends a beginning to everybody, then one piece again and again; without a piece it closes."""

    beginning: bytes
    piece: bytes | None = None
    pause: float = 0.02
    asked: int = 0
    _listening: socket.socket = attrs.field(factory=lambda: socket.create_server(("127.0.0.1", 0)))
    _is_over: threading.Event = attrs.field(factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}/manifest.json"

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_reason: object) -> None:
        self._is_over.set()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:  # closed
                return
            self.asked += 1
            with client, suppress(OSError):  # the client may leave
                self._answer(client)

    def _answer(self, client: socket.socket) -> None:
        client.recv(65536)
        client.sendall(self.beginning)
        while self.piece is not None and not self._is_over.wait(self.pause):
            client.sendall(self.piece)


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
