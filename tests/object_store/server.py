"""A store that speaks S3 on a port of loopback, with buckets in memory and a script of faults.

    with ObjectStore() as store:
        store.bucket("images").put("disk.img", b"...")
        store.faults.add(SLOW_DOWN, "get", times=3)
        origin = ... store.environ, "s3://images"
        assert store.count("get") == 4

`python -m tests.object_store` runs it as a process of its own, for measurements.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from contextlib import suppress
from http.client import responses
from io import BufferedReader
from typing import Self, cast
from urllib.parse import parse_qsl, unquote

import attrs
from tests.object_store.buckets import Bucket, Quirks
from tests.object_store.faults import CLOSE, HANG, KEEP, RESET, Answer, Asked, Script
from tests.object_store.operations import execute, operation_of

KEY_ID, SECRET = "AKIATESTSONLYKEYID00", "zq/secretOfTheTestsOnly+0000000000000000"
_PIECE = 65536
_MAX_HEAD_LINES = 200


@attrs.define(eq=False)
class ObjectStore:
    """The server. Its buckets, faults and requests may be looked at and changed while it runs."""

    faults: Script = attrs.field(factory=Script)
    buckets: dict[str, Bucket] = attrs.field(factory=dict)
    requests: list[Asked] = attrs.field(factory=list)
    """What was received, in the order of arrival."""
    _listening: socket.socket = attrs.field(factory=lambda: socket.create_server(("127.0.0.1", 0), backlog=256))
    _clients: set[socket.socket] = attrs.field(factory=set)
    _lock: threading.Lock = attrs.field(factory=threading.Lock)
    _threads: list[threading.Thread] = attrs.field(factory=list)

    def bucket(self, name: str = "images", quirks: Quirks = Quirks()) -> Bucket:  # noqa: B008 - frozen
        """Return a bucket; it is made when it is first named."""
        return self.buckets.setdefault(name, Bucket(quirks))

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    @property
    def environ(self) -> dict[str, str]:
        """The variables by which a client finds this store, and is let in."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
        }

    def count(self, *operations: str, key: str | None = None) -> int:
        """Return how many requests of these operations (none: all) came, to one key or to all."""
        return sum(
            (not operations or one.operation in operations) and key in (None, one.key) for one in [*self.requests]
        )

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_reason: object) -> None:
        self.close()

    def close(self) -> None:
        """End all connections and threads; a second call does nothing."""
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        with self._lock:
            for client in self._clients:
                with suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)

    def break_connections(self) -> None:
        """Reset every connection that is open now, as a gateway that is killed does."""
        with self._lock:
            for client in self._clients:
                _reset(client)

    def _start(self, work: object, *args: object) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:  # closed
                return
            with self._lock:
                self._clients.add(client)
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(OSError), client.makefile("rb", _PIECE) as stream:  # the client may leave
            while self._answer_next(client, cast("BufferedReader", stream)):
                pass
        with self._lock:
            self._clients.discard(client)
        client.close()

    def _answer_next(self, client: socket.socket, stream: BufferedReader) -> bool:
        asked = _read_request(stream)
        if asked is None:
            return False
        self.requests.append(asked)
        fault = self.faults.take(asked)
        answer = execute(self.buckets, asked) if fault is None or fault.executes else Answer(200)
        if fault is not None:
            answer = fault.alter(asked, answer)
        bucket = self.buckets.get(asked.bucket)
        _send(client, asked, answer, None if bucket is None else bucket.quirks.bytes_per_second)
        return answer.ending == KEEP


def _read_request(stream: BufferedReader) -> Asked | None:
    """Read a request, or None where the client has closed."""
    first = stream.readline(_PIECE).decode("latin-1").split()
    if len(first) != 3:
        return None
    named: dict[str, str] = {}
    for _ in range(_MAX_HEAD_LINES):
        name, colon, value = stream.readline(_PIECE).decode("latin-1").partition(":")
        if not colon:
            break
        named[name.lower()] = value.strip()
    content = stream.read(int(named.get("content-length", "0")))
    path, _, text = first[1].partition("?")
    bucket, _, key = unquote(path.lstrip("/")).partition("/")
    query = dict(parse_qsl(text, keep_blank_values=True))
    return Asked(operation_of(first[0], key, query), first[0], bucket, key, query, named, content)


def _send(client: socket.socket, asked: Asked, answer: Answer, rate: float | None) -> None:
    if answer.delay:
        time.sleep(answer.delay)
    if answer.sends_head:
        named = {"content-length": str(len(answer.body)), **answer.headers}
        if answer.status == 204:
            named.pop("content-length")
        lines = [
            f"HTTP/1.1 {answer.status} {responses.get(answer.status, '')}",
            *(f"{k}: {v}" for k, v in named.items()),
        ]
        client.sendall("\r\n".join([*lines, "", ""]).encode("utf-8"))
        if asked.operation != "head":
            _send_body(client, answer, rate)
    _end(client, answer.ending)


def _send_body(client: socket.socket, answer: Answer, rate: float | None) -> None:
    view = memoryview(answer.body)[: answer.cut]
    pause_at, action = answer.pause or (0, lambda: None)
    client.sendall(view[:pause_at])
    action()
    if rate is None:
        client.sendall(view[pause_at:])
        return
    start = time.monotonic()
    for offset in range(pause_at, len(view), _PIECE):
        client.sendall(view[offset : offset + _PIECE])
        time.sleep(max(0.0, start + (offset + _PIECE - pause_at) / rate - time.monotonic()))


def _end(client: socket.socket, ending: str) -> None:
    if ending == RESET:
        _reset(client)
    elif ending == CLOSE:
        client.shutdown(socket.SHUT_RDWR)
    elif ending == HANG:
        while client.recv(_PIECE):  # until the client leaves, or the server closes
            pass


def _reset(client: socket.socket) -> None:
    """Have the connection end by a reset as soon as it is closed, and wake the thread that reads from it."""
    with suppress(OSError):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # Disconnecting a TCP socket (AF_UNSPEC) resets it at once, whoever else holds it.
        _disconnect(client)


def _disconnect(client: socket.socket) -> None:
    import ctypes  # noqa: PLC0415 - Python's connect() knows no AF_UNSPEC

    libc = ctypes.CDLL(None, use_errno=True)
    address = struct.pack("H14x", socket.AF_UNSPEC)
    if libc.connect(client.fileno(), address, len(address)) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
