"""Connections that are slow, idle or too many, and a process that has no descriptor left for them."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.blackbox.harness import running, until
from tests.blackbox.image_roots import DISK
from tests.blackbox.raw_http import NoReplyError, RawConnection, head
from tests.blackbox.worker_processes import children_of, two_workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.blackbox.harness import Daemon, Line

FIRST_TEN = (("Range", "bytes=0-9"),)
IMAGE = "/v1/images/disk"
FEW = 64
"""Descriptors that a daemon with next to none has."""


def ulimit(options: str) -> tuple[str, ...]:
    return ("sh", "-c", f'ulimit {options} && exec "$@"', "sh")


def said(daemon: Daemon, message: str) -> list[Line]:
    return [line for line in daemon.lines() if line["message"] == message]


def asked(conn: RawConnection) -> int | None:
    """The status that a request gets on a connection, None if it gets nothing at all."""
    try:
        conn.send(head("GET", IMAGE, FIRST_TEN))
        return conn.reply().status
    except (NoReplyError, ConnectionError):  # it may have been reset before we sent anything
        return None


def dialled(daemon: Daemon, clients: ExitStack) -> RawConnection | None:
    """A connection; None if it is reset before we know that there is one."""
    try:
        return clients.enter_context(daemon.dial())
    except ConnectionError:
        return None


def served(daemon: Daemon) -> bool:
    """Whether a new connection is answered."""
    with ExitStack() as clients:
        conn = dialled(daemon, clients)
        return conn is not None and asked(conn) == 206


def test_out_of_descriptors(small_home: Callable[[str], Path]) -> None:
    """Many more connections than descriptors: one line in the log, and when they have gone bytes are served again."""
    with running(small_home("few"), prefix=ulimit(f"-n {FEW}")) as daemon:
        (few,) = said(daemon, "too few file descriptors allowed")
        assert (few["level"], few["limit"]) == ("warn", FEW)
        with ExitStack() as clients:
            conns = [dialled(daemon, clients) for _ in range(200)]
            statuses = [conn and asked(conn) for conn in conns]
            assert set(statuses) <= {206, 503, None}
            assert statuses.count(None) > 200 - FEW
        until(lambda: served(daemon))
        assert daemon.ask(IMAGE, fields=FIRST_TEN).body == DISK[:10]
        metrics = daemon.metrics()
        assert metrics.value("aero_storage_connections_refused_total", reason="descriptors") >= statuses.count(None)
        (line,) = said(daemon, "out of file descriptors")
        assert line["level"] == "error"
        assert [line for line in daemon.lines() if "traceback" in line or "EMFILE" in line["message"]] == []


def test_many_connections_come_and_go(small_home: Callable[[str], Path]) -> None:
    """Also when a shortage comes back again and again, all that is left afterwards is what was there before."""
    with running(small_home("tide"), prefix=ulimit(f"-n {FEW}")) as daemon:
        descriptors = Path(f"/proc/{daemon.process.pid}/fd")
        assert daemon.ask(IMAGE, fields=FIRST_TEN).status == 206
        before = len(list(descriptors.iterdir()))
        for _ in range(5):
            with ExitStack() as clients:
                conns = [clients.enter_context(daemon.dial()) for _ in range(100)]
                assert None in [asked(conn) for conn in conns]
        until(lambda: len(list(descriptors.iterdir())) <= before)
        assert daemon.ask(IMAGE, fields=FIRST_TEN).status == 206
        assert len(said(daemon, "out of file descriptors")) == 1


def soft_limit(pid: int) -> tuple[int, int]:
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    (words,) = [line.split() for line in lines if line.startswith("Max open files")]
    return int(words[3]), int(words[4])


def test_limit_is_raised(small_home: Callable[[str], Path]) -> None:
    """Parent and workers have as many descriptors as they are allowed."""
    with two_workers(small_home("raised"), prefix=ulimit("-S -n 256 && ulimit -H -n 5000")) as daemon:
        workers = children_of(daemon.process.pid)
        assert len(workers) == 2
        assert {soft_limit(pid) for pid in (daemon.process.pid, *workers)} == {(5000, 5000)}
        assert said(daemon, "too few file descriptors allowed") == []


@pytest.fixture(scope="module")
def strict(small_home: Callable[[str], Path]) -> Iterator[Daemon]:
    """A daemon that has no patience, and room for three."""
    flags = ("--header-timeout-secs=0.4", "--idle-timeout-secs=0.8", "--max-connections=3")
    with running(small_home("strict"), *flags) as daemon:
        yield daemon


def test_slow_head(strict: Daemon) -> None:
    """A head that comes byte by byte gets a 408 in time, and a clean end."""
    with strict.dial() as conn:
        began = time.monotonic()
        conn.sock.settimeout(0.05)
        for byte in head("GET", IMAGE, FIRST_TEN):
            conn.send(bytes([byte]))
            try:
                conn.buffer += conn.sock.recv(4096)
                break
            except TimeoutError:
                continue
        reply = conn.reply()
        took = time.monotonic() - began
        assert (reply.status, reply["Connection"]) == (408, "close")
        assert conn.rest() == b""
        assert conn.ending == "eof"
        assert 0.4 <= took < 5
    assert strict.complete(reply["X-Request-Id"])["status"] == 408


def test_idle(strict: Daemon) -> None:
    """A connection is closed some time after its last response, and a silent one after the time for a head."""
    with strict.dial() as conn:
        assert asked(conn) == 206
        began = time.monotonic()
        assert conn.rest() == b""
        assert conn.ending == "eof"
        assert 0.8 <= time.monotonic() - began < 5
    with strict.dial() as conn:
        assert conn.rest() == b""
        assert conn.ending == "eof"


def test_one_too_many(small_home: Callable[[str], Path]) -> None:
    """The connection too many gets a whole 503 and a clean end; when there is room again, the next is served."""
    with running(small_home("full"), "--max-connections=2") as daemon:
        with daemon.dial() as one, daemon.dial() as two, daemon.dial() as three:
            assert (asked(one), asked(two)) == (206, 206)
            reply = three.ask("GET", IMAGE, FIRST_TEN)
            assert (reply.status, reply["Retry-After"], reply["Connection"]) == (503, "1", "close")
            assert three.rest() == b""
            assert three.ending == "eof"
            assert asked(one) == 206
        until(lambda: daemon.ask(IMAGE, fields=FIRST_TEN).status == 206)
        assert daemon.metrics().value("aero_storage_connections_refused_total", reason="total") >= 1


def test_dual_stack(small_home: Callable[[str], Path]) -> None:
    """A client of IPv4 at a dual-stack address is shown and counted as one."""
    flags = ("--listen-addr=[::]:0", "--max-connections-per-client=1")
    with running(small_home("dual"), *flags) as daemon, daemon.dial() as conn:
        reply = conn.ask("GET", IMAGE, FIRST_TEN)
        assert daemon.complete(reply["X-Request-Id"])["client"] == "127.0.0.1"
        assert daemon.ask(IMAGE, fields=FIRST_TEN).status == 429
        with RawConnection(socket.create_connection(("::1", daemon.port), 5)) as other:
            reply = other.ask("GET", IMAGE, FIRST_TEN)
            assert (reply.status, daemon.complete(reply["X-Request-Id"])["client"]) == (206, "::1")


def test_far_too_many(small_home: Callable[[str], Path]) -> None:
    """Of many too many, some are told and the others reset at once; nobody else notices, and the log has one line."""
    with (
        running(small_home("one connection"), "--max-connections=1") as daemon,
        daemon.dial() as first,
        ExitStack() as clients,
    ):
        half, rest = head("GET", "/v1/images/disk").split(b"\r\n", 1)
        first.send(head("GET", IMAGE, FIRST_TEN) + half)  # who has begun to ask makes no room, however long it takes
        assert first.reply().status == 206
        conns = [dialled(daemon, clients) for _ in range(100)]
        late = [conn for conn in conns[70:] if conn is not None]
        assert [conn.rest() for conn in late] == [b""] * len(late)
        assert {conn.ending for conn in late} <= {"reset"}
        assert {conn and asked(conn) for conn in conns[:60]} == {503}
        first.send(b"\r\n" + rest)
        assert first.reply().status == 200
        until(lambda: said(daemon, "connections refused"))
        assert len(said(daemon, "connections refused")) == 1
        assert [line for line in daemon.lines() if "traceback" in line] == []
