"""Stopping gracefully, and clients that take nothing, with the real daemon."""

from __future__ import annotations

import signal
import socket
import sys
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import pytest
from tests.blackbox.harness import Daemon, running, until
from tests.blackbox.raw_http import RawConnection, head
from tests.packet_filter import drop_incoming_packets

from aero_storage.streaming.held_tail import TAIL_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SIZE = 64 << 20
WHOLE = head("GET", "/v1/images/big.img")
BUFFER = 32 * 1024
TCP_AND_UNIX = ("--endpoint", "tcp:0:interface=127.0.0.1", "--endpoint", "unix:socket")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with an image that no socket buffer holds."""
    (tmp_path / "images").mkdir()
    with (tmp_path / "images" / "big.img").open("wb") as image:
        image.truncate(SIZE)
    return tmp_path


def dial(daemon: Daemon, kind: str) -> RawConnection:
    """Connect over TCP, with a small receive buffer, or to the UNIX socket."""
    return daemon.dial(receive_buffer=BUFFER) if kind == "tcp" else daemon.dial_unix()


def begin(daemon: Daemon, stack: ExitStack, kind: str = "tcp") -> RawConnection:
    """Ask for the whole image, and take no more than its first bytes."""
    conn = stack.enter_context(dial(daemon, kind))
    conn.send(WHOLE)
    assert conn.sock.recv(4096).startswith(b"HTTP/1.1 200 ")
    return conn


def listens(daemon: Daemon) -> bool:
    """Whether anybody accepts connections."""
    try:
        socket.create_connection(("127.0.0.1", daemon.port)).close()
    except ConnectionRefusedError:
        return False
    return True


def count_rest(conn: RawConnection) -> int:
    """Read to the end of the connection."""
    total = 0
    while data := conn.sock.recv(1 << 20):
        total += len(data)
    return total


def assert_broken_off(conn: RawConnection) -> None:
    """Read to the end: a reset, or at a UNIX socket, which has none, an end that comes too early."""
    if conn.sock.family == socket.AF_UNIX:
        assert count_rest(conn) < SIZE // 2
    else:
        with pytest.raises(ConnectionResetError):
            count_rest(conn)


@pytest.fixture(params=[(), ("--workers", "2")], ids=["one", "workers"])
def daemon(place: Path, request: pytest.FixtureRequest) -> Iterator[Daemon]:
    """A daemon, alone or with workers."""
    with running(place, *TCP_AND_UNIX, "--drain-delay-secs", "0.5", *request.param) as daemon:
        yield daemon


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_a_download_survives_the_stop(daemon: Daemon, kind: str) -> None:
    """After SIGTERM: 503 at /readyz while it still listens, then no new connections; the download ends whole."""
    with ExitStack() as stack:
        conn, idle = begin(daemon, stack, kind), stack.enter_context(daemon.dial())
        idle.send(head("GET", "/healthz"))
        assert idle.reply("GET").status == 200
        daemon.process.send_signal(signal.SIGTERM)
        until(lambda: daemon.ask("/readyz").status == 503)
        assert idle.sock.recv(1) == b""
        until(lambda: not listens(daemon))
        assert daemon.process.poll() is None
        assert SIZE - 4096 <= count_rest(conn) <= SIZE
        assert daemon.process.wait(10) == 0
    assert [line["outcome"] for line in daemon.lines() if line.get("path") == "/v1/images/big.img"] == ["complete"]
    assert not [line for line in daemon.lines() if line["level"] in ("warn", "error", "critical")]


@pytest.mark.parametrize("flags", [(), ("--workers", "2")], ids=["one", "workers"])
@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_the_grace_ends(place: Path, kind: str, flags: tuple[str, ...]) -> None:
    """What is not done by then is reset, never ended cleanly, and the daemon's status is 0 all the same."""
    with running(place, *TCP_AND_UNIX, "--shutdown-grace-secs", "0.3", *flags) as daemon, ExitStack() as stack:
        conn = begin(daemon, stack, kind)
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.process.wait(10) == 0
        assert_broken_off(conn)
        (line,) = [line for line in daemon.lines() if line.get("path") == "/v1/images/big.img"]
        assert line["outcome"] == "aborted"


def count_rest_late(daemon: Daemon, conn: RawConnection, requests: int) -> int:
    """Read to the end of the connection, the last of it when the daemon has told of so many requests."""
    total = SIZE - (1 << 20)
    assert count_rest_of(conn, total)
    while len([line for line in daemon.lines() if line.get("path") == "/v1/images/big.img"]) < requests:
        # The end comes when all before it has been read: some of it has to be left.
        data = conn.sock.recv(16 * 1024 if total < SIZE - 2 * TAIL_BYTES else 256)
        assert data
        total += len(data)
        time.sleep(0.01)  # slower than the log
    time.sleep(2.5)  # for the close to reach us before we have read what came before it
    return total + count_rest(conn)


@pytest.mark.parametrize("express", ["--express", "--no-express"])
def test_what_is_pipelined_is_not_half_answered(place: Path, express: str) -> None:
    """Of a pipeline the response under way ends whole, then the connection closes: the rest may be asked for anew.

    RFC 9112 §9.3.2 and §9.6: so the client can tell, and the log tells the operator, once.
    """
    with running(place, express) as daemon, ExitStack() as stack:
        conns = [begin(daemon, stack) for _ in range(3)]
        for conn, number in zip(conns, (0, 1, 5000), strict=True):
            conn.sock.settimeout(0.3)
            with suppress(TimeoutError):  # the daemon does not read it all: neither may we wait for that
                conn.sock.sendall(head("GET", "/v1/images/big.img", {"Range": "bytes=0-9"}) * number)
            conn.sock.settimeout(10)
        daemon.ask("/healthz")
        daemon.process.send_signal(signal.SIGTERM)
        daemon.line(lambda line: line["message"] == "draining")
        for conn in conns[:2]:
            assert SIZE - 4096 <= count_rest(conn) <= SIZE
        assert SIZE - 4096 <= count_rest_late(daemon, conns[2], 3) <= SIZE
        stack.close()
        assert daemon.process.wait(10) == 0
    told = [line for line in daemon.lines() if line["message"] == "closed before all requests were answered"]
    assert [line["connections"] for line in told] == [2]
    requests = [line["outcome"] for line in daemon.lines() if line.get("path") == "/v1/images/big.img"]
    assert requests == ["complete"] * 3


@pytest.mark.parametrize("express", ["--express", "--no-express"])
def test_connections_are_told_to_go_while_balancers_look(place: Path, express: str) -> None:
    """During the delay all is answered, and says that its connection closes, which it then does (RFC 9112 §9.6)."""
    with running(place, "--drain-delay-secs", "30", express) as daemon, ExitStack() as stack:
        old, piped = (stack.enter_context(daemon.dial()) for _ in range(2))
        part = {"Range": "bytes=0-9"}
        for conn in (old, piped):
            assert conn.ask("GET", "/v1/images/big.img", part).get("Connection") is None
        daemon.process.send_signal(signal.SIGTERM)
        until(lambda: daemon.ask("/readyz").status == 503)
        new = stack.enter_context(daemon.dial())
        for conn in (old, new):
            reply = conn.ask("GET", "/v1/images/big.img", part)
            assert (reply.status, reply["Connection"], reply.length) == (206, "close", 10)
            assert (conn.rest(), conn.ending) == (b"", "eof")
        piped.send(head("GET", "/v1/images/big.img", part) * 3)
        replies = [piped.reply() for _ in range(3)]
        assert [reply.get("Connection") for reply in replies] == [None, None, "close"]
        assert (piped.rest(), piped.ending) == (b"", "eof")
        daemon.process.send_signal(signal.SIGTERM)


@pytest.mark.parametrize("kind", ["tcp", "unix"])
@pytest.mark.parametrize("express", ["--express", "--no-express"])
def test_killed(place: Path, kind: str, express: str) -> None:
    """A process that is killed can say nothing more: the kernel breaks off what is not whole, and ends the rest."""
    with running(place, *TCP_AND_UNIX, express) as daemon, ExitStack() as stack:
        begun, over = begin(daemon, stack, kind), stack.enter_context(dial(daemon, kind))
        assert over.ask("GET", "/v1/images/big.img", {"Range": "bytes=0-9999999"}).ending == "whole"
        daemon.process.kill()
        daemon.process.wait()
        assert over.sock.recv(1) == b""
        assert_broken_off(begun)


@pytest.mark.parametrize("kind", ["tcp", "unix"])
@pytest.mark.parametrize("express", ["--express", "--no-express"])
def test_a_client_that_takes_nothing(place: Path, kind: str, express: str) -> None:
    """It is broken off after the timeout and counted; one that takes a little now and then is not."""
    with running(place, *TCP_AND_UNIX, "--stall-timeout-secs", "1.5", express) as daemon, ExitStack() as stack:
        silent, slow = begin(daemon, stack, kind), begin(daemon, stack, kind)

        def gone() -> bool:
            slow.sock.recv(1 << 20)
            return daemon.metrics().value("aero_storage_streams_stalled_total") == 1

        until(gone, 10)
        assert_broken_off(silent)
        assert count_rest_of(slow, 1 << 20)


def begin_fast(daemon: Daemon, stack: ExitStack) -> RawConnection:
    """Ask for the whole image, and take the half of it at full speed: the client's system may hide much by then."""
    conn = stack.enter_context(daemon.dial())
    conn.send(WHOLE)
    assert count_rest_of(conn, SIZE // 2)
    return conn


def test_a_slow_client_with_a_large_buffer(place: Path) -> None:
    """It reads 320 kB a second, which its system may not show for longer than the timeout, and is not broken off.

    7 kB a second are enough in 60 seconds, so 210 in 2, whatever the buffer (docs/explanation/slow-clients.md).
    """
    tries = (reads_to_the_end_slowly(place) for _ in range(4))  # on a busy machine it may be slower than it wants
    assert any(tries)


def reads_to_the_end_slowly(place: Path) -> bool:
    """Whether a client that reads 320 kB a second for 9 seconds is not broken off."""
    with running(place, "--stall-timeout-secs", "2") as daemon, ExitStack() as stack:
        conn, looked = begin_fast(daemon, stack), time.monotonic()
        end = looked + 9
        while looked < end:
            time.sleep(0.05)  # the pace is the point
            pause, looked = time.monotonic() - looked, time.monotonic()
            try:
                assert count_rest_of(conn, int(320_000 * pause))
            except ConnectionResetError:
                return False
        return daemon.metrics().value("aero_storage_streams_stalled_total") == 0 and count_rest_of(conn, SIZE // 4)


@pytest.mark.parametrize("left", [TAIL_BYTES + 65_536, TAIL_BYTES + 1])
def test_a_client_of_a_unix_socket_that_stops_near_the_end(place: Path, left: int) -> None:
    """It is broken off too if all has been sent but the tail, which waits for it to read."""
    with running(place, *TCP_AND_UNIX, "--stall-timeout-secs", "1") as daemon, ExitStack() as stack:
        conn = stack.enter_context(dial(daemon, "unix"))
        conn.send(WHOLE)
        assert conn.reply_head().length == SIZE
        assert count_rest_of(conn, SIZE - len(conn.buffer) - left)
        until(lambda: daemon.metrics().value("aero_storage_streams_stalled_total") == 1, 6)
        assert count_rest(conn) == left - TAIL_BYTES


@pytest.mark.skipif(sys.platform != "linux", reason="needs packet filters as Linux has them")
def test_a_client_that_is_gone(place: Path) -> None:
    """Whose system does not answer any more is broken off after the timeout, whatever it could hide if it did."""
    with running(place, "--stall-timeout-secs", "1") as daemon, ExitStack() as stack:
        conn = begin_fast(daemon, stack)
        drop_incoming_packets(conn.sock)
        until(lambda: daemon.metrics().value("aero_storage_streams_stalled_total") == 1, 6)


def count_rest_of(conn: RawConnection, size: int) -> bool:
    """Whether so many bytes more come."""
    while size > 0 and (data := conn.sock.recv(min(size, 1 << 20))):
        size -= len(data)
    return size <= 0


@pytest.mark.parametrize("express", ["--express", "--no-express"])
def test_silent_clients_lock_nobody_out(place: Path, express: str) -> None:
    """All places are taken by clients that take nothing: within some seconds others get theirs."""
    flags = ("--max-concurrent-bytes-requests", "4", "--bytes-queue-timeout-secs", "9", express)
    with running(place, *flags) as daemon, ExitStack() as stack:
        silent = [begin(daemon, stack) for _ in range(4)]
        with daemon.dial() as conn:
            conn.send(head("GET", "/v1/images/big.img", {"Range": "bytes=0-9"}))
            assert conn.reply("GET").status == 206
        assert daemon.metrics().value("aero_storage_places_taken_back_total") == 1
        assert all(count_rest_of(one, 1 << 20) for one in silent)


@pytest.mark.parametrize("express", ["--express", "--no-express"])
def test_who_comes_when_others_have_long_been_silent(place: Path, express: str) -> None:
    """Clients that have been silent for five seconds hold all places: the next is served at its first try."""
    with running(place, express) as daemon, ExitStack() as stack:
        for _ in range(64):
            begin(daemon, stack)
        time.sleep(5)  # what passes before anybody queues is the point
        metrics = daemon.metrics()
        assert metrics.value("aero_storage_places_taken") == metrics.value("aero_storage_places_limit") == 64
        assert daemon.ask("/v1/images/big.img", fields={"Range": "bytes=0-9"}).status == 206
        metrics = daemon.metrics()
        assert metrics.value("aero_storage_places_taken_back_total") == 1
        assert metrics.value("aero_storage_queue_wait_seconds_sum") < 0.5


@pytest.mark.parametrize("express", ["--express", "--no-express"])
def test_half_a_head_holds_up_no_stop(place: Path, express: str) -> None:
    """A head that has begun may still end while the daemon drains, but not take longer than two seconds."""
    with running(place, "--shutdown-grace-secs", "60", express) as daemon, daemon.dial() as conn:
        conn.send(b"GET /v1/images/big.img HTTP/1.1\r\n")
        daemon.ask("/healthz")
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.process.wait(10) == 0
        assert conn.reply("GET").status == 408
