"""A small HTTP proxy in front of the whole stack in memory: it changes messages as a ProxyFault says."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

import attrs

Pairs = list[tuple[str, str]]


@attrs.frozen
class Request:
    """What came from the client; header names are lower case."""

    method: str
    target: str
    headers: dict[str, str]

    def without(self, *names: str) -> Request:
        kept = {name: value for name, value in self.headers.items() if name not in names}
        return attrs.evolve(self, headers=kept)

    @property
    def is_image(self) -> bool:
        return self.target == "/v1/images/disk.img"


@attrs.frozen
class Answer:
    """What goes back to the client."""

    status: int
    headers: Pairs
    body: bytes
    cut: int | None = None
    """Send so many bytes of the body, then close."""
    version: str = "HTTP/1.1"

    def put(self, **headers: str | None) -> Answer:
        """With other headers; None takes one out. `_` in a name stands for `-`."""
        new = {name.replace("_", "-").lower(): value for name, value in headers.items()}
        kept = [(name, value) for name, value in self.headers if name.lower() not in new]
        put = [(name, value) for name, value in new.items() if value is not None]
        return attrs.evolve(self, headers=kept + put)

    def add(self, name: str, value: str) -> Answer:
        return attrs.evolve(self, headers=[*self.headers, (name, value)])

    def get(self, wanted: str) -> str:
        return next((value for name, value in self.headers if name.lower() == wanted.lower()), "")

    def filled(self, body: bytes) -> Answer:
        return attrs.evolve(self, body=body).put(Content_Length=str(len(body)))


def unchanged(request: Request) -> Request:
    return request


def unchanged_answer(_request: Request, answer: Answer) -> Answer:
    return answer


@attrs.frozen
class ProxyFault:
    """What a proxy does to a request, and to its answer."""

    before: Callable[[Request], Request] = unchanged
    after: Callable[[Request, Answer], Answer] = unchanged_answer


NO_FAULT = ProxyFault()


class Stack(Protocol):
    """The daemon in memory, of tests/conftest.py."""

    def ask(self, target: str, *headers: tuple[str, str], method: str = "GET") -> Any: ...


@attrs.define
class FaultyProxy:
    """A proxy on 127.0.0.1, in front of a daemon in memory."""

    stack: Stack
    fault: ProxyFault = NO_FAULT
    port: int = 0
    clock: float = 0.0
    """What the client takes for the time in seconds."""
    asked: list[Request] = attrs.field(factory=list)
    _lock: threading.Lock = attrs.field(init=False, factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait(self, seconds: float) -> None:
        """Let the client take it that so many seconds have passed."""
        self.clock += seconds

    def answer(self, request: Request) -> Answer:
        with self._lock:
            self.asked.append(request)
            passed = self.fault.before(request)
            reply = self.stack.ask(passed.target, *passed.headers.items(), method=passed.method)
            return self.fault.after(request, Answer(reply.status, reply.headers, reply.body))


def handler_of(proxy: FaultyProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items() if name.lower() != "host"}
            answer = proxy.answer(Request(self.command, self.path, headers))
            lines = [f"{answer.version} {answer.status} Words", *(f"{n}: {v}" for n, v in answer.headers), "", ""]
            body = b"" if self.command == "HEAD" else answer.body[: answer.cut]
            self.close_connection = answer.cut is not None or "close" in answer.get("Connection")
            self.connection.sendall("\r\n".join(lines).encode("latin-1") + body)

        do_HEAD = do_OPTIONS = do_GET

        def log_message(self, *_arguments: object) -> None:
            pass

        def handle(self) -> None:
            with suppress(BrokenPipeError, ConnectionResetError):  # a client that has read enough closes
                super().handle()

    return Handler


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    """Serve on a port of 127.0.0.1 for the length of a with block."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = False
    thread = threading.Thread(target=server.serve_forever, args=[0.01])
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def scripted(*answers: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """Accept one connection for each answer, read a request's head, send the bytes, close; port and heads."""
    heads: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(10)

    def serve() -> None:
        for answer in answers:
            connection, _ = listener.accept()
            with connection:
                head = b""
                while b"\r\n\r\n" not in head and (data := connection.recv(65536)):
                    head += data
                heads.append(head)
                connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1], heads
    finally:
        thread.join()
        listener.close()
