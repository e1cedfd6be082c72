"""Reactor timers on the monotonic clock, immune to steps of the wall clock."""

from __future__ import annotations

import time

from twisted.internet.base import ReactorBase


def use_monotonic_clock(reactor: object) -> None:
    """Make a reactor measure its delays by the monotonic clock, before anything is scheduled.

    Twisted's reactors read the wall clock: after a step back by an hour no timer fires for an hour. A reactor that
    runs already, or has timers, is left unchanged: its timers were set by the other clock.
    """
    if isinstance(reactor, ReactorBase) and not reactor.running and not reactor.getDelayedCalls():
        reactor.seconds = time.monotonic
