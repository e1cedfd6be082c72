"""Limits on speed: never faster, hardly slower, shared fairly; and streams that are held back lose nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.streaming.tcp_pair import MIB, ConnectionPair, FakeFile, pattern, result_of
from twisted.internet.task import Clock

from aero_storage.streaming.fair_queue import TURN_BYTES
from aero_storage.streaming.throttle import BURST_SECONDS, TICK_SECONDS, Pace, Throttle, TokenBucket, throttle

RATES = st.integers(1, 10**9)
STEPS = st.lists(st.tuples(st.floats(0, 0.3), st.floats(0, 1)), max_size=40)
ROUNDING = 1e-6


@given(rate=RATES, steps=STEPS)
def test_never_faster(rate: int, steps: list[tuple[float, float]]) -> None:
    """Whenever and however much is spent: in no stretch of time more than its worth and a full bucket."""
    clock = Clock()
    bucket, spent, depth = TokenBucket(rate, clock.seconds), [(0.0, 0)], max(1.0, rate * BURST_SECONDS)
    for wait, part in steps:
        clock.advance(wait)
        count = int(bucket.left * part)
        bucket.spend(count)
        spent.append((clock.seconds(), count))
    for first in range(len(spent)):
        total, since = 0, spent[first][0]
        for at, count in spent[first:]:
            total += count
            assert total <= (rate * (at - since) + depth) * (1 + ROUNDING)


@given(
    rate=st.integers(40, 10**9),
    waits=st.lists(st.floats(TICK_SECONDS, BURST_SECONDS - TICK_SECONDS / 2), min_size=1, max_size=40),
)
def test_hardly_slower(rate: int, waits: list[float]) -> None:
    """Who takes all there is at ticks, and late ones too, loses none of what flowed in.

    From 40 bytes a second on: below, the byte that a bucket keeps of each tick is more than it has room for.
    """
    clock = Clock()
    bucket = TokenBucket(rate, clock.seconds)
    total = 0
    for wait in (0.0, *waits):
        clock.advance(wait)
        count = bucket.left
        bucket.spend(count)
        total += count
    worth = rate * (sum(waits) + BURST_SECONDS)
    assert total >= worth * (1 - ROUNDING) - max(1, rate * TICK_SECONDS / 2) - 1


def test_more_than_there_is() -> None:
    """To spend what is not there is a defect of the caller's."""
    bucket = TokenBucket(1000, Clock().seconds)
    with pytest.raises(ValueError, match="151 bytes are more than the 150"):
        bucket.spend(151)


def test_a_clock_that_goes_back() -> None:
    """A clock that is set back takes nothing away, and gives nothing twice."""
    now = [10.0]
    bucket = TokenBucket(1000, lambda: now[0])
    bucket.spend(100)
    now[0] = 5.0
    assert bucket.left == 50
    now[0] = 5.125
    assert bucket.left == 150


def test_no_limit() -> None:
    """Where nothing is limited there is nothing."""
    assert throttle(Clock(), 0, 0) is None


@attrs.define(eq=False)
class Greedy:
    """A stream that sends all it may of what it has, `most` at a time, and waits when it may send nothing."""

    pace: Pace
    size: int = 10**9
    sent: int = 0
    most: int = 10**9

    def take_turn(self) -> None:
        while self.size and (count := min(self.size, self.most, self.pace.left)):
            self.size -= count
            self.sent += count
            self.pace.spend(count)
        if self.size:
            self.pace.wait(self)


def begin(limits: Throttle, *sizes: int) -> list[Greedy]:
    streams = [Greedy(limits.pace(), size) for size in sizes]
    for stream in streams:
        stream.take_turn()
    return streams


def let_pass(clock: Clock, seconds: float) -> None:
    clock.pump([TICK_SECONDS] * round(seconds / TICK_SECONDS))


def test_each() -> None:
    """Every connection is as fast as its own limit, however many there are; a burst comes first."""
    clock = Clock()
    streams = begin(Throttle(clock, 1_000_000, 0), *[10**9] * 3)
    assert [stream.sent for stream in streams] == [150_000] * 3
    let_pass(clock, 10)
    assert [stream.sent for stream in streams] == pytest.approx([10_150_000] * 3, abs=50_000)


def test_all_together() -> None:
    """All together are as fast as the limit for all, each as fast as the others, the first one's burst apart."""
    clock = Clock()
    streams = begin(Throttle(clock, 0, 4_000_000), *[10**9] * 4)
    let_pass(clock, 10)
    assert sum(stream.sent for stream in streams) == pytest.approx(40_600_000, abs=200_000)
    assert [stream.sent for stream in streams[1:]] == pytest.approx([10_000_000] * 3, rel=0.05)
    before = [stream.sent for stream in streams]
    let_pass(clock, TICK_SECONDS)
    each = [stream.sent - sent for stream, sent in zip(streams, before, strict=True)]
    assert each == pytest.approx([50_000] * 4, rel=0.05)


def test_more_than_can_have_a_share() -> None:
    """Where shares would be too small some wait for the next tick, and nobody is left out."""
    clock = Clock()
    streams = begin(Throttle(clock, 0, 1_000_000), *[10**9] * 100)
    let_pass(clock, 20)
    later = [stream.sent for stream in streams[1:]]
    assert sum(later) == pytest.approx(20_000_000, rel=0.05)
    assert max(later) - min(later) <= 50_000


def test_both() -> None:
    """Where few are there their own limit counts; where many are, the common one."""
    clock = Clock()
    limits = Throttle(clock, 1_000_000, 3_000_000)
    few = begin(limits, 10**9, 10**9)
    let_pass(clock, 10)
    assert sum(stream.sent for stream in few) == pytest.approx(20_300_000, rel=0.02)
    many = few + begin(limits, *[10**9] * 4)
    before = sum(stream.sent for stream in many)
    let_pass(clock, 10)
    assert sum(stream.sent for stream in many) - before == pytest.approx(30_000_000, rel=0.04)


def test_what_one_leaves_others_have() -> None:
    """A stream that could not send its share, as its client takes little, leaves it to the others."""
    clock = Clock()
    limits = Throttle(clock, 0, 2_000_000)
    slow, fast = Greedy(limits.pace()), Greedy(limits.pace())
    slow.take_turn()
    fast.take_turn()
    clock.advance(TICK_SECONDS)
    slow.size = fast.sent = 0
    let_pass(clock, 10)
    assert fast.sent == pytest.approx(20_000_000, rel=0.02)


def test_nobody_overtakes() -> None:
    """Who comes while others wait for the common limit has to wait, too, even if there is something by now."""
    clock = Clock()
    limits = Throttle(clock, 0, 1_000_000)
    begin(limits, 10**9)
    clock.advance(TICK_SECONDS * 0.9)
    assert limits.pace().left == 0


def test_who_waits_for_its_own_limit_holds_up_nobody() -> None:
    """Who comes while others wait for their own limits alone may send at once."""
    clock = Clock()
    limits = Throttle(clock, 1_000_000, 10_000_000)
    begin(limits, 10**9, 10**9)
    assert limits.pace().left == 150_000
    let_pass(clock, TICK_SECONDS)
    assert limits.pace().left == 150_000


def test_no_timer_when_nobody_waits() -> None:
    """When all is sent the clock is left alone."""
    clock = Clock()
    (stream,) = begin(Throttle(clock, 1_000_000, 1_000_000), 600_000)
    let_pass(clock, 2)
    assert stream.sent == 600_000
    assert not clock.getDelayedCalls()


def test_a_stream_that_raises() -> None:
    """A defect of one stream stops none of the others."""
    clock = Clock()
    limits = Throttle(clock, 0, 1_000_000)

    class Broken:
        def take_turn(self) -> None:
            raise ZeroDivisionError

    begin(limits, 150_000)
    limits.pace().wait(Broken())
    (other,) = begin(limits, 10_000)
    with pytest.raises(ZeroDivisionError):
        clock.advance(TICK_SECONDS)
    clock.advance(TICK_SECONDS)
    assert other.size == 0


@given(
    each=st.sampled_from([0, 1, 1_000, 10**6]),
    total=st.sampled_from([1, 777, 10**6, 10**8]),
    sizes=st.lists(st.integers(1, 10**6), min_size=1, max_size=8),
    most=st.integers(5_000, 10**6),
)
def test_whatever_comes(each: int, total: int, sizes: list[int], most: int) -> None:
    """However many streams, however long: together they keep to the limit, and move as long as there is something."""
    clock = Clock()
    limits = Throttle(clock, each, total)
    streams = begin(limits, *sizes)
    for stream in streams:
        stream.most = most
    slowest = min(total, each or total)
    for _ in range(20):
        before = sum(stream.sent for stream in streams)
        let_pass(clock, 2 / slowest + 2 * TICK_SECONDS if slowest < 1000 else 1)
        sent = sum(stream.sent for stream in streams)
        assert sent <= (total * (clock.seconds() + BURST_SECONDS) + 1) * (1 + ROUNDING)
        assert sent > before or not any(stream.size for stream in streams)
    assert bool(clock.getDelayedCalls()) == any(stream.size for stream in streams)


# With real sockets


@pytest.fixture
def clock() -> Clock:
    """The time by which speed is limited."""
    return Clock()


@pytest.fixture
def paced(make_pair: Callable[..., ConnectionPair], clock: Clock) -> ConnectionPair:
    """A connection with large buffers that may send 1 MiB a second."""
    pair = make_pair(buffers=None)
    pair.server.pace = Throttle(clock, MIB, 0).pace()
    return pair


def test_a_file(paced: ConnectionPair, file: FakeFile, clock: Clock) -> None:
    """The bytes of a file go as fast as they may, in order, and the reactor rests meanwhile."""
    seen = result_of(paced.server.send_file(file, 0, MIB, b"head"))
    paced.server.write(b"behind")
    crumbs = TICK_SECONDS / 2 * MIB  # what is left of a burst that the socket did not take at once
    for allowed in (BURST_SECONDS * MIB, (BURST_SECONDS + 2 * TICK_SECONDS) * MIB):
        paced.run()
        assert allowed - crumbs <= len(paced.taken) - len(b"head") <= allowed
        assert not paced.writes
        clock.advance(2 * TICK_SECONDS)
    for _ in range(40):
        clock.advance(TICK_SECONDS)
        paced.run()
    assert paced.taken == b"head" + pattern(MIB) + b"behind"
    assert seen == [None]
    assert not clock.getDelayedCalls()


def test_the_head_is_not_held_back(paced: ConnectionPair, file: FakeFile) -> None:
    """The head of a response whose body has to wait goes at once: no packet is kept for what does not follow."""
    assert paced.server.pace is not None
    paced.server.pace.spend(paced.server.pace.left)
    paced.server.send_file(file, 0, MIB, b"head")
    assert paced.take() == len(b"head")


def test_speed_above_what_a_turn_takes(
    make_pair: Callable[..., ConnectionPair], file: FakeFile, clock: Clock
) -> None:
    """A limit that is never reached changes nothing, and streams still take turns."""
    pair = make_pair(buffers=None)
    pair.server.pace = Throttle(clock, 1000 * MIB, 0).pace()
    seen = result_of(pair.server.send_file(file, 0, 3 * MIB))
    assert pair.server.unsent >= 3 * MIB - TURN_BYTES
    pair.run()
    assert pair.taken == pattern(3 * MIB)
    assert seen == [None]


class Creeping(Clock):
    """A clock by which ten microseconds pass whenever it is asked."""

    def seconds(self) -> float:
        self.rightNow += 1e-5
        return super().seconds()


def test_no_crumbs(make_pair: Callable[..., ConnectionPair], file: FakeFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is allowed from one turn of the reactor to the next is no reason to send: it would do nothing else."""
    sent: list[int] = []

    def sendfile(_out: int, _file: int, _offset: int, count: int) -> int:
        sent.append(count)
        return count

    monkeypatch.setattr(os, "sendfile", sendfile)
    pair = make_pair()
    pair.server.pace = Throttle(Creeping(), MIB, 0).pace()
    pair.server.send_file(file, 0, 8 * MIB)
    pair.turn(200)
    assert len(sent) == 1


@pytest.mark.parametrize("how", ["abort", "reset", "cancel"])
def test_gone_while_held_back(paced: ConnectionPair, file: FakeFile, clock: Clock, how: str) -> None:
    """A connection that ends while it is held back ends at once, and is forgotten at the next tick."""
    done = paced.server.send_file(file, 0, MIB)
    seen = result_of(done)
    paced.run()
    endings: dict[str, Callable[[], Any]] = {
        "abort": paced.server.abortConnection,
        "reset": paced.reset,
        "cancel": done.cancel,
    }
    endings[how]()
    paced.turn(3)
    assert len(seen) == 1
    assert isinstance(seen[0], Exception)
    let_pass(clock, 1)
    assert not clock.getDelayedCalls()


def test_held_back_is_not_stalled(paced: ConnectionPair, file: FakeFile) -> None:
    """While we hold a stream back and its client has taken all, nobody says that the client stands still."""
    paced.server.send_file(file, 0, MIB)
    paced.run()
    assert paced.server.unsent
    assert paced.server.progress() is None
