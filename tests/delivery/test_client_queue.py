"""Places and waiting requests by client, beside a model that looks at everything each time."""

from __future__ import annotations

from itertools import count

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from aero_storage.delivery.client_queue import ClientQueue

CLIENTS = "abcde"


@attrs.define(eq=False)
class Entry:
    """A place or a request of a client, with its number in the order of arrival."""

    client: str
    number: int


class Books(RuleBasedStateMachine):
    """Whatever comes and goes, the queue names the same as a look at all places and all requests."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: ClientQueue[Entry, Entry] = ClientQueue()
        self.held: list[Entry] = []
        self.waiting: list[Entry] = []
        self.numbers = count()

    @rule(client=st.sampled_from(CLIENTS))
    def hold(self, client: str) -> None:
        self.held.append(Entry(client, next(self.numbers)))
        self.queue.hold(client, self.held[-1])

    @rule(client=st.sampled_from(CLIENTS))
    def join(self, client: str) -> None:
        self.waiting.append(Entry(client, next(self.numbers)))
        self.queue.join(client, self.waiting[-1])

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        entry = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
        self.queue.release(entry)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        entry = self.waiting.pop(data.draw(st.integers(0, len(self.waiting) - 1)))
        self.queue.leave(entry.client, entry)

    @precondition(lambda self: self.waiting)
    @rule()
    def admit(self) -> None:
        entry, _ = self.queue.next()
        self.waiting.remove(entry)
        self.held.append(entry)
        self.queue.leave(entry.client, entry)
        self.queue.hold(entry.client, entry)

    def places_of(self, client: str) -> int:
        return sum(entry.client == client for entry in self.held)

    def waiting_of(self, client: str) -> int:
        return sum(entry.client == client for entry in self.waiting)

    @invariant()
    def counts(self) -> None:
        assert len(self.queue) == len(self.waiting)
        assert self.queue.clients == len({entry.client for entry in self.held + self.waiting})
        assert [self.queue.waiting_of(client) for client in CLIENTS] == list(map(self.waiting_of, CLIENTS))

    @invariant()
    def first_is_of_who_holds_fewest(self) -> None:
        if self.waiting:
            first = min(self.waiting, key=lambda entry: (self.places_of(entry.client), entry.number))
            assert self.queue.next() == (first, self.places_of(first.client))

    @invariant()
    def richest_gives_its_oldest(self) -> None:
        if self.held:
            place, held = self.queue.richest()
            assert held == max(map(self.places_of, CLIENTS)) == self.places_of(place.client)
            assert place is next(entry for entry in self.held if entry.client == place.client)

    @invariant()
    def longest_loses_its_newest(self) -> None:
        if self.waiting:
            request, waiting = self.queue.longest()
            assert waiting == max(map(self.waiting_of, CLIENTS)) == self.waiting_of(request.client)
            assert request is [entry for entry in self.waiting if entry.client == request.client][-1]


TestBooks = Books.TestCase
TestBooks.settings = settings(max_examples=60, stateful_step_count=40)


def test_old_entries_do_not_pile_up() -> None:
    """However long the same requests wait while places come and go, the memory of the queue is bounded."""
    queue: ClientQueue[Entry, Entry] = ClientQueue()
    for client in CLIENTS:
        queue.join(client, Entry(client, 0))
    for number in range(10_000):
        place = Entry("e", number)
        queue.hold("e", place)
        queue.release(place)
    assert len(queue._line) < 200  # noqa: SLF001
    assert queue.next()[0].client == "a"
