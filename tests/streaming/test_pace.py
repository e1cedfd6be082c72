"""The pace of a connection: how many bytes may go out when."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from aero_storage.streaming.pace import BURST_SECONDS, Bucket, Rates


@given(
    rate=st.integers(1, 10**10),
    steps=st.lists(st.tuples(st.floats(0, 100), st.integers(1, 1 << 20)), max_size=50),
)
def test_never_more_than_the_rate(rate: int, steps: list[tuple[float, int]]) -> None:
    """However it is asked, what was allowed is what the rate allows in the time that passed, and one burst."""
    clock = Clock()
    bucket, sent = Bucket(rate, clock.seconds), 0
    for pause, piece in steps:
        clock.advance(pause)
        count = min(piece, bucket.allowance())
        bucket.spend(count)
        sent += count
    assert sent <= rate * (clock.seconds() + BURST_SECONDS) * (1 + 1e-9) + 1


@given(rate=st.integers(1, 10**10), debt=st.integers(0, 1 << 30))
def test_something_may_go_after_the_delay(rate: int, debt: int) -> None:
    """Whoever waits as long as he is told finds something to send, also after a debt."""
    clock = Clock()
    bucket = Bucket(rate, clock.seconds)
    bucket.spend(bucket.allowance() + debt)
    assert bucket.allowance() == 0
    clock.advance(bucket.delay() * (1 + 1e-9) + 1e-9)
    assert bucket.allowance() > 0


def test_all_together() -> None:
    """Connections share what is for all, and each keeps to its own."""
    clock = Clock()
    rates = Rates(clock, 1000, 1500)
    one, two = rates.begin(), rates.begin()
    assert one is not None
    assert two is not None
    one.spend(one.allowance())
    two.spend(two.allowance())
    clock.advance(10 * BURST_SECONDS)
    assert one.allowance() == 100
    one.spend(100)
    assert two.allowance() == 50


def test_no_limit() -> None:
    """Without limits there is no pace to be asked."""
    assert Rates(Clock(), 0, 0).begin() is None
