"""An HTTP server for tests: each request is answered by a script, byte by byte, over real sockets."""

from __future__ import annotations

import re
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Self

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable

DATE = "Sat, 28 Nov 2026 18:00:00 GMT"


@attrs.frozen
class Request:
    """The head of a request."""

    path: str
    headers: dict[str, str]
    number: int
    """Counts the requests, from 0."""

    @property
    def offset(self) -> int:
        """The first byte that the request asks for."""
        match = re.fullmatch(r"bytes=([0-9]+)-", self.headers.get("range", "bytes=0-"))
        assert match is not None
        return int(match[1])


@attrs.define(eq=False)
class HttpServer:
    """Answers each request by `script`, which returns the pieces to send; then the connection is closed."""

    script: Callable[[Request], bytes]
    requests: list[Request] = attrs.field(factory=list)
    keeps_open: bool = False
    """Whether the connection stays open behind the answer, until the client closes it."""
    _listening: socket.socket = attrs.field(factory=lambda: socket.create_server(("127.0.0.1", 0)))
    _thread: threading.Thread = attrs.field(init=False)
    url: str = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}/disk.img"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_reason: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(10)

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:  # closed
                return
            with client, suppress(OSError):  # the client may leave
                client.settimeout(10)
                self._answer(client)

    def _answer(self, client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            more = client.recv(65536)
            if not more:
                return
            head += more
        first, *lines = head.decode("latin-1").split("\r\n\r\n")[0].split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        self.requests.append(Request(first.split(" ")[1], headers, len(self.requests)))
        client.sendall(self.script(self.requests[-1]))
        if not self.keeps_open:
            client.shutdown(socket.SHUT_WR)
        client.recv(1)  # the client closes first, so that no answer is lost by a reset


def answer(body: bytes, status: str = "200 OK", **headers: str | int | None) -> bytes:
    """Return an answer; the true length is told unless another one, or None, is given as Content_Length."""
    told = {"Content-Length": len(body)} | {name.replace("_", "-"): value for name, value in headers.items()}
    fields = {name: value for name, value in told.items() if value is not None}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status}\r\nDate: {DATE}\r\n{lines}\r\n".encode() + body


def rest(data: bytes, request: Request, **headers: str) -> bytes:
    """Return a 206 with the rest of the data."""
    start = request.offset
    place = f"bytes {start}-{len(data) - 1}/{len(data)}"
    return answer(data[start:], "206 Partial Content", Content_Range=place, **headers)


def cut(reply: bytes, most: int) -> bytes:
    """Cut an answer off behind `most` bytes of its body."""
    return reply[: reply.index(b"\r\n\r\n") + 4 + most]
