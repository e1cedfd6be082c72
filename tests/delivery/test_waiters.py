"""Those who wait for one result: all are told, in order, a few in each turn; who has left is not."""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from aero_storage.delivery.waiters import AT_ONCE, Waiters


def turn(clock: Any) -> None:
    """One turn of a reactor: what is due now, not what is scheduled meanwhile."""
    for call in tuple(clock.getDelayedCalls()):
        function, arguments = call.func, call.args
        call.cancel()
        function(*arguments)


def note(told: list[tuple[int, object]], number: int, result: object) -> None:
    told.append((number, result))


def joined(waiters: Waiters[str], count: int, told: list[tuple[int, object]]) -> list[Deferred[str]]:
    deferreds = [waiters.join() for _ in range(count)]
    for number, deferred in enumerate(deferreds):
        deferred.addBoth(partial(note, told, number))
    return deferreds


def test_a_few_in_each_turn() -> None:
    """However many wait, one turn tells no more than a few; all are told in the end, in their order."""
    clock, told = Clock(), list[tuple[int, object]]()
    waiters = Waiters[str](clock)
    joined(waiters, 3 * AT_ONCE - 1, told)
    waiters.tell("news")
    assert len(told) == AT_ONCE
    turn(clock)
    assert len(told) == 2 * AT_ONCE
    turn(clock)
    assert told == [(number, "news") for number in range(3 * AT_ONCE - 1)]
    assert clock.getDelayedCalls() == []


def test_few_are_told_at_once() -> None:
    """Nobody waits for a turn without need."""
    clock, told = Clock(), list[tuple[int, object]]()
    waiters = Waiters[str](clock)
    joined(waiters, AT_ONCE, told)
    waiters.tell("news")
    assert len(told) == AT_ONCE
    assert clock.getDelayedCalls() == []


def test_who_leaves_meanwhile() -> None:
    """A waiter that is cancelled, before the result or while others are told, is not told."""
    clock, told = Clock(), list[tuple[int, object]]()
    waiters = Waiters[str](clock)
    deferreds = joined(waiters, 2 * AT_ONCE, told)
    deferreds[0].cancel()
    waiters.tell("news")
    deferreds[-1].cancel()
    turn(clock)
    cancelled = {number for number, result in told if isinstance(result, Failure) and result.check(CancelledError)}
    assert cancelled == {0, 2 * AT_ONCE - 1}
    assert len(told) == 2 * AT_ONCE


def test_who_joins_meanwhile() -> None:
    """Who joins after a result waits for the next one, also while others are told of the first."""
    clock, told, later = Clock(), list[tuple[int, object]](), list[tuple[int, object]]()
    waiters = Waiters[str](clock)
    joined(waiters, AT_ONCE + 1, told)
    waiters.tell("news")
    joined(waiters, 1, later)
    turn(clock)
    assert (len(told), later) == (AT_ONCE + 1, [])
    waiters.tell("more")
    assert later == [(0, "more")]
