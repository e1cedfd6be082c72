"""How much of a file waits in a socket: little for a client that does not read, all that fits for one that does."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest
from tests.streaming.tcp_pair import KIB, MIB, ConnectionPair, FakeFile

from aero_storage.linux.notsent_lowat import TRIAL_BYTES, TRIAL_SECONDS, UNSENT_BYTES, SpeedTest

WINDOW = 512 * KIB
"""More than a client's window takes before it has read anything."""


def limit_of(pair: ConnectionPair) -> int:
    return int(pair.server.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT))


@pytest.fixture
def wide(make_pair: Callable[..., ConnectionPair]) -> ConnectionPair:
    """A connection whose sockets take what the system lets them."""
    return make_pair(buffers=None)


def test_client_that_does_not_read(wide: ConnectionPair, file: FakeFile) -> None:
    """Of a file that a client does not read little is with the kernel: the rest can still be checked."""
    wide.server.send_file(file, 0, 8 * MIB, b"head")
    wide.stall()
    assert 8 * MIB - wide.server.unsent < WINDOW + 2 * UNSENT_BYTES
    assert limit_of(wide) == UNSENT_BYTES


def test_client_that_reads(wide: ConnectionPair, file: FakeFile) -> None:
    """The limit is lifted for a client that takes megabytes in no time, and the bytes are what they should be."""
    limits: list[int] = []
    for _ in range(20):
        wide.server.send_file(file, 0, 4 * MIB)
        while wide.server.unsent:
            wide.turn()
            wide.take()
        limits.append(limit_of(wide))
    assert max(limits) > UNSENT_BYTES
    assert limits == sorted(limits)


def test_trial() -> None:
    """Fast is who takes a mebibyte within the time; a pause begins the trial anew, and pieces count together."""
    now = [100.0]
    trial = SpeedTest(lambda: now[0])
    assert not trial.passed(TRIAL_BYTES)
    now[0] += TRIAL_SECONDS * 1.1
    assert not trial.passed(TRIAL_BYTES)
    now[0] += TRIAL_SECONDS * 0.9
    assert not trial.passed(TRIAL_BYTES - 1)
    assert trial.passed(1)


def test_slow_for_ever() -> None:
    """A client that takes little at a time, and late, never passes."""
    now = [0.0]
    trial = SpeedTest(lambda: now[0])
    for _ in range(1000):
        now[0] += TRIAL_SECONDS / 4
        assert not trial.passed(TRIAL_BYTES // 8)
