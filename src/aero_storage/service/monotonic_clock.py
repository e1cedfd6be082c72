"""Timers that no step of the wall clock moves."""

from __future__ import annotations

import time

from twisted.internet.base import ReactorBase


def use_monotonic_clock(reactor: object) -> None:
    """Let a reactor measure its delays by the monotonic clock, before anything is scheduled.

    Twisted's own reactors read the wall clock: after a step back by an hour no timer fires for an hour. One that runs
    already, or has timers, is left as it is: they were set by the other clock.
    """
    if isinstance(reactor, ReactorBase) and not reactor.running and not reactor.getDelayedCalls():
        reactor.seconds = time.monotonic
