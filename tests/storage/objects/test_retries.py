"""How often a request is tried, how long it waits in between, and that it ends in time."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aero_storage.storage.objects.retries import FULL_TRY, LAST_TRY, Retries
from aero_storage.storage.objects.store_failures import DENIED, ERROR, THROTTLED, TIMEOUT, StoreFailureError


@attrs.define
class Time:
    now: float = 1000.0
    pauses: list[float] = attrs.field(factory=list)

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@attrs.define
class Attempts:
    """Fails so many times, and takes some time for each."""

    time: Time
    seconds: float
    takes: Callable[[float], float]
    result: str = ERROR
    failures: float = float("inf")
    transfer: float = 0.0
    shares: list[float] = attrs.field(factory=list)

    def __call__(self, limit: float) -> str:
        self.shares.append(round((limit - self.transfer) / self.seconds, 9))
        self.time.now += min(self.takes(self.shares[-1]), limit)
        if len(self.shares) <= self.failures:
            raise StoreFailureError(self.result, f"failure {len(self.shares)}")
        return "done"


def run(attempts: Attempts, random: float = 1.0) -> str:
    time = attempts.time
    return Retries(time.clock, time.sleep, lambda: random).run(attempts, attempts.seconds, transfer=attempts.transfer)


def test_success_needs_one() -> None:
    """What succeeds is tried once, with a share of the time under a third."""
    attempts = Attempts(Time(), 20, lambda _: 0.1, failures=0)
    assert run(attempts) == "done"
    assert attempts.shares == [FULL_TRY]
    assert FULL_TRY <= 1 / 3


@pytest.mark.parametrize("result", [ERROR, THROTTLED, TIMEOUT])
def test_pauses_grow(result: str) -> None:
    """Pauses double up to a tenth of the time."""
    attempts = Attempts(Time(), 20, lambda _: 0, result, failures=7)
    assert run(attempts) == "done"
    assert attempts.time.pauses == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0])


def test_jitter() -> None:
    """Each pause is at random between half of that and all of it, so that clients do not come back together."""
    attempts = Attempts(Time(), 20, lambda _: 0, failures=2)
    run(attempts, random=0.0)
    assert attempts.time.pauses == pytest.approx([0.05, 0.1])


def test_no_second_try() -> None:
    """What no further try helps is not tried again."""
    attempts = Attempts(Time(), 20, lambda _: 0, DENIED)
    with pytest.raises(StoreFailureError, match="failure 1"):
        run(attempts)
    assert attempts.time.pauses == []


def test_hanging_tries() -> None:
    """Of tries that hang three fit; the error is that of the last."""
    attempts = Attempts(Time(), 20, lambda _: 99)
    with pytest.raises(StoreFailureError, match="failure 3"):
        run(attempts)


def test_a_store_that_comes_back_late() -> None:
    """A store that comes back after 17 of 20 seconds is asked once more, with the time that is left."""
    time = Time()
    attempts = Attempts(time, 20, lambda _: 0)
    start = time.now

    def attempt(limit: float) -> str:
        attempts.failures = 0 if time.now - start >= 17 else float("inf")
        return attempts(limit)

    assert Retries(time.clock, time.sleep, lambda: 1.0).run(attempt, 20) == "done"
    assert attempts.shares[-1] == LAST_TRY


@given(st.floats(0.01, 1000), st.floats(0, 1), st.lists(st.floats(0, 1), min_size=1, max_size=50), st.integers(0, 60))
def test_the_time_is_kept(seconds: float, random: float, speeds: list[float], failures: int) -> None:
    """However long tries take, all together end within the time limit."""
    left = iter(speeds * 50)
    time = Time()
    attempts = Attempts(time, seconds, lambda share: next(left, 1.0) * share * seconds, failures=failures)
    start = time.now
    try:
        run(attempts, random)
    except StoreFailureError:
        assert time.now - start >= 0.3 * seconds
    assert time.now - start <= seconds * (1 + 1e-6)


def test_content_that_takes_long() -> None:
    """A write has more time for each try by its content; three tries fit, each as slow as it may be."""
    attempts = Attempts(Time(), 20, lambda _: 999, transfer=32)
    start = attempts.time.now
    with pytest.raises(StoreFailureError, match="failure 3"):
        run(attempts)
    assert attempts.time.now - start <= 20 + 3 * 32


@pytest.mark.parametrize("takes", [5.0, 10.0, 31.0])
def test_content_that_is_refused_late(takes: float) -> None:
    """A large write that fails again and again after a part of its time is not tried for ever."""
    attempts = Attempts(Time(), 20, lambda _: takes, transfer=32)
    start = attempts.time.now
    with pytest.raises(StoreFailureError):
        run(attempts)
    assert attempts.time.now - start <= 20 + 3 * 32 + takes


def test_content_that_is_refused_at_once() -> None:
    """A large write that fails at once is tried for no longer than a read."""
    attempts = Attempts(Time(), 20, lambda _: 0.01, transfer=128)
    start = attempts.time.now
    with pytest.raises(StoreFailureError):
        run(attempts)
    assert attempts.time.now - start <= 21


def test_waits_are_told_of() -> None:
    """Each failure that is followed by another try is told of before the pause, with the time since the first try."""
    attempts, told = Attempts(Time(), 20, lambda _: 3, failures=2), list[tuple[str, int, float]]()
    time = attempts.time
    retries = Retries(time.clock, time.sleep, lambda: 1.0)
    retries.run(attempts, 20, waits=lambda failure, waited: told.append((str(failure), len(time.pauses), waited)))
    assert told == [("failure 1", 0, 3), ("failure 2", 1, pytest.approx(6.1))]
