"""Resident memory with clients that read a byte now and then."""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack

from bench import data
from bench.client import HOST, SECONDS, dial, fetch_range, receive_head, request
from bench.errors import BenchError
from bench.processes import kernel_socket_bytes
from bench.results import IDLE, WHOLE_IMAGE, Memory
from bench.servers import Server

IDLE_CLIENTS = 10_000
FILES_NEEDED = IDLE_CLIENTS + 500
_RECEIVE_BUFFER = 4096
_SEGMENT = 1400
_TICK_SECONDS = 0.5
_SMALL = 4096
_AT_ONCE = 200
"""Idle clients that connect before the next pause: less than the queue of the listening socket."""


def raise_file_limit() -> None:
    """Let this process and the servers open enough files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < FILES_NEEDED:
        raise BenchError(
            f"{IDLE_CLIENTS:,} clients need {FILES_NEEDED} open files; the hard limit is {hard} (ulimit -Hn)"
        )
    if soft < FILES_NEEDED:
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES_NEEDED, hard))


def measure(server: Server, counts: Sequence[int], range_size: int, seconds: float) -> list[Memory]:
    """Memory with each number of clients, in rising order, some seconds after the last of them came."""
    measured = [_now(server, 0, range_size)]
    with ExitStack() as stack:
        clients: list[socket.socket] = []
        for count in counts:
            clients += [stack.enter_context(_slow_client(server, range_size)) for _ in range(count - len(clients))]
            _read_slowly(clients, seconds)
            measured.append(_now(server, count, range_size))
    return measured


def measure_idle(server: Server, count: int, seconds: float) -> list[Memory]:
    """Memory with no client, and with `count` that keep their connections, seconds after the last of them came."""
    measured = [_now(server, 0, IDLE)]
    with ExitStack() as stack:
        for number in range(count):
            peer = stack.enter_context(dial(server.port))
            fetch_range(peer, request(server.kind.image(data.HOT), (0, _SMALL)), _SMALL)
            if number % _AT_ONCE == 0:
                time.sleep(0.01)
        time.sleep(seconds)
        measured.append(_now(server, count, IDLE))
    return measured


def _now(server: Server, clients: int, range_size: int) -> Memory:
    used = server.usage()
    return Memory(server.kind.name, clients, range_size, used.rss, used.pss, kernel_socket_bytes())


def _slow_client(server: Server, range_size: int) -> socket.socket:
    """A client that has read the head of its response."""
    peer = socket.socket()
    try:
        peer.settimeout(SECONDS)
        # Both before the connection is made: then they bound what the peer sends ahead, as they do on a real network,
        # where loopback's segments of 64 KiB would let the kernel swallow whole ranges.
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _SEGMENT)
        peer.connect((HOST, server.port))
        extent = None if range_size == WHOLE_IMAGE else (0, range_size)
        peer.sendall(request(server.kind.image(data.SPARSE), extent))
        head = receive_head(peer, 512)
        _require((206, range_size) if extent else (200, data.SPARSE_SIZE), (head.status, head.length))
    except BaseException:
        peer.close()
        raise
    return peer


def _require(wanted: tuple[int, int], got: tuple[int, int]) -> None:
    if got != wanted:
        raise BenchError(f"a client got status and length {got}, not {wanted}")


def _read_slowly(clients: Sequence[socket.socket], seconds: float) -> None:
    """Each client reads one byte every half second; BenchError if one was cut off."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for client in clients:
            if not client.recv(1):
                raise BenchError("the server cut off a slow client")
        time.sleep(_TICK_SECONDS)
