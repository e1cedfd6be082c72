"""Delays are measured by a clock that is never set."""

from __future__ import annotations

import time

from twisted.internet.selectreactor import SelectReactor
from twisted.internet.task import Clock

from aero_storage.service.monotonic_clock import use_monotonic_clock


def test_reactor_measures_by_the_monotonic_clock() -> None:
    """A fresh reactor's delays count from the monotonic clock."""
    reactor = SelectReactor()
    use_monotonic_clock(reactor)
    assert reactor.callLater(10, list).getTime() - time.monotonic() <= 10


def test_timers_that_are_set_stay_true() -> None:
    """A reactor with timers keeps the clock that they were set by."""
    reactor = SelectReactor()
    call = reactor.callLater(10, list)
    use_monotonic_clock(reactor)
    assert 0 < call.getTime() - reactor.seconds() <= 10


def test_clocks_of_tests() -> None:
    """What is no reactor of Twisted's is left alone."""
    clock = Clock()
    use_monotonic_clock(clock)
    clock.advance(5)
    assert clock.seconds() == 5
