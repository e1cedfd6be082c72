"""A worker that is dead, stuck or about to end swallows no connections: the others accept in its place."""

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.blackbox.harness import until
from tests.blackbox.image_roots import DISK, WIDE_SIZE, entry, put_catalog, small_root, wide_bytes, write
from tests.blackbox.raw_http import RawConnection, head
from tests.blackbox.worker_processes import (
    START_SECONDS,
    alive,
    is_serving,
    several_workers,
    two_workers,
    wait_for_replacement,
    worker_pids,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.blackbox.harness import Daemon

KILLING = "killing a worker that is silent"

KILL_SECONDS = 20.0
"""Seconds within which a silent worker has been killed, on a machine that does other things too."""


@pytest.fixture
def fresh(home: Callable[[str], Path]) -> Iterator[Daemon]:
    """A daemon with two workers for one test."""
    with two_workers(home("fresh")) as daemon:
        yield daemon


def ended(daemon: Daemon, number: int) -> list[float]:
    """Return the delays before the next start of a worker that has ended unasked, one for each end."""
    lines = [line for line in daemon.lines() if line["message"] == "worker ended unasked"]
    return [line["restart_in_seconds"] for line in lines if line["child"] == number]


def kill_until_it_waits(daemon: Daemon, number: int, seconds: float) -> None:
    """Kill a worker and its successors until the next start is due in so many seconds."""
    for count in range(1, 10):
        os.kill(worker_pids(daemon)[number], signal.SIGKILL)
        until(lambda count=count: len(ended(daemon, number)) == count)  # type: ignore[misc]
        if ended(daemon, number)[-1] >= seconds:
            return
        until(lambda count=count: starts(daemon, number) == count + 1, START_SECONDS)  # type: ignore[misc]


def starts(daemon: Daemon, number: int) -> int:
    """Return how often a worker has been started."""
    return len([line for line in daemon.lines() if line["message"] == "worker started" and line["child"] == number])


def answered(daemon: Daemon, connections: int, patience: float) -> float:
    """Ask on so many new connections at once; return the seconds until all have the right answer."""
    began = time.monotonic()
    with ExitStack() as stack:
        conns = [stack.enter_context(daemon.dial()) for _ in range(connections)]
        for conn in conns:
            conn.send(head("GET", "/v1/images/disk", {"Range": "bytes=0-9"}))
        assert [conn.reply(patience=patience).body for conn in conns] == [DISK[:10]] * connections
    return time.monotonic() - began


def served_by(daemon: Daemon, since: int = 0) -> list[int]:
    """Return the workers of all requests for the image."""
    return [line["worker"] for line in daemon.lines(since) if line.get("path") == "/v1/images/disk"]


def test_while_one_waits(fresh: Daemon) -> None:
    """While a worker that keeps dying waits for its next start, every new connection is answered by the other."""
    kill_until_it_waits(fresh, 1, 4.0)
    answered(fresh, 60, 3.0)
    assert starts(fresh, 1) == len(ended(fresh, 1)), "it waits still"
    until(lambda: len(served_by(fresh)) == 60)
    assert set(served_by(fresh)) == {2}


def test_it_gets_its_share_again(fresh: Daemon) -> None:
    """The successor has its sockets to itself again: each of two workers gets its part of new connections."""
    os.kill(worker_pids(fresh)[1], signal.SIGKILL)
    wait_for_replacement(fresh, 1, 2)
    since = fresh.log_size()
    answered(fresh, 200, START_SECONDS)
    until(lambda: len(served_by(fresh, since)) == 200)
    assert 60 <= served_by(fresh, since).count(1) <= 140


def test_stopped(fresh: Daemon) -> None:
    """New connections to a worker that is stopped (SIGSTOP) are answered by the other; it is killed and replaced."""
    victim = worker_pids(fresh)[1]
    os.kill(victim, signal.SIGSTOP)
    assert answered(fresh, 60, KILL_SECONDS) < 9.0
    until(lambda: not alive(victim), KILL_SECONDS)
    wait_for_replacement(fresh, 1, 2)
    errors = [line for line in fresh.lines() if line["level"] == "error"]
    assert [(line["message"], line["child"], line["pid"]) for line in errors] == [(KILLING, 1, victim)]
    assert errors[0]["silent_seconds"] >= 10


def test_two_of_three_stopped(home: Callable[[str], Path]) -> None:
    """New connections to two workers that are stopped at the same time are answered by the third, which stays."""
    with several_workers(3, home("three")) as daemon:
        pids = worker_pids(daemon)
        for number in (1, 2):
            os.kill(pids[number], signal.SIGSTOP)
        assert answered(daemon, 60, KILL_SECONDS) < 9.0
        until(lambda: len(served_by(daemon)) == 60)
        assert set(served_by(daemon)) == {3}
        for number in (1, 2):
            os.kill(pids[number], signal.SIGCONT)
        answered(daemon, 60, 3.0)
        assert worker_pids(daemon) == pids
        assert [line for line in daemon.lines() if line["level"] in {"error", "critical"}] == []
        assert "Traceback" not in daemon.log_text()


def test_both_stopped(fresh: Daemon) -> None:
    """Workers that are stopped at the same time are replaced one after the other; then all is well."""
    pids = worker_pids(fresh)
    for pid in pids.values():
        os.kill(pid, signal.SIGSTOP)
    for number in (1, 2):
        until(partial(is_serving, fresh, number, 2), KILL_SECONDS + START_SECONDS)
    answered(fresh, 40, START_SECONDS)
    said = [line["message"] for line in fresh.lines() if line["message"] in {KILLING, "worker started"}]
    assert said == ["worker started"] * 2 + [KILLING, "worker started"] * 2


def test_parent_and_workers_stopped(fresh: Daemon) -> None:
    """A machine that stands still for longer than a worker may be silent costs no worker."""
    pids = worker_pids(fresh)
    for pid in (fresh.process.pid, *pids.values()):
        os.kill(pid, signal.SIGSTOP)
    time.sleep(11)
    for pid in (fresh.process.pid, *pids.values()):
        os.kill(pid, signal.SIGCONT)
    began = time.monotonic()
    until(lambda: answered(fresh, 4, START_SECONDS) > 0 and time.monotonic() > began + 3, START_SECONDS)
    assert worker_pids(fresh) == pids


def test_one_that_takes_long_to_end(home: Callable[[str], Path]) -> None:
    """A worker that finishes responses after its own SIGTERM gets no new connections; the other has them."""
    path = home("draining")
    small_root(path / "images")
    write(path / "images" / "wide.img", wide_bytes())
    put_catalog(path / "images", [entry("disk"), entry("wide", "wide.img")])
    with two_workers(path, "--shutdown-grace-secs=60") as daemon, ExitStack() as stack:
        conns = [stack.enter_context(daemon.dial(receive_buffer=65536)) for _ in range(8)]
        for number, conn in enumerate(conns):
            conn.ask("GET", "/healthz", {"X-Request-Id": f"who-{number}"})
            conn.send(head("GET", "/v1/images/wide"))
            assert conn.reply_head().length == WIDE_SIZE
        assert 1 in {daemon.complete(f"who-{number}")["worker"] for number in range(8)}
        os.kill(worker_pids(daemon)[1], signal.SIGTERM)
        daemon.line(lambda line: line["message"] == "draining")
        answered(daemon, 60, 3.0)
        assert alive(worker_pids(daemon)[1])


def test_nobody_is_left(fresh: Daemon) -> None:
    """While all workers wait for their next start, clients are refused rather than left waiting; then all is well."""
    kill_until_it_waits(fresh, 1, 4.0)
    kill_until_it_waits(fresh, 2, 1.0)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", fresh.port), 1).close()
    until(lambda: reachable(fresh), START_SECONDS)
    answered(fresh, 40, START_SECONDS)


def reachable(daemon: Daemon) -> bool:
    try:
        return daemon.ask("/healthz").status == 200
    except OSError:
        return False


def test_unix_socket(home: Callable[[str], Path]) -> None:
    """A UNIX socket, which all workers share, is served on while one waits for its next start."""
    path = home("unix")
    address = str(path / "socket")
    endpoints = ("--endpoint", "tcp:0:interface=127.0.0.1", "--endpoint", f"unix:{address}")
    with two_workers(path, *endpoints, addresses=2) as daemon:
        kill_until_it_waits(daemon, 1, 1.0)
        for _ in range(20):
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(3)
            connection.connect(address)
            with RawConnection(connection) as conn:
                assert conn.ask("GET", "/v1/images/disk").body == DISK
        answered(daemon, 20, 3.0)
