"""Clients that take nothing: how long they are waited for, and when they give their places up."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from twisted.internet.task import Clock

from aero_storage.web.stall_detector import (
    HASTY_LOOK_SECONDS,
    LOOK_SECONDS,
    LOOKED_AT_IN_ONE_TURN,
    SLOW_BYTES,
    YIELD_BYTES_PER_SECOND,
    YIELD_SECONDS,
    StallDetector,
)


@attrs.define(eq=False)
class Stream:
    """A stream whose client does what the test says."""

    taken: int | None = 0
    hidden: int = 0
    holds_place: bool = True
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
        had, self.holds_place = self.holds_place, False
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
    looks: int = 0
    stalls: StallDetector = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.stalls = StallDetector(self.clock, self.timeout, self.streams, self.serve_queue, self.note_broken_off)
        self.stalls.start()

    @property
    def without(self) -> int:
        return sum(not stream.holds_place for stream in self.streams)

    def serve_queue(self) -> None:
        """Ask for a place for each request that waits, as the admission does."""
        self.looks += 1
        while self.waiting:
            before = self.without
            self.stalls.make_room()
            if self.without == before:
                return
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


SLOW, FAST = YIELD_BYTES_PER_SECOND // 4, YIELD_BYTES_PER_SECOND


def move(house: House, speeds: dict[Stream, int], seconds: float) -> None:
    """Let clients take so many bytes a second, for a while."""
    for _ in range(round(seconds * 2 / LOOK_SECONDS)):
        house.clock.advance(LOOK_SECONDS / 2)
        for stream, speed in speeds.items():
            stream.taken = (stream.taken or 0) + round(speed * LOOK_SECONDS / 2)


def test_the_slowest_gives_its_place_up(house: House) -> None:
    """Of streams that move, the slowest first, one for each request that waits; nobody is cut for it."""
    slow, slower, fast = house.join(), house.join(), house.join()
    speeds = {slow: SLOW * 2, slower: SLOW, fast: FAST}
    move(house, speeds, 3)
    assert house.without == 0
    house.waiting = 1
    house.serve_queue()
    assert (slow.holds_place, slower.holds_place, fast.holds_place) == (True, False, True)
    house.waiting = 2
    move(house, speeds, 3)
    assert (slow.holds_place, fast.holds_place, house.waiting) == (False, True, 1)
    assert {stream.broken_off for stream in house.streams} == {None}


def test_who_stands_still_is_slowest(house: House) -> None:
    """Between those that take nothing, who has done so longest."""
    first = house.join()
    house.let_pass(2)
    second, moves = house.join(), house.join()
    move(house, {moves: 8}, 2)
    house.waiting = 1
    house.serve_queue()
    assert (first.holds_place, second.holds_place, moves.holds_place) == (False, True, True)
    house.waiting = 1
    house.serve_queue()
    assert (second.holds_place, moves.holds_place) == (False, True)


def test_the_first_bytes_do_not_count(house: House) -> None:
    """What fills a client's buffer in its first 0.2 s is no speed: a slow reader is known within a second."""
    stream = house.join()
    stream.taken = 10 * YIELD_BYTES_PER_SECOND
    house.waiting = 1
    house.serve_queue()
    house.clock.advance(HASTY_LOOK_SECONDS)
    stream.taken += 2 * YIELD_BYTES_PER_SECOND  # as seen over the loopback: a probe of the full window moves 127 kB
    house.clock.advance(HASTY_LOOK_SECONDS)
    assert stream.holds_place
    house.clock.advance(HASTY_LOOK_SECONDS)
    assert not stream.holds_place
    assert house.clock.seconds() < 0.7


def test_looks_are_soon_while_requests_wait(house: House) -> None:
    """A request has but a second: looks come more than twice as often while it waits, and then as before."""
    house.join()
    house.clock.advance(LOOK_SECONDS)
    house.join()
    house.waiting = 3
    house.serve_queue()
    house.clock.pump([HASTY_LOOK_SECONDS] * 3)
    assert house.waiting == 1
    house.waiting = house.looks = 0
    house.let_pass(10 * LOOK_SECONDS)
    assert house.looks == 10


def test_who_became_slow(house: House) -> None:
    """The last second counts, however fast a stream was before."""
    stream = house.join()
    move(house, {stream: FAST * 100}, 5)
    house.waiting = 1
    move(house, {stream: SLOW}, 0.75)
    assert stream.holds_place
    move(house, {stream: SLOW}, 1)
    assert not stream.holds_place


def test_who_has_just_moved_keeps_its_place(house: House) -> None:
    """A client that has taken much since the last look is asked after the next one."""
    stream = house.join()
    house.let_pass(5)
    assert stream.taken is not None
    house.waiting, stream.taken = 1, 2 * YIELD_BYTES_PER_SECOND
    house.serve_queue()
    assert stream.holds_place
    house.let_pass(1.5)
    assert not stream.holds_place


def test_who_waits_for_a_disk(house: House) -> None:
    """A response that we have nothing for gives its place up after five seconds, and is not broken off."""
    waits, moves = house.join(), house.join()
    waits.taken = moves.taken = None
    waits.owed, house.waiting = ("r-1", 0), 1
    for step in range(600):
        moves.owed = ("r-2", step)
        house.let_pass(LOOK_SECONDS)
        assert waits.holds_place or (step + 1) * LOOK_SECONDS >= YIELD_SECONDS
    assert (waits.holds_place, moves.holds_place, house.without) == (False, True, 1)
    assert waits.broken_off is None


def test_who_waits_for_a_disk_now_and_then(house: House) -> None:
    """A slow stream is not judged by a second in which it had to wait for us."""
    stream = house.join()
    house.waiting = 1
    for _ in range(20):
        stream.taken, stream.owed = None, object()
        house.clock.advance(HASTY_LOOK_SECONDS)
        stream.taken = 5
        house.clock.advance(HASTY_LOOK_SECONDS)
    assert stream.holds_place


def test_nobody_waits(house: House) -> None:
    """Without a queue places stay."""
    stream = house.join()
    house.let_pass(YIELD_SECONDS * 3)
    assert stream.holds_place


def test_a_request_does_not_look_at_all_streams(house: House) -> None:
    """However many streams go on without a place: a request that waits asks none of them how far it has come."""

    class Counted(Stream):
        asked = 0

        def progress(self) -> int | None:
            Counted.asked += 1
            return super().progress()

    house.streams.update(Counted(holds_place=False) for _ in range(1000))
    house.let_pass(2)
    Counted.asked, house.waiting = 0, 50
    for _ in range(50):
        house.serve_queue()
    assert Counted.asked == 0


class TurningClock(Clock):
    """A clock that makes the calls of one turn of a reactor at a time: one that is due at once comes in the next."""

    def turn(self, seconds: float = 0.0) -> None:
        self.rightNow += seconds
        due: list[Any] = [call for call in self.getDelayedCalls() if call.getTime() <= self.rightNow]
        for call in due:
            if call.active():
                self.calls.remove(call)
                call.called = 1
                call.func(*call.args, **call.kw)


@attrs.define(eq=False)
class Leaving(Stream):
    """A stream that must not be asked once its connection has gone."""

    has_gone: bool = False

    def progress(self) -> int | None:
        assert not self.has_gone
        return self.taken


@pytest.fixture
def turns() -> TurningClock:
    return TurningClock()


@pytest.fixture
def crowd(turns: TurningClock) -> House:
    """Streams for more than one turn of a look."""
    house = House(clock=turns)
    house.streams.update(Leaving() for _ in range(3 * LOOKED_AT_IN_ONE_TURN))
    return house


def test_a_look_at_many_streams(turns: TurningClock) -> None:
    """It goes on over as many turns as it needs: 5,000 streams at once would keep every request waiting for 0.1 s."""
    asked = [0]

    class Counted(Stream):
        def progress(self) -> int | None:
            asked[-1] += 1
            return super().progress()

    house = House(clock=turns)
    house.streams.update(Counted() for _ in range(1000))
    turns.turn(LOOK_SECONDS)
    while not house.looks:
        asked.append(0)
        turns.turn()
    assert max(asked) <= LOOKED_AT_IN_ONE_TURN
    assert sum(asked) == 1000


def test_gone_during_a_look(crowd: House, turns: TurningClock) -> None:
    """Streams that go between two turns of a look are not asked any more, and the look ends as always."""
    turns.turn(LOOK_SECONDS)
    for one in crowd.streams:
        assert isinstance(one, Leaving)
        one.has_gone = True
    crowd.streams.clear()
    stream = crowd.join()
    turns.turn()
    turns.turn()
    assert crowd.looks == 1
    crowd.let_pass(61 + 3 * LOOK_SECONDS)
    assert stream.shuts == 1


def test_the_last_goes_during_a_look(crowd: House, turns: TurningClock) -> None:
    """A look that has not ended ends with the last connection."""
    turns.turn(LOOK_SECONDS)
    crowd.streams.clear()
    crowd.stalls.stop()
    assert turns.getDelayedCalls() == []
    assert crowd.looks == 0


def test_broken_off_since_the_look(house: House) -> None:
    """A stream that was broken off is not asked for its place."""
    streams = [house.join() for _ in range(2)]
    house.let_pass(60)
    house.waiting = 1
    house.let_pass(LOOK_SECONDS)
    assert [stream.shuts for stream in streams] == [1, 1]
    house.waiting = 1
    house.serve_queue()
    assert sum(stream.holds_place for stream in streams) == 1


def test_no_timer_without_connections(house: House) -> None:
    """When the last connection has gone nothing is left running."""
    stream = house.join()
    house.streams.discard(stream)
    house.stalls.stop()
    assert house.clock.getDelayedCalls() == []
