"""http.md §5: the cap on concurrent bytes requests and its queue."""

from __future__ import annotations

import select
import socket
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from tests.blackbox.harness import running, until
from tests.blackbox.image_roots import DISK, entry, put, small_root, wide_bytes
from tests.blackbox.raw_http import head

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.blackbox.harness import Daemon
    from tests.blackbox.raw_http import Fields, RawConnection, Reply


@contextmanager
def _capped(path: Path, *flags: str) -> Iterator[Daemon]:
    root = path / "images"
    small_root(root, entry("wide", "wide.img"))
    put(root / "wide.img", wide_bytes())
    with running(path, *flags) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def impatient(home: Callable[[str], Path]) -> Iterator[Daemon]:
    """One place and no waiting."""
    flags = ("--max-concurrent-bytes-requests=1", "--bytes-queue-timeout-secs=0")
    with _capped(home("impatient"), *flags) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def usual(home: Callable[[str], Path]) -> Iterator[Daemon]:
    """Two places and the usual second of waiting; an allowlist, to see the headers of a 429 with it."""
    flags = ("--max-concurrent-bytes-requests=2", "--cors-origin=https://app.test")
    with _capped(home("usual"), *flags, "--cross-origin-resource-policy=cross-origin") as daemon:
        yield daemon


@pytest.fixture(scope="module")
def patient(home: Callable[[str], Path]) -> Iterator[Daemon]:
    """One place and long waiting."""
    flags = ("--max-concurrent-bytes-requests=1", "--bytes-queue-timeout-secs=30")
    with _capped(home("patient"), *flags) as daemon:
        yield daemon


def _hold(daemon: Daemon) -> RawConnection:
    """Take a place and keep it by not reading."""
    conn = daemon.dial(receive_buffer=65536)
    conn.send(head("GET", "/v1/images/wide"))
    assert conn.reply_head().status == 200
    return conn


@contextmanager
def _held(daemon: Daemon, count: int = 1) -> Iterator[list[RawConnection]]:
    until(lambda: daemon.ask("/v1/images/disk", "HEAD").status == 200)
    conns = [_hold(daemon) for _ in range(count)]
    try:
        yield conns
    finally:
        for conn in conns:
            conn.close()


@contextmanager
def _moving(*holders: RawConnection) -> Iterator[None]:
    """Read 800 kB a second: a stream that is slow would give its place up."""
    over = threading.Event()

    def read() -> None:
        while not over.wait(0.02):
            for conn in holders:
                with suppress(BlockingIOError):
                    conn.buffer += conn.sock.recv(16384, socket.MSG_DONTWAIT)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _is_429(reply: Reply, *, of_chunks: bool = False) -> None:
    assert (reply.status, reply.body) == (429, b"")
    assert reply["Retry-After"] == "1"
    assert reply["Cache-Control"] == "no-store, no-transform"
    assert reply["Access-Control-Allow-Origin"] == "*"
    assert reply["Cross-Origin-Resource-Policy"] == "same-site"
    assert reply.get("Accept-Ranges") == (None if of_chunks else "bytes")
    assert "retry-after" in reply.members("Access-Control-Expose-Headers")


# What is asked while every place is held: limited requests first, then those that never are.
LIMITED: list[tuple[str, str, Fields]] = [
    ("GET", "/v1/images/disk", {}),
    ("HEAD", "/v1/images/disk", {}),
    ("GET", "/v1/images/disk/data", {}),
    ("GET", "/v1/images/disk", {"Range": "bytes=0-0"}),
    ("GET", "/v1/images/disk", {"Range": "bytes=5-2"}),
    ("GET", "/v1/images/disk", {"If-None-Match": "*"}),
    ("GET", "/v1/images/disk", {"If-Match": '"a"'}),
    ("GET", "/v1/images/nothing", {}),
    ("GET", "/v1/images/disk/chunked/manifest.json", {}),
    ("HEAD", "/v1/images/disk/chunked/chunks/00000000.bin", {}),
]
UNLIMITED = [
    ("OPTIONS", "/v1/images/disk", 204),
    ("OPTIONS", "/v1/images/disk/data", 204),
    ("POST", "/v1/images/disk", 405),
    ("GET", "/v1/images/%2e%2e", 404),
    ("GET", "/v1/images/disk/nothing", 404),
    ("GET", "/v1/images", 200),
    ("GET", "/v1/images/disk/meta", 200),
    ("HEAD", "/v1/images/disk/meta", 200),
    ("GET", "/v1/images/nothing/meta", 404),
    ("GET", "/healthz", 200),
    ("GET", "/readyz", 200),
    ("GET", "/version", 200),
    ("GET", "/metrics", 200),
    ("GET", "/nothing", 404),
]


@pytest.mark.parametrize(("method", "path", "fields"), LIMITED)
def test_over_the_cap(impatient: Daemon, method: str, path: str, fields: Fields) -> None:
    """With every place held GET and HEAD of bytes are a 429, before anything is said of the image."""
    with _held(impatient):
        began = time.monotonic()
        _is_429(impatient.ask(path, method, fields), of_chunks="/chunked/" in path)
        assert time.monotonic() - began < 1


@pytest.mark.parametrize(("method", "path", "status"), UNLIMITED)
def test_never_limited(impatient: Daemon, method: str, path: str, status: int) -> None:
    """Preflights, metadata, health, and what is refused before the cap are answered as ever."""
    with _held(impatient):
        assert impatient.ask(path, method).status == status


@pytest.mark.parametrize("how", ["close", "reset", "read"])
def test_place_comes_back(impatient: Daemon, how: str) -> None:
    """A place is free again once the client is gone or has had its last byte."""
    with _held(impatient) as (conn,):
        assert impatient.ask("/v1/images/disk").status == 429
        if how == "close":
            conn.close()
        elif how == "reset":
            conn.reset()
        else:
            assert conn.take(len(wide_bytes()), 30) == wide_bytes()
        until(lambda: impatient.ask("/v1/images/disk").body == DISK)


def test_429_leaves_the_connection_usable(impatient: Daemon) -> None:
    """The connection that got a 429 may ask again."""
    with _held(impatient) as (holder,), impatient.dial() as conn:
        assert conn.ask("GET", "/v1/images/disk").status == 429
        assert conn.ask("GET", "/healthz").status == 200
        holder.reset()
        until(lambda: conn.ask("GET", "/v1/images/disk").status == 200)


def test_small_answers_give_their_place_back(impatient: Daemon) -> None:
    """Requests in turn never meet their own place, on one connection or on many."""
    until(lambda: impatient.ask("/v1/images/disk", "HEAD").status == 200)
    with impatient.dial() as conn:
        conn.send(head("GET", "/v1/images/disk", {"Range": "bytes=0-99"}) * 50)
        assert [conn.reply().status for _ in range(50)] == [206] * 50
        for fields, status in (
            ({"If-None-Match": "*"}, 304),
            ({"Range": "bytes=5-2"}, 416),
            ({"If-Match": '"a"'}, 412),
        ):
            for _ in range(3):
                assert conn.ask("GET", "/v1/images/disk", fields).status == status
                assert conn.ask("HEAD", "/v1/images/disk", fields).status == status
                assert conn.ask("GET", "/v1/images/nothing").status == 404


def test_two_places(usual: Daemon) -> None:
    """Two requests run at once; a third waits about a second and is refused with the CORS fields of an allowlist."""
    with _held(usual, 1):
        assert usual.ask("/v1/images/disk").body == DISK
    with _held(usual, 2) as holders, _moving(*holders):
        began = time.monotonic()
        reply = usual.ask("/v1/images/disk", fields={"Origin": "https://app.test"})
        assert 0.7 < time.monotonic() - began < 4
        assert reply.status == 429
        assert reply["Retry-After"] == "1"
        assert reply["Access-Control-Allow-Origin"] == "https://app.test"
        assert "origin" in reply.members("Vary")
        assert reply["Cross-Origin-Resource-Policy"] == "cross-origin"


def test_wait_of_less_than_the_timeout(usual: Daemon) -> None:
    """A request that waits gets the place of a holder that goes in time."""
    with _held(usual, 2) as (holder, _), usual.dial() as conn:
        conn.send(head("GET", "/v1/images/disk"))
        assert not select.select([conn.sock], [], [], 0.1)[0]
        holder.reset()
        assert conn.reply().body == DISK


@pytest.mark.parametrize("how", ["close", "reset", "read"])
def test_hand_over(patient: Daemon, how: str) -> None:
    """Waiting requests are served one after the other when the holder goes."""
    with _held(patient) as (holder,):
        waiting = [patient.dial() for _ in range(5)]
        for conn in waiting:
            conn.send(head("GET", "/v1/images/disk"))
        with _moving(holder):
            assert not select.select([conn.sock for conn in waiting], [], [], 0.2)[0]
        if how == "read":
            holder.take(len(wide_bytes()), 30)
        elif how == "reset":
            holder.reset()
        else:
            holder.close()
        for conn in waiting:
            assert conn.reply().body == DISK
            conn.close()


def test_waiting_client_that_leaves(patient: Daemon) -> None:
    """A request whose client leaves the queue takes no place."""
    with _held(patient) as (holder,):
        leaving, staying = patient.dial(), patient.dial()
        leaving.send(head("GET", "/v1/images/wide"))
        staying.send(head("GET", "/v1/images/disk"))
        assert not select.select([leaving.sock, staying.sock], [], [], 0.1)[0]
        leaving.reset()
        holder.reset()
        assert staying.reply().body == DISK
        staying.close()


def test_length_of_the_queue(patient: Daemon) -> None:
    """With a cap of 1 sixteen may wait; who comes after them is a 429 at once."""
    with _held(patient) as (holder,):
        waiting = [patient.dial() for _ in range(20)]
        for conn in waiting:
            conn.send(head("GET", "/v1/images/disk", {"Range": "bytes=0-9"}))

        def answered() -> list[RawConnection]:
            ready = select.select([conn.sock for conn in waiting], [], [], 0)[0]
            return [conn for conn in waiting if conn.sock in ready]

        with _moving(holder):
            refused = until(lambda: found if len(found := answered()) >= 4 else [])
            assert not select.select([conn.sock for conn in waiting if conn not in refused], [], [], 0.3)[0]
        assert len(refused) == 4
        for conn in refused:
            _is_429(conn.reply())
        holder.reset()
        for conn in waiting:
            if conn not in refused:
                assert conn.reply().body == DISK[:10]
            conn.close()


def test_no_limit(home: Callable[[str], Path]) -> None:
    """A cap of 0 is none: far more than the default of 64 run at once."""
    with (
        _capped(home("unlimited"), "--max-concurrent-bytes-requests", "0", "--bytes-queue-timeout-secs=0") as daemon,
        _held(daemon, 80),
    ):
        assert daemon.ask("/v1/images/disk").body == DISK


def test_default_cap(home: Callable[[str], Path]) -> None:
    """The default is 64 places."""
    with _capped(home("default-cap"), "--bytes-queue-timeout-secs=0") as daemon, _held(daemon, 64):
        _is_429(daemon.ask("/v1/images/disk"))
