"""Several workers at other addresses than a TCP port: UNIX sockets, TLS, and what they cannot share."""

from __future__ import annotations

import os
import signal
import socket
import ssl
from functools import partial
from typing import TYPE_CHECKING

import pytest
from tests.blackbox.harness import until
from tests.blackbox.image_roots import DISK
from tests.blackbox.raw_http import RawConnection
from tests.blackbox.worker_processes import START_SECONDS, alive, two_workers, wait_for_replacement, worker_pids
from tests.certificates import write_certificate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.blackbox.harness import Daemon


def dead(pid: int) -> bool:
    return not alive(pid)


def image_through(connection: socket.socket) -> bytes:
    connection.settimeout(START_SECONDS)
    with RawConnection(connection) as conn:
        return conn.ask("GET", "/v1/images/disk").body


def both_serve(daemon: Daemon, dial: Callable[[], socket.socket]) -> None:
    """Ask through connection after connection until both workers have answered."""

    def look() -> bool:
        with RawConnection(dial()) as conn:
            assert conn.ask("GET", "/v1/images/disk").body == DISK
        done = [line for line in daemon.lines() if line["message"] == "request complete"]
        return {line["worker"] for line in done} == {1, 2}

    until(look, START_SECONDS)


def test_unix(home: Callable[[str], Path]) -> None:
    """Workers share a UNIX socket: its file outlives each of them, and goes with the daemon."""
    path = home("unix")
    address = str(path / "socket")

    def dial() -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(address)
        return connection

    endpoints = ("--endpoint", "tcp:0:interface=127.0.0.1", "--endpoint", f"unix:{address}")
    with two_workers(path, *endpoints, addresses=2) as daemon:
        assert image_through(dial()) == DISK
        for number, how in ((1, signal.SIGKILL), (2, signal.SIGTERM)):
            victim = worker_pids(daemon)[number]
            os.kill(victim, how)
            until(partial(dead, victim))  # until then it may accept one more
            assert image_through(dial()) == DISK
            wait_for_replacement(daemon, number, 2 * 2)
        assert daemon.ask("/v1/images/disk").body == DISK
        assert daemon.stop() == 0
    assert not (path / "socket").exists()


def test_tls(home: Callable[[str], Path]) -> None:
    """Workers speak TLS with one certificate; a successor does too, though the files of the key are gone by then."""
    path = home("tls")
    write_certificate(path)
    context = ssl.create_default_context(cafile=path / "cert.pem")
    with two_workers(path, "--endpoint", "ssl:0:interface=127.0.0.1:privateKey=key.pem:certKey=cert.pem") as daemon:

        def dial() -> socket.socket:
            plain = socket.create_connection(("127.0.0.1", daemon.port), START_SECONDS)
            return context.wrap_socket(plain, server_hostname="localhost")

        both_serve(daemon, dial)
        (path / "key.pem").unlink()
        (path / "cert.pem").unlink()
        for number in (1, 2):
            os.kill(worker_pids(daemon)[number], signal.SIGKILL)
            wait_for_replacement(daemon, number, 2)
        assert [image_through(dial()) for _ in range(8)] == [DISK] * 8
        assert daemon.stop() == 0


def test_ipv6(home: Callable[[str], Path]) -> None:
    """An IPv6 address is shared like any other."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    with two_workers(home("six"), "--listen-addr", "[::1]:0") as daemon:
        both_serve(daemon, lambda: socket.create_connection(("::1", daemon.port), START_SECONDS))
