"""Timers of less than a millisecond: real ones, in a reactor that is turned by hand."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from tests.streaming.tcp_pair import ManualReactor, descriptors

from aero_storage.linux import short_timers
from aero_storage.linux.short_timers import ShortTimers

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def reactor() -> Iterator[ManualReactor]:
    """A reactor."""
    made = ManualReactor()
    yield made
    made.close()


@pytest.fixture
def timers(reactor: ManualReactor) -> Iterator[ShortTimers]:
    """Timers."""
    made = ShortTimers(reactor, reactor)
    made.start()
    yield made
    made.stop()


def turn_until(reactor: Any, calls: list[int], count: int) -> None:
    deadline = time.monotonic() + 5
    while len(calls) < count and time.monotonic() < deadline:
        reactor.turn(0.1)


def test_order(reactor: ManualReactor, timers: ShortTimers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls come in the order in which they are due, whichever was asked for first; none comes early."""
    calls: list[int] = []
    began = reactor.seconds()
    with monkeypatch.context() as patch:
        patch.setattr(reactor, "seconds", lambda: began)  # one moment for all, however busy the machine is
        for delay in (900, 300, 600):
            timers.call_later(delay * 1e-6, lambda delay=delay: calls.append(delay))  # type: ignore[misc]
    turn_until(reactor, calls, 3)
    assert calls == [300, 600, 900]
    assert reactor.seconds() - began >= 900e-6


def test_cancelled(reactor: ManualReactor, timers: ShortTimers) -> None:
    """A call that is cancelled is not made, also by a call that is due with it."""
    calls: list[int] = []
    second = timers.call_later(2e-6, lambda: calls.append(2))

    def first() -> None:
        calls.append(1)
        if 2 not in calls:
            second.cancel()

    timers.call_later(1e-6, first)
    timers.call_later(300e-6, lambda: calls.append(3)).cancel()
    turn_until(reactor, calls, 2)
    assert calls in ([1], [2, 1])


def test_a_call_that_asks_for_another(reactor: ManualReactor, timers: ShortTimers) -> None:
    """A call may ask for the next."""
    calls: list[int] = []

    def call() -> None:
        calls.append(len(calls))
        if len(calls) < 5:
            timers.call_later(50e-6, call)

    timers.call_later(0.0, call)
    turn_until(reactor, calls, 5)
    assert calls == [0, 1, 2, 3, 4]


def test_long_ones_are_the_reactors(reactor: ManualReactor, timers: ShortTimers) -> None:
    """A millisecond and more is left to the reactor, and so is all when there is no timerfd."""
    made = timers.call_later(0.001, list)
    assert made in reactor.getDelayedCalls()
    made.cancel()
    without = ShortTimers(reactor, reactor)
    made = without.call_later(0.0, list)
    assert made in reactor.getDelayedCalls()
    made.cancel()


def test_without_timerfd(reactor: ManualReactor, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system without timerfd is no failure."""
    monkeypatch.setattr(short_timers, "_LIBC", object())
    made = ShortTimers(reactor, reactor)
    made.start()
    made.call_later(0.0, list).cancel()
    made.stop()


def test_nothing_is_left(reactor: ManualReactor) -> None:
    """After the end no descriptor is open, nobody reads, and no call is made."""
    before = descriptors()
    made, calls = ShortTimers(reactor, reactor), []
    made.start()
    made.call_later(1e-6, lambda: calls.append(1))
    made.stop()
    reactor.turn(0.01)
    assert not calls
    assert descriptors() == before
    assert made not in reactor.getReaders()
