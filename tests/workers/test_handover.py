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

    number: int
    silent: set[int]
    withdrawn: set[int]
    listening: set[int] = attrs.field(factory=set)

    def take_over(self, number: int) -> None:
        assert self.number not in self.silent, "it would not accept there either"
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
            self.accepting[number] = Worker(number, self.silent, self.withdrawn)
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
        """All workers that are heard accept at the sockets of those that do not, and none at other sockets."""
        absent = self.left | self.silent
        for number, worker in self.accepting.items():
            assert worker.listening <= absent - {number}
            assert number in self.silent or worker.listening == absent

    @invariant()
    def none_waits_in_vain(self) -> None:
        """The sockets of one that is not started for a while are withdrawn exactly while no worker listens there."""
        listening = set().union(*(worker.listening for worker in self.accepting.values()))
        assert self.withdrawn == self.waiting - listening


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
        handover.ready(number, Noted(number, set(), set()))
    handover.leave(2)
    handover.leave(2)
    handover.wait(2)
    assert Counter(orders) == {"take over 2": 2}


def test_paused_helpers() -> None:
    """Sockets go to workers that are heard; one that is silent has them once it is heard again."""
    silent: set[int] = set()
    workers = {number: Worker(number, silent, set()) for number in NUMBERS}
    handover = Handover(Workers())
    for number, worker in workers.items():
        handover.starting(number)
        handover.ready(number, worker)
    silent.add(2)
    handover.pause(2, True)  # noqa: FBT003
    handover.leave(3)
    assert [workers[number].listening for number in (1, 2)] == [{2, 3}, set()]
    silent.discard(2)
    handover.pause(2, False)  # noqa: FBT003
    assert [workers[number].listening for number in (1, 2)] == [{3}, {3}]


def test_only_paused_helpers() -> None:
    """Sockets of one that is not started for a while are withdrawn where the only other worker is silent."""
    sockets = Workers()
    sockets.starts_and_is_ready(1)
    sockets.starts_and_is_ready(2)
    sockets.ends(3, waits=False)
    sockets.falls_silent(1, is_silent=True)
    sockets.ends(2, waits=True)
    assert sockets.withdrawn == {2}
    sockets.falls_silent(1, is_silent=False)
    assert sockets.withdrawn == set()
    assert sockets.accepting[1].listening == {2, 3}
