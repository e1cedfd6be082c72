"""http.md §5: the body is exactly what the headers describe, whatever happens to the file or the client."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from tests.blackbox.harness import SHOWS_WITHIN, running, until
from tests.blackbox.image_roots import (
    DISK,
    NANOS,
    OVER_BUCKET,
    SECONDS,
    WIDE_SIZE,
    entry,
    put,
    small_root,
    tag_of,
    wide_bytes,
)
from tests.blackbox.raw_http import head

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.blackbox.harness import Daemon
    from tests.blackbox.raw_http import Fields, RawConnection

MIB = 1 << 20
SHAPES: dict[str, tuple[Fields, int]] = {"plain": ({}, 0), "open": ({"Range": "bytes=12345-"}, 12_345)}


@pytest.fixture(scope="module")
def daemon(home: Callable[[str], Path]) -> Iterator[Daemon]:
    """A daemon whose wide image comes and goes."""
    path = home("streaming")
    root = path / "images"
    small_root(root, entry("wide", "wide.img"))
    put(root / "wide.img", wide_bytes(), (SECONDS, NANOS))
    with running(path) as started:
        yield started


@pytest.fixture
def wide(daemon: Daemon) -> Path:
    """The wide image, made anew and seen by the daemon."""
    path = daemon.root / "wide.img"
    put(path, wide_bytes(), (SECONDS, NANOS))
    tag = tag_of(wide_bytes())
    until(lambda: daemon.ask("/v1/images/wide", "HEAD").get("ETag") == tag, SHOWS_WITHIN)
    return path


@contextmanager
def _slow(daemon: Daemon, fields: Fields, request_id: str) -> Iterator[tuple[RawConnection, int]]:
    """Ask for the wide image and stop reading after the head; give the connection and Content-Length."""
    with daemon.dial(receive_buffer=65536) as conn:
        conn.send(head("GET", "/v1/images/wide", dict(fields) | {"X-Request-Id": request_id}))
        reply = conn.reply_head()
        assert reply.status in {200, 206}
        yield conn, reply.length


@pytest.mark.parametrize(("fields", "first"), SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("left", [0, MIB, 20 * MIB + 5], ids=["to-nothing", "to-1-mib", "to-20-mib-and-5"])
def test_truncated_while_streaming(daemon: Daemon, wide: Path, *, left: int, fields: Fields, first: int) -> None:
    """A file that shrinks is an aborted connection: no padding, no clean end, an honest log line."""
    name = f"truncated-{left}-{first}"
    with _slow(daemon, fields, name) as (conn, length):
        os.truncate(wide, left)
        body = conn.take(length, 30)
        assert len(body) < length
        assert conn.ending in {"eof", "reset"}
    assert len(body) <= max(left, 8 * MIB)
    assert body == wide_bytes()[first : first + len(body)]
    line = daemon.complete(name)
    assert line["outcome"] == "aborted"
    assert line["bytes_sent"] < length
    assert daemon.ask("/v1/images/disk").body == DISK


@pytest.mark.parametrize(("fields", "first"), SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("how", ["removed", "replaced", "replaced-shorter", "renamed"])
def test_file_goes_while_streaming(daemon: Daemon, wide: Path, *, how: str, fields: Fields, first: int) -> None:
    """A file removed or replaced by rename while it streams is sent to its end from the old one.

    Of an object only that can be sent which has been read: the rest is broken off (http.md §11).
    """
    name = f"{how}-{first}"
    with _slow(daemon, fields, name) as (conn, length):
        if how == "removed":
            wide.unlink()
        elif how == "replaced":
            put(wide, bytes(WIDE_SIZE))
        elif how == "replaced-shorter":
            put(wide, b"short")
        else:
            wide.rename(wide.with_name("elsewhere.img"))
        body = conn.take(length, 30)
        whole = len(body) == length or not OVER_BUCKET
        assert body == wide_bytes()[first : None if whole else first + len(body)]
        if whole:
            assert conn.ask("GET", "/healthz").status == 200, "bytes after the end of the body"
    line = daemon.complete(name)
    assert line["outcome"] == ("complete" if whole else "aborted")
    assert (line["bytes_sent"] == length) is whole
    if how in {"removed", "renamed"}:
        until(lambda: daemon.ask("/v1/images/wide", "HEAD").status == 404, SHOWS_WITHIN)
    if how == "replaced" and OVER_BUCKET:  # seen, or the next test could take what was seen before for its own
        shown = tag_of(bytes(WIDE_SIZE))
        until(lambda: daemon.ask("/v1/images/wide", "HEAD").get("ETag") == shown, SHOWS_WITHIN)
    if how == "replaced-shorter":
        until(lambda: daemon.ask("/v1/images/wide").body == b"short", SHOWS_WITHIN)


@pytest.mark.parametrize(("fields", "first"), SHAPES.values(), ids=SHAPES)
def test_grown_while_streaming(daemon: Daemon, wide: Path, *, fields: Fields, first: int) -> None:
    """A file that grows is sent as it was or broken off, and the log says which; never a byte too many."""
    name = f"grown-{first}"
    with _slow(daemon, fields, name) as (conn, length):
        with wide.open("ab") as file:
            file.write(b"more")
        body = conn.take(length, 30)
        assert body == wide_bytes()[first : first + len(body)]
        if whole := len(body) == length:
            assert conn.ask("GET", "/healthz").status == 200, "bytes after the end of the body"
    assert daemon.complete(name)["outcome"] == ("complete" if whole else "aborted")


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("how", ["reset", "close"])
def test_client_leaves_while_streaming(daemon: Daemon, how: str) -> None:
    """A client that leaves is `disconnected`, with the bytes that really left and no more."""
    name = f"left-{how}"
    with _slow(daemon, {}, name) as (conn, length):
        taken = len(conn.take(MIB))
        if how == "reset":
            conn.reset()
    line = daemon.complete(name)
    assert line["outcome"] == "disconnected"
    assert taken <= line["bytes_sent"] < length
    assert line["status"] == 200


@pytest.mark.usefixtures("wide")
def test_slow_reader_holds_up_nobody(daemon: Daemon) -> None:
    """While ten clients do not read, others are served at once."""
    conns = [daemon.dial(receive_buffer=65536) for _ in range(10)]
    for conn in conns:
        conn.send(head("GET", "/v1/images/wide"))
    for conn in conns:
        assert conn.reply_head().status == 200
    assert daemon.ask("/v1/images/disk").body == DISK
    assert daemon.ask("/healthz").status == 200
    for conn in conns:
        conn.close()


@pytest.mark.usefixtures("wide")
def test_memory_stays_bounded(daemon: Daemon) -> None:
    """Twenty slow readers of 64 MiB do not cost the memory of their images."""
    conns = [daemon.dial(receive_buffer=65536) for _ in range(20)]
    for conn in conns:
        conn.send(head("GET", "/v1/images/wide"))
    for conn in conns:
        assert conn.reply_head().status == 200
    with open(f"/proc/{daemon.process.pid}/status", encoding="ascii") as file:  # noqa: PTH123
        resident = next(int(line.split()[1]) for line in file if line.startswith("RssAnon:"))
    for conn in conns:
        conn.close()
    assert resident < 200 * 1024


def test_shutdown_is_not_ready(small_home: Callable[[str], Path]) -> None:
    """While the daemon shuts down `/readyz` is 503, if it is answered at all."""
    path = small_home("shutdown")
    with running(path) as daemon, daemon.dial() as conn:
        assert conn.ask("GET", "/readyz").status == 200
        daemon.process.terminate()

        def gone_or_503() -> bool:
            conn.send(head("GET", "/readyz"))
            try:
                return conn.reply().status == 503
            except AssertionError:
                return True

        until(gone_or_503)
        daemon.process.wait(10)
