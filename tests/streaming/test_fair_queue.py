"""The line of streams: who sends when, how much, and what a small answer changes."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, cast

import attrs
import pytest
from tests.streaming.tcp_pair import KIB, MIB, ConnectionPair, FakeFile, pattern, result_of

from aero_storage.streaming.fair_queue import SHORT_TURN_BYTES, SHORT_TURNS, TURN_BYTES, FairQueue


@attrs.define(eq=False)
class Greedy:
    """A stream that sends all it may of what it has, and stands in line again for the rest."""

    fair_queue: FairQueue
    name: str
    size: int
    sent: list[tuple[str, int]]

    def take_turn(self) -> None:
        count = min(self.fair_queue.left, self.size)
        self.size -= count
        self.sent.append((self.name, count))
        self.fair_queue.spend(count)
        if self.size:
            self.fair_queue.wait(self)


@attrs.define(eq=False)
class Turning:
    """A reactor that does what was put off when it fair_queue, and what was put off meanwhile in its next turn."""

    calls: list[Callable[[], object]] = attrs.field(factory=list)

    def callLater(self, delay: float, call: Callable[[], object]) -> None:
        assert delay == 0
        self.calls.append(call)

    def turn(self) -> None:
        calls, self.calls = self.calls, []
        for call in calls:
            call()


@pytest.fixture
def turning() -> Turning:
    return Turning()


@pytest.fixture
def fair_queue(turning: Turning) -> FairQueue:
    return FairQueue(cast("Any", turning))


def test_one_after_the_other(turning: Turning, fair_queue: FairQueue) -> None:
    """Streams send in the order in which they came, a turn's worth together; who needs less leaves the rest."""
    sent: list[tuple[str, int]] = []
    for name, size in (("a", 2 * TURN_BYTES), ("b", 1000), ("c", TURN_BYTES)):
        fair_queue.wait(Greedy(fair_queue, name, size, sent))
    assert sent == []
    by_turn = []
    while turning.calls:
        turning.turn()
        by_turn.append(tuple(sent))
        sent.clear()
    assert by_turn == [
        (("a", TURN_BYTES),),
        (("b", 1000), ("c", TURN_BYTES - 1000)),
        (("a", TURN_BYTES),),
        (("c", 1000),),
        (),
    ]


def test_short_after_small_answers(turning: Turning, fair_queue: FairQueue) -> None:
    """After a small answer fair_queue are short for a while, then long again."""
    sent: list[tuple[str, int]] = []
    fair_queue.shorten_turns()
    fair_queue.wait(Greedy(fair_queue, "a", SHORT_TURNS * SHORT_TURN_BYTES + TURN_BYTES, sent))
    while turning.calls:
        turning.turn()
    assert sent == [("a", SHORT_TURN_BYTES)] * SHORT_TURNS + [("a", TURN_BYTES)]


def test_idle(turning: Turning, fair_queue: FairQueue) -> None:
    """Where nobody sends and nobody waits the reactor is left alone; small answers order no turn."""
    fair_queue.shorten_turns()
    assert not turning.calls
    fair_queue.spend(5)
    turning.turn()
    assert not turning.calls


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The socket of each byte sent, and how many: sockets here take everything."""
    sent: list[int] = []

    def sendfile(_out: int, _file: int, _offset: int, count: int) -> int:
        sent.append(count)
        return count

    monkeypatch.setattr(os, "sendfile", sendfile)
    return sent


@pytest.mark.parametrize("small", [False, True])
def test_all_connections_share_a_turn(
    make_pair: Callable[..., ConnectionPair], file: FakeFile, sent: list[int], *, small: bool
) -> None:
    """Between two looks for requests the connections of a port send a turn's worth together, none left out."""
    first = make_pair()
    pairs = [first, *(make_pair(like=first) for _ in range(3))]
    for pair in pairs:
        result_of(pair.server.send_file(file, 0, 4 * MIB))
    most = SHORT_TURN_BYTES if small else TURN_BYTES
    while any(pair.server.unsent for pair in pairs):
        if small:
            first.server.fair_queue.shorten_turns()
        sent.clear()
        first.turn()
        assert 0 < sum(sent) <= most
        unsent = [pair.server.unsent for pair in pairs]
        assert max(unsent) - min(unsent) <= 2 * TURN_BYTES  # the first had sent before the others came


def test_a_thread_that_has_read_waits_too(
    make_pair: Callable[..., ConnectionPair], file: FakeFile, sent: list[int]
) -> None:
    """What threads bring in all at once goes out turn by turn."""
    first = make_pair()
    first.evict_everything()
    pairs = [first, *(make_pair(like=first) for _ in range(3))]
    for pair in pairs:
        pair.server.send_file(file, 0, 1 * MIB)
    while first.disk.jobs:
        first.disk.step()
    assert sum(sent) == TURN_BYTES
    for number in range(2, 5):
        first.turn()
        assert sum(sent) == number * TURN_BYTES


def test_a_small_answer_shortens_turns(pair: ConnectionPair) -> None:
    """What is written through is a small answer."""
    pair.server.write_through(b"small")
    pair.server.fair_queue.spend(1)
    pair.turn()
    assert pair.server.fair_queue.left == SHORT_TURN_BYTES


def test_gone_while_it_waits(pair: ConnectionPair, file: FakeFile) -> None:
    """A connection that is lost while it stands in line is passed over."""
    pair.server.fair_queue.spend(TURN_BYTES)
    seen = result_of(pair.server.send_file(file, 0, MIB, b"head"))
    assert not pair.writes
    pair.server.abortConnection()
    pair.turn(3)
    assert len(seen) == 1
    assert pair.server.fair_queue.left == TURN_BYTES


def test_closing_while_it_waits(pair: ConnectionPair, file: FakeFile) -> None:
    """To close a connection that stands in line does not make the reactor spin, and everything goes out first."""
    pair.server.fair_queue.spend(TURN_BYTES)
    pair.server.send_file(file, 0, 300 * KIB, b"head")
    pair.server.write(b"behind")
    pair.server.loseConnection()
    pair.run()
    assert pair.taken == b"head" + pattern(300 * KIB) + b"behind"
    assert pair.at_end
