"""The benchmark's own clients: an exact one for checks, and raw pieces for those that measure."""

from __future__ import annotations

import hashlib
import http.client
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager

import attrs

from bench.errors import BenchError

HOST = "127.0.0.1"
SECONDS = 60.0
_PIECE = 1 << 20
_LONGEST_HEAD = 1 << 16


@attrs.frozen
class Head:
    """Status and body length of a response, and what came of the body with its head."""

    status: int
    length: int
    rest: bytes


def request(path: str, extent: tuple[int, int] | None = None) -> bytes:
    """A GET; `extent` is the first byte and the length of the range to ask for."""
    wanted = f"Range: bytes={extent[0]}-{extent[0] + extent[1] - 1}\r\n" if extent else ""
    return f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n{wanted}\r\n".encode("ascii")


def dial(port: int) -> socket.socket:
    """A connection without delays of ours."""
    peer = socket.create_connection((HOST, port), SECONDS)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return peer


def parse_head(data: bytes) -> Head | None:
    """Read a response's head; None while it is not complete. The body's length must be declared."""
    head, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        return None
    line, *fields = head.split(b"\r\n")
    lengths = [
        value for name, _, value in (field.partition(b":") for field in fields) if name.lower() == b"content-length"
    ]
    if not line.startswith(b"HTTP/1.1 ") or len(lengths) != 1:
        raise BenchError(f"not a response with a length: {head[:200]!r}")
    return Head(int(line.split()[1]), int(lengths[0]), rest)


def receive_head(peer: socket.socket, size: int = 4096) -> Head:
    """Receive until the head is there, at most `size` bytes at once."""
    data = b""
    while not (head := parse_head(data)):
        piece = peer.recv(size)
        if not piece or len(data) > _LONGEST_HEAD:
            raise BenchError(f"the server closed before the head was complete: {data[:200]!r}")
        data += piece
    return head


def fetch_range(peer: socket.socket, text: bytes, length: int) -> None:
    """Send a request and receive its answer; BenchError unless it is a 206 of `length` bytes."""
    peer.sendall(text)
    head = receive_head(peer, 16384)
    got = len(head.rest)
    while got < length:
        piece = peer.recv(length - got)
        if not piece:
            raise BenchError("the server closed in the middle of a body")
        got += len(piece)
    if (head.status, head.length, got) != (206, length, length):
        raise BenchError(f"a request for {length} bytes got {head}")


def digest(port: int, path: str, extent: tuple[int, int] | None = None) -> tuple[int, int, str]:
    """GET a body: status, number of bytes, sha256."""
    with _response(port, path, extent) as response:
        state, count = hashlib.sha256(), 0
        while piece := response.read(_PIECE):
            state.update(piece)
            count += len(piece)
        return response.status, count, state.hexdigest()


def answers(port: int, path: str) -> bool:
    """Whether somebody answers a request for the first byte with a 206."""
    try:
        with _response(port, path, (0, 1)) as response:
            return response.status == http.client.PARTIAL_CONTENT
    except OSError:
        return False  # not yet: it has not bound its port


@contextmanager
def _response(port: int, path: str, extent: tuple[int, int] | None) -> Iterator[http.client.HTTPResponse]:
    wanted = {"Range": f"bytes={extent[0]}-{extent[0] + extent[1] - 1}"} if extent else {}
    with closing(http.client.HTTPConnection(HOST, port, timeout=SECONDS)) as connection:
        connection.request("GET", path, headers=wanted)
        yield connection.getresponse()
