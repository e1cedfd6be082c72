"""Clients that take nothing: how long they are waited for, and when they give their places up."""

from __future__ import annotations

import attrs
import pytest
from twisted.internet.task import Clock

from aero_storage.web.stall_detector import LOOK_SECONDS, SLOW_BYTES, YIELD_SECONDS, StallDetector


@attrs.define(eq=False)
class Stream:
    """A stream whose client does what the test says."""

    taken: int | None = 0
    hidden: int = 0
    place: bool = True
    request_id: str | None = "r-1"
    broken_off: float | None = None
    """After how many seconds."""
    shuts: int = 0
    owed: object = None

    def progress(self) -> int | None:
        return self.taken

    def position(self) -> object:
        return self.owed

    def max_unacknowledged_read(self) -> int:
        return self.hidden

    def give_place_up(self) -> bool:
        had, self.place = self.place, False
        return had

    def shut(self) -> None:
        self.shuts += 1


@attrs.define(eq=False)
class House:
    """Streams that are looked after."""

    streams: set[Stream] = attrs.field(factory=set)
    clock: Clock = attrs.field(factory=Clock)
    timeout: float = 60.0
    waiting: int = 0
    given_up: int = 0
    stalls: StallDetector = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.stalls = StallDetector(
            self.clock, self.timeout, self.streams, lambda: self.waiting, self.count, self.note_broken_off
        )
        self.stalls.start()

    def count(self) -> None:
        self.given_up += 1
        self.waiting -= 1

    def note_broken_off(self, request_id: str | None, seconds: float) -> None:
        assert request_id == "r-1"
        for stream in self.streams:
            stream.broken_off = seconds

    def join(self) -> Stream:
        stream = Stream()
        self.streams.add(stream)
        self.stalls.start()
        return stream

    def let_pass(self, seconds: float) -> None:
        self.clock.pump([LOOK_SECONDS / 2] * round(seconds * 2 / LOOK_SECONDS))


@pytest.fixture
def house() -> House:
    return House()


def test_a_client_that_takes_nothing(house: House) -> None:
    """It is broken off after the timeout, not before, and at most two looks late."""
    stream = house.join()
    house.let_pass(60)
    assert stream.broken_off is None
    house.let_pass(2 * LOOK_SECONDS)
    assert stream.broken_off is not None
    assert stream.shuts == 1
    assert 60 <= stream.broken_off <= 60 + 2 * LOOK_SECONDS


def test_a_slow_client(house: House) -> None:
    """One that takes a byte now and then is never broken off, however long it lasts."""
    stream = house.join()
    for _ in range(100):
        house.let_pass(59)
        stream.taken = (stream.taken or 0) + 1
    assert stream.broken_off is None


@pytest.mark.parametrize("timeout", [60.0, 5.0])
@pytest.mark.parametrize("hidden", [SLOW_BYTES // 2, SLOW_BYTES, 10 * SLOW_BYTES])
def test_a_client_that_may_read_unseen(hidden: int, timeout: float) -> None:
    """It has the time on top in which a client reads so much that reads SLOW_BYTES within the timeout."""
    house = House(timeout=timeout)
    stream = house.join()
    stream.hidden = hidden
    due = timeout * (1 + min(hidden / SLOW_BYTES, 1))
    house.let_pass(due)
    assert stream.broken_off is None
    house.let_pass(2 * LOOK_SECONDS)
    assert stream.broken_off is not None
    assert due <= stream.broken_off <= due + 2 * LOOK_SECONDS


def test_a_client_that_goes_while_it_stands_still(house: House) -> None:
    """Once its system answers no more it has no time on top."""
    stream = house.join()
    stream.hidden = 10 * SLOW_BYTES
    house.let_pass(100)
    assert stream.broken_off is None
    stream.hidden = 0
    house.let_pass(LOOK_SECONDS)
    assert stream.broken_off is not None


@pytest.mark.parametrize("timeout", [60.0, 5.0])
def test_a_client_that_shows_late(timeout: float) -> None:
    """Who has moved again after it stood still for long may do so again, and is broken off if it takes far longer."""
    house = House(timeout=timeout)
    stream = house.join()
    stream.hidden = 10 * SLOW_BYTES
    for silence in (1.9, 4.5, 10, 10, 10):
        house.let_pass(timeout * silence)
        assert stream.broken_off is None
        stream.taken = (stream.taken or 0) + 1
    house.let_pass(timeout * 29)
    assert stream.broken_off is None
    house.let_pass(timeout * 2)
    assert stream.broken_off is not None


def test_another_response_begins_anew(house: House) -> None:
    """How a client took the response before says nothing of this one."""
    stream = house.join()
    stream.hidden = 10 * SLOW_BYTES
    house.let_pass(115)
    stream.taken, stream.request_id = 1, "r-2"
    house.let_pass(115)
    assert stream.broken_off is None
    stream.request_id = "r-1"
    house.let_pass(10)
    assert stream.broken_off is not None


def test_a_slow_disk(house: House) -> None:
    """While there is nothing for the client to take, it is not at fault."""
    stream = house.join()
    stream.taken = None
    house.let_pass(600)
    assert stream.broken_off is None


def test_no_timeout() -> None:
    """0 is never."""
    house = House(timeout=0)
    stream = house.join()
    house.let_pass(6000)
    assert stream.broken_off is None


def test_places_go_to_those_who_wait(house: House) -> None:
    """Those who have stood still longest give up as many as are waited for, once that is five seconds."""
    first = house.join()
    house.let_pass(2)
    second, third = house.join(), house.join()
    house.let_pass(2)
    house.waiting = 2
    house.stalls.make_room()
    assert house.given_up == 0
    house.let_pass(YIELD_SECONDS - 3)
    assert (first.place, house.given_up) == (False, 1)
    house.let_pass(2)
    assert sorted((second.place, third.place)) == [False, True]
    assert house.given_up == 2
    assert {stream.broken_off for stream in (first, second, third)} == {None}


def test_who_comes_when_others_have_long_stood_still(house: House) -> None:
    """A client that took its last byte more than five seconds ago loses its place at once."""
    stream = house.join()
    house.let_pass(LOOK_SECONDS)
    stream.taken = 1
    house.let_pass(YIELD_SECONDS + LOOK_SECONDS)
    house.waiting = 1
    house.stalls.make_room()
    assert (stream.place, house.given_up) == (False, 1)


def test_who_stood_still_for_less(house: House) -> None:
    """Nobody loses a place before five seconds."""
    stream = house.join()
    house.let_pass(YIELD_SECONDS)
    house.waiting = 1
    house.stalls.make_room()
    assert stream.place


def test_who_waits_for_a_disk(house: House) -> None:
    """A response that we have nothing for gives its place up as well, and is not broken off."""
    waits, moves = house.join(), house.join()
    waits.taken = moves.taken = None
    waits.owed, house.waiting = ("r-1", 0), 1
    for step in range(600):
        moves.owed = ("r-2", step)
        house.let_pass(LOOK_SECONDS)
    assert (waits.place, moves.place, house.given_up) == (False, True, 1)
    assert waits.broken_off is None


def test_who_has_just_moved_keeps_its_place(house: House) -> None:
    """A client that has taken something since the last look is asked once more before its place goes."""
    stream = house.join()
    house.let_pass(YIELD_SECONDS + 1)
    house.waiting, stream.taken = 1, 5
    house.stalls.make_room()
    assert stream.place


def test_nobody_waits(house: House) -> None:
    """Without a queue places stay."""
    stream = house.join()
    house.let_pass(YIELD_SECONDS * 3)
    assert stream.place


def test_no_timer_without_connections(house: House) -> None:
    """When the last connection has gone nothing is left running."""
    stream = house.join()
    house.streams.discard(stream)
    house.stalls.stop()
    assert house.clock.getDelayedCalls() == []
