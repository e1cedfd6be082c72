"""Who gets a free place, and who gives one up: the cap shared between clients. Nobody is cut for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from aero_storage.delivery.admission import Admission, Place, identity_of
from aero_storage.errors import OverloadedError

PATIENCE = 1.0
ALICE, BOB, CAROL = "192.0.2.1", "192.0.2.2", "2001:db8::1"


@attrs.define(eq=False)
class Guest:
    """A request of a client, which takes what becomes of it."""

    client: str
    number: int
    place: Place | None = None
    error: BaseException | None = None

    @property
    def waits(self) -> bool:
        return self.place is None and self.error is None

    @property
    def holds(self) -> bool:
        return self.place is not None and self.place.is_held


def _ignore(_: object) -> None:
    pass


@attrs.define(eq=False)
class Hotel:
    """An admission, its guests in the order in which they came, and whose streams are slow."""

    cap: int
    patience: float = PATIENCE
    enter: Callable[[Guest], object] = _ignore
    refuse: Callable[[Guest], object] = _ignore
    waited: Callable[[float], object] = _ignore
    note: Callable[[], object] = lambda: None
    clock: Clock = attrs.field(factory=Clock)
    guests: list[Guest] = attrs.field(factory=list)
    slow: list[Guest] = attrs.field(factory=list)
    """Those who give their places up if nobody is over its share, the slowest last."""
    given_up: int = 0
    rejected: list[str] = attrs.field(factory=list)
    admission: Admission = attrs.field(init=False)
    numbers: Iterator[int] = attrs.field(factory=count)

    def __attrs_post_init__(self) -> None:
        self.admission = Admission(
            self.cap,
            self.patience,
            self.clock,
            crowded=self.crowded,
            given_up=self.note_given_up,
            rejected=self.rejected.append,
            waited=self.waited,
        )

    def come(self, client: str) -> Guest:
        guest = Guest(client, next(self.numbers))
        self.ask(guest)
        return guest

    def come_many(self, client: str, number: int) -> list[Guest]:
        return [self.come(client) for _ in range(number)]

    def ask(self, guest: Guest) -> None:
        def enter(place: Place) -> None:
            assert guest.waits
            guest.place = place
            self.enter(guest)

        def refuse(failure: Failure) -> None:
            assert guest.waits
            guest.error = failure.value
            self.refuse(guest)

        self.guests.append(guest)
        self.admission.acquire(guest.client).addCallbacks(enter, refuse)

    def crowded(self) -> None:
        while self.slow:
            place = self.slow.pop().place
            if place is not None and place.give_up():
                return

    def note_given_up(self) -> None:
        self.given_up += 1
        self.note()

    def go(self, guest: Guest) -> None:
        assert guest.place is not None
        self.guests.remove(guest)
        guest.place.release()

    @property
    def held(self) -> Counter[str]:
        return Counter(identity_of(guest.client) for guest in self.guests if guest.holds)

    @property
    def waiting(self) -> list[Guest]:
        return [guest for guest in self.guests if guest.waits]


def test_one_client_alone_keeps_all() -> None:
    """Who is alone loses nothing, whether or not more of its requests wait."""
    hotel = Hotel(64)
    manager = hotel.come_many(ALICE, 80)
    assert [guest.holds for guest in manager] == [True] * 64 + [False] * 16
    assert (hotel.given_up, hotel.admission.without_place) == (0, 0)


def test_another_client_is_let_in_at_once() -> None:
    """Who holds more than an equal share gives the place of its oldest stream up, which goes on without."""
    hotel = Hotel(64)
    greedy = hotel.come_many(ALICE, 64)
    other = hotel.come(BOB)
    assert other.holds
    assert [guest.holds for guest in greedy] == [False] + [True] * 63
    assert greedy[0].place is not None
    assert (hotel.given_up, hotel.admission.without_place, hotel.admission.taken) == (1, 1, 64)


def test_equal_shares() -> None:
    """Others get places up to an equal share of the cap, rounded down, and then wait."""
    hotel = Hotel(8)
    hotel.come_many(ALICE, 8)
    hotel.come_many(BOB, 8)
    assert hotel.held == {ALICE: 4, BOB: 4}
    hotel.come_many(CAROL, 3)
    assert sorted(hotel.held.values()) == [2, 3, 3]
    assert hotel.held[identity_of(CAROL)] == 2
    assert (len(hotel.waiting), hotel.admission.taken) == (5, 8)


def test_many_readers_from_some_addresses() -> None:
    """Sixteen clients with four streams each hold all places; others are still let in at once, sixteen times."""
    hotel = Hotel(64)
    for address in range(16):
        hotel.come_many(f"198.51.100.{address}", 4)
    late = [hotel.come(f"203.0.113.{address}") for address in range(16)]
    assert all(guest.holds for guest in late)
    assert hotel.given_up == 16


def test_a_free_place_goes_to_who_holds_fewest() -> None:
    """However long others have waited; between equals it goes to who came first."""
    hotel = Hotel(3)
    alices = hotel.come_many(ALICE, 2)
    bob = hotel.come(BOB)
    queue = [hotel.come(client) for client in (ALICE, BOB, CAROL, CAROL)]
    assert [guest.holds for guest in queue] == [False, False, True, False]
    assert not alices[0].holds
    hotel.go(bob)
    assert [guest.holds for guest in queue] == [False, True, True, False]
    hotel.go(queue[1])
    assert [guest.holds for guest in queue if guest in hotel.guests] == [False, True, True] or queue[0].holds
    assert hotel.admission.taken == 3


def test_one_network_is_one_client() -> None:
    """Addresses of one IPv6 /64 are one client, and share what it gets."""
    hotel = Hotel(4)
    hotel.come_many("2001:db8::1", 2)
    hotel.come_many("2001:db8::2", 2)
    waits = hotel.come("2001:db8::3")
    assert waits.waits
    assert hotel.come("2001:db8:0:1::1").holds


def test_the_slowest_goes_on_without() -> None:
    """Where nobody is over its share, a slow stream gives its place up, and no more than are waited for."""
    hotel = Hotel(4)
    streams = [hotel.come(f"198.51.100.{address}") for address in range(4)]
    hotel.slow = streams[:3]
    assert hotel.come(ALICE).holds
    assert [guest.holds for guest in streams] == [True, True, False, True]
    assert hotel.come(BOB).holds
    assert [guest.holds for guest in streams] == [True, False, False, True]
    assert hotel.admission.without_place == 2


def test_streams_that_become_slow() -> None:
    """A request that waits already gets the place of a stream that is found slow later."""
    hotel = Hotel(2)
    streams = [hotel.come(f"198.51.100.{address}") for address in range(2)]
    waits = hotel.come(ALICE)
    assert waits.waits
    hotel.slow = list(streams)
    hotel.admission.serve_queue()
    assert waits.holds
    assert [guest.holds for guest in streams] == [True, False]


def test_streams_without_a_place_are_counted() -> None:
    """Until they end; whether one ended with or without a place, no place is lost or doubled."""
    hotel = Hotel(2)
    greedy = hotel.come_many(ALICE, 2)
    hotel.come(BOB)
    assert hotel.admission.without_place == 1
    for guest in (*greedy, *greedy):
        assert guest.place is not None
        guest.place.release()
    assert (hotel.admission.without_place, hotel.admission.taken) == (0, 1)
    assert not greedy[0].place or not greedy[0].place.give_up()


def test_no_queue() -> None:
    """Where nobody may wait nobody loses a place."""
    hotel = Hotel(2, patience=0)
    hotel.come_many(ALICE, 2)
    assert isinstance(hotel.come(BOB).error, OverloadedError)
    assert hotel.given_up == 0


def test_a_full_queue_has_room_for_others() -> None:
    """A client that fills the queue loses its newest request there to another client, and nobody else does."""
    hotel = Hotel(1)
    hotel.come(BOB)
    mine = hotel.come_many(ALICE, 17)
    assert [guest.waits for guest in mine] == [True] * 16 + [False]
    carol = hotel.come(CAROL)
    assert carol.waits
    assert isinstance(mine[15].error, OverloadedError)
    assert [guest.waits for guest in mine] == [True] * 15 + [False] * 2
    assert hotel.rejected == ["queue_full"] * 2
    assert hotel.admission.waiting == 16


def test_a_queue_of_many_clients() -> None:
    """If all in a full queue have one request each, who comes next is refused."""
    hotel = Hotel(1)
    hotel.come(BOB)
    for address in range(16):
        hotel.come(f"198.51.100.{address}")
    assert isinstance(hotel.come(ALICE).error, OverloadedError)
    assert hotel.admission.waiting == 16


def test_refused_requests_that_ask_again() -> None:
    """Who asks again in the moment it is refused does not make the queue longer than it may be."""
    hotel = Hotel(1)
    hotel.come(BOB)
    hotel.come_many(ALICE, 15)
    hotel.refuse = lambda guest: hotel.come(guest.client) if guest.number == 16 else None
    eager = hotel.come(ALICE)
    for address in range(5):
        hotel.come(f"198.51.100.{address}")
    assert isinstance(eager.error, OverloadedError)
    assert hotel.admission.waiting == 16


@pytest.mark.parametrize("slow", [False, True])
def test_a_request_for_its_own_client(slow: bool) -> None:  # noqa: FBT001
    """A client's own requests take nothing from its streams, unless these are slow."""
    hotel = Hotel(2)
    streams = hotel.come_many(ALICE, 2)
    hotel.slow = list(streams) if slow else []
    assert hotel.come(ALICE).holds == slow


class Sharing(RuleBasedStateMachine):
    """A walk through everything that can happen, beside a model that looks at all places and requests each time."""

    @initialize(cap=st.integers(1, 6))
    def open(self, cap: int) -> None:
        self.hotel = Hotel(cap, enter=self.enter, refuse=self.refuse, waited=self.admit, note=self.give_up)
        self.cap = cap
        self.held: list[Guest] = []
        self.waiting: list[Guest] = []
        self.slow: Guest | None = None

    def key(self, guest: Guest) -> tuple[int, int]:
        return sum(one.client == guest.client for one in self.held), guest.number

    def admit(self, _seconds: float) -> None:
        """Of all that wait, the next is of the client that holds fewest; between equals, who came first."""
        guest = min(self.waiting, key=self.key)
        self.waiting.remove(guest)
        self.held.append(guest)

    def give_up(self) -> None:
        """A place is given up only while requests wait: the oldest of the client that holds most, or a slow one."""
        (guest,) = [one for one in self.held if one.place is not None and not one.holds]
        assert self.waiting
        if guest is not self.slow:
            held = Counter(one.client for one in self.held)
            clients = {one.client for one in (*self.held, *self.waiting)}
            fewest = min(held[one.client] for one in self.waiting)
            assert held[guest.client] == max(held.values()) > max(1, self.cap // len(clients), fewest + 1)
            assert guest is next(one for one in self.held if one.client == guest.client)
        self.held.remove(guest)

    def enter(self, guest: Guest) -> None:
        assert guest in self.held

    def refuse(self, guest: Guest) -> None:
        self.waiting.remove(guest)

    @rule(client=st.sampled_from("abcd"))
    def come(self, client: str) -> None:
        guest = Guest(client, next(self.hotel.numbers))
        (self.waiting if self.waiting or len(self.held) >= self.cap else self.held).append(guest)
        self.hotel.ask(guest)

    @precondition(lambda self: any(guest.place for guest in self.hotel.guests))
    @rule(data=st.data())
    def go(self, data: st.DataObject) -> None:
        guest = data.draw(st.sampled_from([one for one in self.hotel.guests if one.place]))
        if guest in self.held:
            self.held.remove(guest)
        self.hotel.go(guest)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def become_slow(self, data: st.DataObject) -> None:
        guest = data.draw(st.sampled_from(self.held))
        self.slow, self.hotel.slow = guest, [guest]
        self.hotel.admission.serve_queue()
        self.slow, self.hotel.slow = None, []

    @rule(seconds=st.sampled_from([0.25, 0.5, 2.0]))
    def wait(self, seconds: float) -> None:
        self.hotel.clock.advance(seconds)

    @invariant()
    def agrees(self) -> None:
        admission, guests = self.hotel.admission, self.hotel.guests
        assert [guest for guest in guests if guest.holds] == [guest for guest in guests if guest in self.held]
        assert self.hotel.waiting == [guest for guest in guests if guest in self.waiting]
        assert admission.taken == len(self.held) <= self.cap
        assert sum(guest.place is not None and not guest.holds for guest in guests) == admission.without_place
        assert len(self.waiting) == admission.waiting == len(self.hotel.clock.getDelayedCalls())

    @invariant()
    def nothing_more_could_be_given(self) -> None:
        if self.waiting:
            held, clients = self.hotel.held, {one.client for one in (*self.held, *self.waiting)}
            fewest = min(held[one.client] for one in self.waiting)
            assert len(self.held) == self.cap
            assert max(held.values()) <= max(1, self.cap // len(clients), fewest + 1)


TestSharing = Sharing.TestCase
TestSharing.settings = settings(max_examples=80, stateful_step_count=40)
