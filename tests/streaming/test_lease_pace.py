"""The speed of one lease: all of its connections share it equally, and those of others lose nothing by it."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from aero_storage.streaming.throttle import (
    BURST_SECONDS,
    LEAST_BYTES,
    TICK_SECONDS,
    Pace,
    SharedBucket,
    Throttle,
    shared_bucket,
    throttle,
)

MB = 1_000_000


@attrs.define(eq=False)
class Greedy:
    """A stream that sends all it may, `most` at a time, and waits when it may send nothing."""

    pace: Pace
    size: int = 10**9
    most: int = 10**9
    sent: int = 0

    def take_turn(self) -> None:
        while self.size and (count := min(self.size, self.most, self.pace.left)):
            self.size -= count
            self.sent += count
            self.pace.spend(count)
        if self.size:
            self.pace.wait(self)


def begin(limits: Throttle, lease: SharedBucket | None, number: int, size: int = 10**9) -> list[Greedy]:
    streams = [Greedy(limits.pace(), size) for _ in range(number)]
    for stream in streams:
        stream.pace.lease = lease
        stream.take_turn()
    return streams


def let_pass(clock: Clock, seconds: float) -> None:
    clock.pump([TICK_SECONDS] * round(seconds / TICK_SECONDS))


def speeds(clock: Clock, streams: list[Greedy], seconds: float = 10) -> list[float]:
    """Bytes a second of each stream, once bursts are spent."""
    let_pass(clock, 1)
    before = [stream.sent for stream in streams]
    let_pass(clock, seconds)
    return [(stream.sent - sent) / seconds for stream, sent in zip(streams, before, strict=True)]


def test_a_limit_of_leases_alone() -> None:
    """It takes a throttle, which holds back no connection without a lease."""
    limits = throttle(Clock(), 0, 0, 1)
    assert limits is not None
    (free,) = begin(limits, None, 1)
    assert free.size == 0


@pytest.mark.parametrize("number", [1, 4, 30])
def test_connections_of_one_lease(number: int) -> None:
    """However many connections a lease has, they are as fast as its limit, and each as fast as the others."""
    clock = Clock()
    streams = begin(Throttle(clock, 0, 0), shared_bucket(MB, clock), number)
    found = speeds(clock, streams)
    assert sum(found) == pytest.approx(MB, rel=0.02)
    assert found == pytest.approx([MB / number] * number, rel=0.1)


def test_a_slow_lease() -> None:
    """Where a tick brings less than a share of a usual stream, connections take turns, and none is left out."""
    clock = Clock()
    found = speeds(clock, begin(Throttle(clock, 0, 0), shared_bucket(10_000, clock), 5), 50)
    assert found == pytest.approx([2_000] * 5, rel=0.1)


def test_no_crumbs() -> None:
    """However many connections share a speed, a turn sends no less than the smallest share: the others wait."""
    clock = Clock()
    streams = begin(Throttle(clock, 0, 0), shared_bucket(MB, clock), 30)
    let_pass(clock, 1)
    for _ in range(20):
        before = [stream.sent for stream in streams]
        let_pass(clock, TICK_SECONDS)
        sent = [stream.sent - earlier for stream, earlier in zip(streams, before, strict=True)]
        assert sum(sent) == pytest.approx(MB * TICK_SECONDS, rel=0.1)
        assert min(count for count in sent if count) >= LEAST_BYTES


def test_two_leases() -> None:
    """Each lease has a speed of its own."""
    clock = Clock()
    limits = Throttle(clock, 0, 0)
    one, two = (begin(limits, shared_bucket(MB, clock), number) for number in (1, 3))
    found = speeds(clock, one + two)
    assert found[0] == pytest.approx(MB, rel=0.02)
    assert sum(found[1:]) == pytest.approx(MB, rel=0.02)


def test_others_have_what_a_lease_may_not_take() -> None:
    """Streams that wait for their lease take no share of the common limit from those without one."""
    clock = Clock()
    limits = Throttle(clock, 0, 10 * MB)
    leased = begin(limits, shared_bucket(MB, clock), 50)
    found = speeds(clock, leased + begin(limits, None, 1))
    assert sum(found[:-1]) == pytest.approx(MB, rel=0.05)
    assert found[-1] == pytest.approx(9 * MB, rel=0.05)


def test_the_common_limit_is_shared_with_leases() -> None:
    """Where the common limit is the narrower one, a lease below its own limit is as fast as the others."""
    clock = Clock()
    limits = Throttle(clock, 0, 4 * MB)
    found = speeds(clock, begin(limits, shared_bucket(100 * MB, clock), 2) + begin(limits, None, 2))
    assert found == pytest.approx([MB] * 4, rel=0.05)


def test_the_limit_of_a_connection_counts_too() -> None:
    """A connection of a lease is no faster than each connection may be."""
    clock = Clock()
    limits = Throttle(clock, MB, 0)
    found = speeds(clock, begin(limits, shared_bucket(10 * MB, clock), 2))
    assert found == pytest.approx([MB] * 2, rel=0.02)


def test_nobody_overtakes_in_a_lease() -> None:
    """A stream has to wait behind others of its lease; one without a lease, or with another, has not."""
    clock = Clock()
    limits, lease = Throttle(clock, 0, 10 * MB), shared_bucket(MB, clock)
    begin(limits, lease, 1)
    clock.advance(TICK_SECONDS * 0.9)
    new, free = limits.pace(), limits.pace()
    new.lease = lease
    assert new.left == 0
    assert free.left > 0
    free.lease = shared_bucket(MB, clock)
    assert free.left > 0


def test_a_lease_that_waits_no_more() -> None:
    """When all streams of a lease have ended, the next one begins at once, and no timer is left."""
    clock = Clock()
    limits, lease = Throttle(clock, 0, 0), shared_bucket(MB, clock)
    begin(limits, lease, 3, size=200_000)
    let_pass(clock, 3)
    assert not clock.getDelayedCalls()
    pace = limits.pace()
    pace.lease = lease
    assert pace.left == 150_000


@given(
    each=st.sampled_from([0, 1_000, 10**6]),
    total=st.sampled_from([0, 777, 10**6, 10**8]),
    rate=st.sampled_from([1, 900, 10**5, 10**7]),
    sizes=st.lists(st.tuples(st.integers(1, 10**6), st.integers(0, 2)), min_size=1, max_size=8),
    most=st.integers(5_000, 10**6),
)
def test_whatever_comes(each: int, total: int, rate: int, sizes: list[tuple[int, int]], most: int) -> None:
    """Streams of two leases and of none: each lease keeps to its limit, and something moves as long as it has to."""
    clock = Clock()
    limits = Throttle(clock, each, total)
    leases = [None, shared_bucket(rate, clock), shared_bucket(rate, clock)]
    streams = [(lease, begin(limits, leases[lease], 1, size)[0]) for size, lease in sizes]
    for _, stream in streams:
        stream.most = most
    slowest = min(limit for limit in (each, total, rate) if limit)
    for _ in range(10):
        before = sum(stream.sent for _, stream in streams)
        let_pass(clock, 2 / slowest + 2 * TICK_SECONDS if slowest < 1000 else 1)
        for lease in (1, 2):
            sent = sum(stream.sent for held, stream in streams if held == lease)
            assert sent <= (rate * (clock.seconds() + BURST_SECONDS) + 1) * (1 + 1e-6)
        assert sum(stream.sent for _, stream in streams) > before or not any(stream.size for _, stream in streams)
    assert bool(clock.getDelayedCalls()) == any(stream.size for _, stream in streams)
