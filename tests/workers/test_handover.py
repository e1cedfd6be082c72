"""A worker accepts at every socket, whatever becomes of the one that it belongs to."""

from __future__ import annotations

from collections import Counter

import attrs
from hypothesis import strategies as some
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from aero_storage.workers.handover import Handover

NUMBERS = (1, 2, 3)


@attrs.define(eq=False)
class Worker:
    """A worker, and at whose sockets it accepts."""

    listening: set[int]
    withdrawn: set[int]

    def take_over(self, number: int) -> None:
        assert number not in self.listening
        assert number not in self.withdrawn, "the reactor would take the socket for a lost one"
        self.listening.add(number)

    def give_back(self, number: int) -> None:
        self.listening.remove(number)


class Workers(RuleBasedStateMachine):
    """Workers that start, accept, fall silent, stop and end in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.withdrawn: set[int] = set()
        self.accepting: dict[int, Worker] = {}
        self.silent: set[int] = set()
        self.waiting: set[int] = set()
        self.left: set[int] = set()
        self.handover = Handover(self)
        for number in NUMBERS:
            self.handover.starting(number)

    def withdraw(self, number: int) -> None:
        assert number not in self.withdrawn
        assert not any(number in worker.listening for worker in self.accepting.values())
        self.withdrawn.add(number)

    def restore(self, number: int) -> None:
        self.withdrawn.remove(number)

    @rule(number=some.sampled_from(NUMBERS))
    def starts_and_is_ready(self, number: int) -> None:
        if number not in self.accepting:
            self.handover.starting(number)
            self.waiting.discard(number)
            self.left.discard(number)
            self.accepting[number] = Worker({number}, self.withdrawn)
            self.handover.ready(number, self.accepting[number])

    @rule(number=some.sampled_from(NUMBERS))
    def has_read_the_catalog_again(self, number: int) -> None:
        if number in self.accepting:
            self.handover.ready(number, self.accepting[number])

    @rule(number=some.sampled_from(NUMBERS), is_silent=some.booleans())
    def falls_silent(self, number: int, is_silent: bool) -> None:  # noqa: FBT001
        if number in self.accepting and is_silent != (number in self.silent):
            self.silent ^= {number}
            self.handover.pause(number, is_silent)

    @rule(number=some.sampled_from(NUMBERS), waits=some.booleans())
    def ends(self, number: int, waits: bool) -> None:  # noqa: FBT001
        self.accepting.pop(number, None)
        self.silent.discard(number)
        self.left.add(number)
        self.handover.leave(number)
        if waits:
            self.waiting.add(number)
            self.handover.wait(number)

    @invariant()
    def each_socket_is_served(self) -> None:
        """All workers that accept do so at the sockets of those that do not, and at no others' but their own."""
        absent = self.left | self.silent
        for number, worker in self.accepting.items():
            assert worker.listening == {number} | absent

    @invariant()
    def none_waits_in_vain(self) -> None:
        """The sockets of one that is not started for a while are withdrawn exactly while no worker accepts."""
        assert self.withdrawn == (set() if self.accepting else self.waiting)


TestWorkers = Workers.TestCase


def test_each_is_told_once() -> None:
    """A worker that stops, and then ends, is taken over once."""
    orders: list[str] = []

    class Noted(Worker):
        def take_over(self, number: int) -> None:
            super().take_over(number)
            orders.append(f"take over {number}")

    handover = Handover(Workers())
    for number in NUMBERS:
        handover.starting(number)
        handover.ready(number, Noted({number}, set()))
    handover.leave(2)
    handover.leave(2)
    handover.wait(2)
    assert Counter(orders) == {"take over 2": 2}
