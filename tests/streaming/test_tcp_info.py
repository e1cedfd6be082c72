"""How much a peer may have read without our seeing it, over real sockets."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable

import pytest
from tests.packet_filter import drop_incoming_packets
from tests.streaming.tcp_pair import KIB, MIB, ConnectionPair, FakeFile

from aero_storage.linux.tcp_info import STEP_BYTES, max_unacknowledged_read

linux = pytest.mark.skipif(sys.platform != "linux", reason="TCP_INFO and packet filters are as Linux has them")


def read_until_seen(pair: ConnectionPair) -> int:
    """Read a kilobyte at a time until the server sees that anything was taken; how many bytes that took."""
    before, read = pair.server.progress(), 0
    while pair.server.progress() == before:
        taken = pair.take(KIB)
        assert taken, "all has been read, and the server has not seen it"
        read += taken
        pair.turn()
    pair.stall()
    return read


@pytest.mark.parametrize("fast", [0, 4 * MIB], ids=["slow", "fast first"])
@pytest.mark.parametrize("buffers", [None, 16 * KIB, 64 * KIB, 1 * MIB], ids=str)
def test_what_a_slow_peer_reads_unseen(
    make_pair: Callable[..., ConnectionPair], file: FakeFile, buffers: int | None, fast: int
) -> None:
    """It is never more than is allowed for, whatever the size of its buffer."""
    pair = make_pair(buffers=buffers)
    pair.server.send_file(file, 0, 8 * MIB)
    while len(pair.taken) < fast:
        pair.turn()
        pair.take(256 * KIB)
    pair.stall()
    for _ in range(4):
        allowed = pair.server.max_unacknowledged_read()
        assert 0 < read_until_seen(pair) <= allowed


def test_nobody_has_read_more_than_was_taken(make_pair: Callable[..., ConnectionPair], file: FakeFile) -> None:
    """Early in a connection little can be hidden."""
    pair = make_pair(buffers=16 * KIB)
    pair.server.send_file(file, 0, 8 * MIB)
    pair.stall()
    taken = pair.server.progress()
    assert taken is not None
    assert pair.server.max_unacknowledged_read() == taken < STEP_BYTES


@linux
def test_a_larger_window_hides_more(make_pair: Callable[..., ConnectionPair]) -> None:
    """A sixteenth of the largest window that the peer's scale allows (RFC 7323 §2.3)."""
    small, large = make_pair(buffers=16 * KIB), make_pair(buffers=1 * MIB)
    hidden = [max_unacknowledged_read(pair.server.socket, 1 << 40) - STEP_BYTES for pair in (small, large)]
    assert [(share + 1) * 16 % 65535 <= 16 for share in hidden]
    assert 65535 // 16 <= hidden[0] < hidden[1]


@linux
def test_a_peer_that_is_gone_hides_nothing(make_pair: Callable[..., ConnectionPair], file: FakeFile) -> None:
    """Whose system answers no more has read nothing."""
    pair = make_pair()
    pair.server.send_file(file, 0, 8 * MIB)
    pair.stall()
    assert pair.server.max_unacknowledged_read()
    drop_incoming_packets(pair.peer)
    deadline = time.monotonic() + 10
    while pair.server.max_unacknowledged_read():
        assert time.monotonic() < deadline
        pair.reactor.turn(0.01)


def test_connections_without_a_window() -> None:
    """A UNIX socket has none, and gives memory back by the piece."""
    ours, peer = socket.socketpair()
    with ours, peer:
        assert max_unacknowledged_read(ours, 1 << 40) == STEP_BYTES


def test_a_closed_socket() -> None:
    """Whoever is looked at while it goes hides nothing that matters."""
    closed = socket.socket()
    closed.close()
    assert max_unacknowledged_read(closed, 1 << 40) == STEP_BYTES
