"""Stopping gracefully, and clients that take nothing, with the real daemon."""

from __future__ import annotations

import signal
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from tests.blackbox.harness import Daemon, running, until
from tests.blackbox.wire import head

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.blackbox.wire import Wire

SIZE = 64 << 20
WHOLE = head("GET", "/v1/images/big.img")
BUFFER = 32 * 1024


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with an image that no socket buffer holds."""
    (tmp_path / "images").mkdir()
    with (tmp_path / "images" / "big.img").open("wb") as image:
        image.truncate(SIZE)
    return tmp_path


def begin(daemon: Daemon, stack: ExitStack) -> Wire:
    """Ask for the whole image, and take no more than its first bytes."""
    wire = stack.enter_context(daemon.dial(receive_buffer=BUFFER))
    wire.send(WHOLE)
    assert wire.sock.recv(4096).startswith(b"HTTP/1.1 200 ")
    return wire


def listens(daemon: Daemon) -> bool:
    """Whether anybody accepts connections."""
    try:
        socket.create_connection(("127.0.0.1", daemon.port)).close()
    except ConnectionRefusedError:
        return False
    return True


def count_rest(wire: Wire) -> int:
    """Read to the end of the connection."""
    total = 0
    while data := wire.sock.recv(1 << 20):
        total += len(data)
    return total


@pytest.fixture(params=[(), ("--workers", "2")], ids=["one", "workers"])
def daemon(place: Path, request: pytest.FixtureRequest) -> Iterator[Daemon]:
    """A daemon, alone or with workers."""
    with running(place, "--drain-delay-secs", "0.5", *request.param) as daemon:
        yield daemon


def test_a_download_survives_the_stop(daemon: Daemon) -> None:
    """After SIGTERM: 503 at /readyz while it still listens, then no new connections; the download ends whole."""
    with ExitStack() as stack:
        wire, idle = begin(daemon, stack), stack.enter_context(daemon.dial())
        idle.send(head("GET", "/healthz"))
        assert idle.reply("GET").status == 200
        daemon.process.send_signal(signal.SIGTERM)
        until(lambda: daemon.ask("/readyz").status == 503)
        assert idle.sock.recv(1) == b""
        until(lambda: not listens(daemon))
        assert daemon.process.poll() is None
        assert SIZE - 4096 <= count_rest(wire) <= SIZE
        assert daemon.process.wait(10) == 0
    assert [line["outcome"] for line in daemon.lines() if line.get("path") == "/v1/images/big.img"] == ["complete"]
    assert not [line for line in daemon.lines() if line["level"] in ("warn", "error", "critical")]


@pytest.mark.parametrize("flags", [(), ("--workers", "2")], ids=["one", "workers"])
def test_the_grace_ends(place: Path, flags: tuple[str, ...]) -> None:
    """What is not done by then is reset, never ended cleanly, and the daemon's status is 0 all the same."""
    with running(place, "--shutdown-grace-secs", "0.3", *flags) as daemon, ExitStack() as stack:
        wire = begin(daemon, stack)
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.process.wait(10) == 0
        with pytest.raises(ConnectionResetError):
            count_rest(wire)
        (line,) = [line for line in daemon.lines() if line.get("path") == "/v1/images/big.img"]
        assert line["outcome"] == "aborted"


@pytest.mark.parametrize("express", ["--express", "--no-express"])
def test_killed(place: Path, express: str) -> None:
    """A process that is killed can say nothing any more: the kernel resets what is not whole, and ends what is."""
    with running(place, express) as daemon, ExitStack() as stack:
        begun, over = begin(daemon, stack), stack.enter_context(daemon.dial())
        assert over.ask("GET", "/v1/images/big.img", {"Range": "bytes=0-9999999"}).ending == "whole"
        daemon.process.kill()
        daemon.process.wait()
        assert over.sock.recv(1) == b""
        with pytest.raises(ConnectionResetError):
            count_rest(begun)


@pytest.mark.parametrize("express", ["--express", "--no-express"])
def test_a_client_that_takes_nothing(place: Path, express: str) -> None:
    """It is broken off after the timeout and counted; one that takes a little now and then is not."""
    with running(place, "--stall-timeout-secs", "1.5", express) as daemon, ExitStack() as stack:
        silent, slow = begin(daemon, stack), begin(daemon, stack)

        def gone() -> bool:
            slow.sock.recv(1 << 20)
            return daemon.metrics().value("aero_storage_streams_stalled_total") == 1

        until(gone, 10)
        with pytest.raises(ConnectionResetError):
            count_rest(silent)
        assert count_rest_of(slow, 1 << 20)


def count_rest_of(wire: Wire, size: int) -> bool:
    """Whether so many bytes more come."""
    while size > 0 and (data := wire.sock.recv(size)):
        size -= len(data)
    return size <= 0


@pytest.mark.parametrize("express", ["--express", "--no-express"])
def test_silent_clients_lock_nobody_out(place: Path, express: str) -> None:
    """All places are taken by clients that take nothing: within some seconds others get theirs."""
    flags = ("--max-concurrent-bytes-requests", "4", "--bytes-queue-timeout-secs", "9", express)
    with running(place, *flags) as daemon, ExitStack() as stack:
        silent = [begin(daemon, stack) for _ in range(4)]
        with daemon.dial() as wire:
            wire.send(head("GET", "/v1/images/big.img", {"Range": "bytes=0-9"}))
            assert wire.reply("GET").status == 206
        assert daemon.metrics().value("aero_storage_places_taken_back_total") == 1
        assert all(count_rest_of(one, 1 << 20) for one in silent)


@pytest.mark.parametrize("express", ["--express", "--no-express"])
def test_half_a_head_holds_up_no_stop(place: Path, express: str) -> None:
    """A head that has begun may still end while the daemon drains, but not take longer than heads may."""
    with running(place, "--header-timeout-secs", "1", express) as daemon, daemon.dial() as wire:
        wire.send(b"GET /v1/images/big.img HTTP/1.1\r\n")
        daemon.ask("/healthz")
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.process.wait(10) == 0
        assert wire.reply("GET").status == 408
