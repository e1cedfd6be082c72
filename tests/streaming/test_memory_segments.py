"""Bodies in memory that connections share: every byte in order, none copied, and each end is told once."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import pytest
from tests.streaming.tcp_pair import KIB, MIB, ConnectionPair, FakeFile, ManualReactor, pattern, result_of
from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionLost

from aero_storage.streaming.fair_queue import TURN_BYTES
from aero_storage.streaming.throttle import throttle

BODY = pattern(4 * MIB)


def test_between_writes_and_files(pair: ConnectionPair, file: FakeFile) -> None:
    """Bodies, files and writes leave in the order of the calls."""
    pair.server.write(b"before")
    pair.server.send_body(BODY, 5, b"head")
    pair.server.write(b"between")
    pair.server.send_file(file, 7, MIB)
    done = result_of(pair.server.send_body(BODY, 4 * MIB - 10, b"tail"))
    pair.run()
    expected = b"before" + b"head" + BODY[5:] + b"between" + pattern(MIB, 7) + b"tail" + BODY[-10:]
    assert pair.taken == expected
    assert done == [None]
    assert not pair.writes


def test_goes_at_once(pair: ConnectionPair) -> None:
    """Where nothing is queued a body is sent in the caller's turn, in one packet with its head."""
    done = result_of(pair.server.send_body(BODY[: 10 * KIB], 0, b"head"))
    assert done == [None]
    assert not pair.writes
    pair.take()
    assert pair.taken == b"head" + BODY[: 10 * KIB]
    assert pair.packets == 1


def test_done_when_the_kernel_has_the_last_byte(pair: ConnectionPair) -> None:
    """It is not done while the socket is full, and `unsent` is exact at every moment."""
    done = result_of(pair.server.send_body(BODY, 0, b"head"))
    while not done:
        pair.stall()
        assert len(pair.taken) <= 4 + 4 * MIB - pair.server.unsent
        pair.take(100 * KIB)
        pair.turn()
    assert pair.server.unsent == 0
    pair.run()
    assert pair.taken == b"head" + BODY


def test_many_connections_hold_one_copy(make_pair: Callable[..., ConnectionPair]) -> None:
    """However many connections wait with a body, no byte of it is copied for any of them."""
    pairs = [make_pair() for _ in range(20)]
    tracemalloc.start()
    try:
        for pair in pairs:
            pair.server.send_body(BODY, 0, b"head")
            pair.stall()
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert all(pair.server.unsent > 3 * MIB for pair in pairs)
    assert grown < MIB


def test_turns(pair: ConnectionPair, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body takes no more of one turn than a file may."""
    sent: list[int] = []

    def all_went(_socket: int, data: memoryview) -> int:
        sent.append(len(data))
        return len(data)

    monkeypatch.setattr("os.write", all_went)
    pair.server.send_body(BODY, 0, b"")
    assert sum(sent) == TURN_BYTES
    pair.turn(6)
    assert sum(sent) == 4 * MIB


def test_no_speed_limit(pair: ConnectionPair, reactor: ManualReactor, file: FakeFile) -> None:
    """Speed limits are for images: a body neither waits for them nor takes from them."""
    slow = throttle(reactor, 1, 0)
    assert slow is not None
    pair.server.pace = slow.pace()
    done = result_of(pair.server.send_body(BODY, 0, b"head"))
    pair.run()
    assert done == [None]
    assert pair.server.pace.left == 1
    assert result_of(pair.server.send_file(file, 0, 1)) == [None]
    pair.server.pace = None


def test_tells_when_bytes_are_taken(pair: ConnectionPair) -> None:
    """Each time that the kernel takes something of what waits, and not while it takes nothing."""
    calls: list[int] = []
    pair.server.send_body(BODY, 0, b"head")
    pair.stall()
    pair.server.on_taken = lambda: calls.append(pair.server.unsent)
    pair.turn(20)
    assert calls == []
    pair.run()
    assert calls == sorted(calls, reverse=True)
    assert calls[-1] == 0


@pytest.mark.parametrize("begun", [True, False])
def test_reset(pair: ConnectionPair, *, begun: bool) -> None:
    """A reset fails it once with ConnectionLost; what was not sent counts as unsent."""
    done = result_of(pair.server.send_body(BODY, 0, b"head")) if begun else []
    pair.reset()
    pair.turn(3)
    if not begun:
        done = result_of(pair.server.send_body(BODY, 0, b"head"))
    pair.turn(3)
    assert [type(one) for one in done] == [ConnectionLost]
    assert pair.server.unsent > 0
    assert len(pair.protocol.lost) == 1


def test_cancelled(pair: ConnectionPair) -> None:
    """A body that is given up would leave a hole: the connection is reset."""
    deferred = pair.server.send_body(BODY, 0, b"head")
    done = result_of(deferred)
    pair.stall()
    deferred.cancel()
    pair.turn(3)
    pair.take()
    assert [type(one) for one in done] == [CancelledError]
    assert pair.was_reset
