"""The cap on byte requests: who gets in, who waits and for how long, and that places are neither lost nor doubled."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from aero_storage.delivery.admission import Admission, Place
from aero_storage.errors import OverloadedError

PATIENCE = 1.0


@attrs.define(eq=False)
class Guest:
    """Somebody who asked for a place."""

    asked: Deferred[Place]
    client: str | None = None
    place: Place | None = None
    error: BaseException | None = None

    @classmethod
    def of(cls, admission: Admission, client: str | None = None) -> Guest:
        guest = cls(admission.acquire(client), client)
        guest.asked.addCallbacks(guest._enter, guest._leave)
        return guest

    def _enter(self, place: Place) -> None:
        assert self.waits
        self.place = place

    def _leave(self, failure: Failure) -> None:
        assert self.waits
        self.error = failure.value

    @property
    def waits(self) -> bool:
        return self.place is None and self.error is None

    @property
    def holds(self) -> bool:
        return self.place is not None and self.place.is_held

    def release(self) -> None:
        assert self.place is not None
        self.place.release()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def full(
    clock: Clock,
    cap: int = 1,
    patience: float = PATIENCE,
    rejected: Callable[[str], object] = lambda _reason: None,
    waited: Callable[[float], object] = lambda _seconds: None,
) -> tuple[Admission, list[Guest]]:
    """An admission all of whose places are taken, and who holds them."""
    admission = Admission(cap, patience, clock, rejected=rejected, waited=waited)
    return admission, [Guest.of(admission) for _ in range(cap)]


@pytest.mark.parametrize("cap", [1, 2, 64])
def test_cap(clock: Clock, cap: int) -> None:
    """As many as the cap get in at once, the next one waits."""
    admission, holders = full(clock, cap)
    late = Guest.of(admission)
    assert all(holder.place for holder in holders)
    assert late.waits
    assert (admission.taken, admission.waiting) == (cap, 1)


@pytest.mark.parametrize("patience", [0.0, PATIENCE])
def test_no_cap(clock: Clock, patience: float) -> None:
    """With a cap of 0 nobody ever waits, and places are still given back."""
    admission = Admission(0, patience, clock)
    guests = [Guest.of(admission) for _ in range(1000)]
    assert all(guest.place for guest in guests)
    assert (admission.taken, admission.waiting) == (1000, 0)
    for guest in guests:
        guest.release()
    assert admission.taken == 0
    assert not clock.getDelayedCalls()


def test_queue_order(clock: Clock) -> None:
    """A place that comes free goes to who has waited longest."""
    admission, (holder,) = full(clock)
    first, second = Guest.of(admission), Guest.of(admission)
    holder.release()
    assert (bool(first.place), second.waits) == (True, True)
    first.release()
    assert second.place
    assert (admission.taken, admission.waiting) == (1, 0)
    second.release()
    assert admission.taken == 0


def test_nobody_jumps_the_queue(clock: Clock) -> None:
    """Who comes while others wait does not get the place that comes free."""
    admission, (holder,) = full(clock)
    first = Guest.of(admission)
    holder.release()
    late = Guest.of(admission)
    assert (bool(first.place), late.waits) == (True, True)


@pytest.mark.parametrize(("cap", "room"), [(1, 16), (2, 16), (4, 16), (5, 20), (64, 256)])
def test_queue_bound(clock: Clock, cap: int, room: int) -> None:
    """The queue holds four times the cap, sixteen at least; who finds it full is refused at once."""
    admission, (holder, *_) = full(clock, cap)
    waiting = [Guest.of(admission) for _ in range(room)]
    refused = Guest.of(admission)
    assert all(guest.waits for guest in waiting)
    assert isinstance(refused.error, OverloadedError)
    assert admission.waiting == room
    holder.release()
    assert Guest.of(admission).waits, "there is room again"


def test_patience_ends(clock: Clock) -> None:
    """Who waits is refused when the time is up, not before, and the place that comes free later is free."""
    admission, (holder,) = full(clock)
    waiting = Guest.of(admission)
    clock.advance(PATIENCE - 0.001)
    assert waiting.waits
    clock.advance(0.001)
    assert isinstance(waiting.error, OverloadedError)
    assert admission.waiting == 0
    holder.release()
    assert admission.taken == 0


def test_each_has_its_own_patience(clock: Clock) -> None:
    """Time runs for everybody from when they came."""
    admission, (holder,) = full(clock)
    early = Guest.of(admission)
    clock.advance(0.6)
    late = Guest.of(admission)
    clock.advance(0.5)
    assert (type(early.error), late.waits) == (OverloadedError, True)
    holder.release()
    assert late.place


def test_no_patience(clock: Clock) -> None:
    """With a patience of 0 nobody waits: in at once or refused at once, and no timer is set."""
    admission, (holder,) = full(clock, patience=0)
    assert isinstance(Guest.of(admission).error, OverloadedError)
    assert not clock.getDelayedCalls()
    holder.release()
    assert Guest.of(admission).place


def test_what_is_told(clock: Clock) -> None:
    """Why requests got no place is told, and how long those waited that got one; who just leaves is no news."""
    rejected: list[str] = []
    waited: list[float] = []
    admission, (holder,) = full(clock, rejected=rejected.append, waited=waited.append)
    lucky, leaving, unlucky = (Guest.of(admission) for _ in range(3))
    leaving.asked.addErrback(lambda _: None)
    leaving.asked.cancel()
    clock.advance(0.25)
    holder.release()
    assert lucky.place
    clock.advance(PATIENCE)
    assert (type(unlucky.error), rejected, waited) == (OverloadedError, ["timed_out"], [0.25])
    for _ in range(admission.max_concurrent_bytes_requests * 4 + 20):
        Guest.of(admission)
    assert rejected == ["timed_out", *["queue_full"] * 8]
    assert waited == [0.25]


def test_no_patience_is_told_as_a_full_queue(clock: Clock) -> None:
    """Where nobody is to wait, there is no room to wait in."""
    rejected: list[str] = []
    admission, _ = full(clock, patience=0, rejected=rejected.append)
    assert Guest.of(admission).error
    assert rejected == ["queue_full"]


def test_no_timer_is_left(clock: Clock) -> None:
    """Who got in, gave up or left has no timer any more: no late refusal."""
    admission, (holder,) = full(clock)
    lucky, leaving = Guest.of(admission), Guest.of(admission)
    leaving.asked.cancel()
    holder.release()
    assert not clock.getDelayedCalls()
    clock.advance(10)
    assert lucky.place
    assert lucky.error is None


def test_cancel_while_waiting(clock: Clock) -> None:
    """Who leaves the queue takes no place; those behind move up."""
    admission, (holder,) = full(clock)
    leaving, staying = Guest.of(admission), Guest.of(admission)
    leaving.asked.cancel()
    assert isinstance(leaving.error, CancelledError)
    assert admission.waiting == 1
    holder.release()
    assert staying.place
    assert leaving.place is None


def test_cancel_after_the_place_was_given(clock: Clock) -> None:
    """To cancel what is done already changes nothing: the place is released by who holds it."""
    admission, (holder,) = full(clock)
    holder.asked.cancel()
    assert admission.taken == 1
    holder.release()
    assert admission.taken == 0


def test_second_release(clock: Clock) -> None:
    """A place that is released twice is free once."""
    admission, (holder, other) = full(clock, 2)
    holder.release()
    holder.release()
    assert admission.taken == 1
    assert Guest.of(admission).place
    assert Guest.of(admission).waits
    assert other.place


def test_second_release_after_it_was_passed_on(clock: Clock) -> None:
    """A second release does not take the place from who has it now."""
    admission, (holder,) = full(clock)
    first, second = Guest.of(admission), Guest.of(admission)
    holder.release()
    holder.release()
    assert first.place
    assert second.waits
    assert admission.taken == 1


def test_nobody_jumps_the_queue_from_within(clock: Clock) -> None:
    """Who gives a place back and asks for another in the moment it is granted queues behind those who wait."""
    admission, (holder,) = full(clock)
    again: list[Guest] = []

    def change_seats(place: Place) -> None:
        place.release()
        again.append(Guest.of(admission))

    admission.acquire().addCallback(change_seats)
    patient = Guest.of(admission)
    holder.release()
    assert patient.place
    assert again[0].waits
    patient.release()
    assert again[0].place
    assert admission.taken == 1


def test_release_from_within(clock: Clock) -> None:
    """Who gives a place back in the moment it is granted passes it on to the next, and none is lost."""
    admission, (holder,) = full(clock)
    brief = [admission.acquire() for _ in range(16)]
    for asked in brief:
        asked.addCallback(Place.release)
    holder.release()
    assert (admission.taken, admission.waiting) == (0, 0)


def test_release_from_within_a_long_queue(clock: Clock) -> None:
    """However long the queue of those who give their place back at once: none is lost, nobody is left behind."""
    cap = 512
    admission, holders = full(clock, cap)
    brief = [admission.acquire() for _ in range(4 * cap)]
    for asked in brief:
        asked.addCallback(Place.release)
    for holder in holders:
        holder.release()
    assert (admission.taken, admission.waiting) == (0, 0)
    assert all(asked.called for asked in brief)


class Door(RuleBasedStateMachine):
    """A walk through everything that can happen, beside a model of two lines: who is inside, who queues."""

    @initialize(cap=st.integers(0, 3), patience=st.sampled_from([0.0, 1.0]))
    def open(self, cap: int, patience: float) -> None:
        self.cap, self.patience = cap, patience
        self.clock = Clock()
        self.admission = Admission(cap, patience, self.clock)
        self.inside: list[Guest] = []
        self.queue: deque[tuple[Guest, float]] = deque()
        self.gone: list[Guest] = []

    @rule()
    def come(self) -> None:
        guest = Guest.of(self.admission)
        if not self.cap or len(self.inside) < self.cap:
            self.inside.append(guest)
        elif self.patience and len(self.queue) < 16:
            self.queue.append((guest, self.clock.seconds() + self.patience))
        else:
            assert isinstance(guest.error, OverloadedError)

    @precondition(lambda self: self.inside)
    @rule(data=st.data())
    def go(self, data: st.DataObject) -> None:
        guest = self.inside.pop(data.draw(st.integers(0, len(self.inside) - 1)))
        guest.release()
        self.gone.append(guest)
        if self.queue:
            self.inside.append(self.queue.popleft()[0])

    @precondition(lambda self: self.gone)
    @rule(data=st.data())
    def go_again(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.gone)).release()

    @precondition(lambda self: self.queue)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        position = data.draw(st.integers(0, len(self.queue) - 1))
        guest, _ = self.queue[position]
        del self.queue[position]
        guest.asked.cancel()
        assert isinstance(guest.error, CancelledError)

    @rule(seconds=st.sampled_from([0.25, 0.5, 2.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)
        while self.queue and self.queue[0][1] <= self.clock.seconds():
            guest, _ = self.queue.popleft()
            assert isinstance(guest.error, OverloadedError)

    @invariant()
    def agrees(self) -> None:
        assert all(guest.place is not None and guest.error is None for guest in self.inside)
        assert all(guest.waits for guest, _ in self.queue)
        assert (self.admission.taken, self.admission.waiting) == (len(self.inside), len(self.queue))
        assert len(self.clock.getDelayedCalls()) == len(self.queue)


TestDoor = Door.TestCase
TestDoor.settings = settings(max_examples=60, stateful_step_count=40)
