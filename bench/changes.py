"""What a client gets of an image that is changed while it reads: old bytes, new ones, a mixture, or a reset."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import attrs

from bench import data
from bench.client import HOST, SECONDS, receive_head, request
from bench.errors import BenchError
from bench.results import Change
from bench.servers import Server

OVERWRITTEN = "overwritten in place, in mid-download"
RENAMED = "replaced by rename, in mid-download"
BETWEEN = "replaced by rename, between two ranges with `If-Range`"
SAME_SECOND = "the same, within the second of its mtime, size unchanged"

_SIZE = 64 * data.MIB
_BUFFER = 64 << 10
_NOTICED_SECONDS = 1.0
_OLD, _NEW = b"o", b"n"
_NAMES = {_OLD: "old", _NEW: "new"}
_TIME = 1_700_000_000_000_000_000


def measure(server: Server) -> Iterator[Change]:
    """Each change, on a file of its own content that is written anew for it."""
    path = server.place.root / data.HOT
    for change, see in _CHANGES.items():
        _write(path, _OLD, _TIME)
        time.sleep(_NOTICED_SECONDS)  # servers may look at a file once a second
        yield Change(server.kind.name, change, see(server, path))


def prepare(root: Path) -> None:
    """Make an images root with one small image."""
    root.mkdir(parents=True)
    _write(root / data.HOT, _OLD, _TIME)
    listed = f'{{"images": [{{"id": "{data.HOT}", "file": "{data.HOT}", "name": "{data.HOT}", "public": true}}]}}'
    (root / "manifest.json").write_text(listed, encoding="utf-8")


def _overwritten(server: Server, path: Path) -> str:
    return _in_mid_download(server, lambda: _overwrite(path, _NEW))


def _renamed(server: Server, path: Path) -> str:
    return _in_mid_download(server, lambda: _write(path, _NEW, time.time_ns()))


def _between(server: Server, path: Path) -> str:
    return _two_ranges(server, lambda: _write(path, _NEW, _TIME + 5_000_000_000))


def _same_second(server: Server, path: Path) -> str:
    return _two_ranges(server, lambda: _write(path, _NEW, _TIME + 500_000_000))


_CHANGES: dict[str, Callable[[Server, Path], str]] = {
    OVERWRITTEN: _overwritten,
    RENAMED: _renamed,
    BETWEEN: _between,
    SAME_SECOND: _same_second,
}


def _in_mid_download(server: Server, change: Callable[[], None]) -> str:
    """Read an eighth of a whole download, change the file, read on."""
    with socket.socket() as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)  # most of the body waits on the server's side
        peer.settimeout(SECONDS)
        peer.connect((HOST, server.port))
        peer.sendall(request(server.kind.image(data.HOT)))
        head = receive_head(peer)
        if (head.status, head.length) != (200, _SIZE):
            raise BenchError(f"{server.kind.name} answered a download with {head.status}, {head.length} bytes")
        seen, count = _values(head.rest), len(head.rest)
        while count < _SIZE // 8:
            count += len(piece := _received(peer))
            seen |= _values(piece)
        change()
        time.sleep(_NOTICED_SECONDS)
        while count < _SIZE and (piece := _received(peer)):
            count += len(piece)
            seen |= _values(piece)
    return f"{_content(seen)}, {'a clean end' if count == _SIZE else 'then a reset'}"


def _two_ranges(server: Server, change: Callable[[], None]) -> str:
    """Read a range, change the file, and ask for the next one with the tag of the first."""
    with closing(HTTPConnection(HOST, server.port, timeout=SECONDS)) as connection:
        first = _range(connection, server, 0, {})
        change()
        time.sleep(_NOTICED_SECONDS)
        second = _range(connection, server, 4096, {"If-Range": first.tag})
        kept = "the tag is the same" if second.tag == first.tag else "another tag"
        return f"{second.status} with {_content(second.seen)}, {kept}"


@attrs.frozen
class _Answer:
    """Status, tag, and the values of the bytes of a body."""

    status: int
    tag: str
    seen: frozenset[bytes]


def _range(connection: HTTPConnection, server: Server, start: int, more: dict[str, str]) -> _Answer:
    headers = {"Range": f"bytes={start}-{start + 4095}", **more}
    connection.request("GET", server.kind.image(data.HOT), headers=headers)
    response = connection.getresponse()
    return _Answer(response.status, response.headers.get("ETag", ""), _values(response.read()))


def _received(peer: socket.socket) -> bytes:
    try:
        return peer.recv(_BUFFER)
    except ConnectionResetError:
        return b""


def _values(piece: bytes) -> frozenset[bytes]:
    """Which of the two contents a piece has bytes of."""
    return frozenset(value for value in _NAMES if value in piece)


def _content(seen: frozenset[bytes]) -> str:
    return f"{' and '.join(name for value, name in _NAMES.items() if value in seen)} bytes"


def _write(path: Path, value: bytes, mtime: int) -> None:
    """Put a new file in the place of the old one, as `mv` does."""
    new = path.with_name(".new")
    new.write_bytes(value * _SIZE)
    os.utime(new, ns=(mtime, mtime))
    new.replace(path)


def _overwrite(path: Path, value: bytes) -> None:
    """Write into the file that is there, as `cp` and `dd` do."""
    with path.open("r+b") as file:
        file.write(value * _SIZE)
