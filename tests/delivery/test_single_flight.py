"""Looks that are shared: who gets whose, and how old."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from aero_storage.delivery.single_flight import FRESH_SECONDS, SingleFlight


@attrs.define(eq=False)
class Disk:
    """Looks that end when they are told to."""

    clock: Clock = attrs.field(factory=Clock)
    begun: list[Deferred[str]] = attrs.field(factory=list)
    looks: SingleFlight[str] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.looks = SingleFlight(self.clock)

    def look(self) -> Deferred[str]:
        self.begun.append(Deferred())
        return self.begun[-1]

    def ask(self, subject: object) -> tuple[Deferred[str], list[Any]]:
        """The Deferred of an answer, and the list that holds it or its exception once it has come."""
        seen: list[Any] = []
        asking = Deferred.fromCoroutine(self.looks.ask(subject, self.look))
        told: Deferred[Any] = asking.addErrback(lambda failure: failure.value)
        told.addCallback(seen.append)
        return asking, seen

    def answers(self, subject: object) -> list[Any]:
        return self.ask(subject)[1]


@pytest.fixture
def disk() -> Disk:
    return Disk()


def test_many_ask_and_one_looks(disk: Disk) -> None:
    """Whoever asks while a look is under way gets what it finds; so does who comes soon after."""
    seen = [disk.answers("images") for _ in range(5)]
    disk.begun[0].callback("found")
    disk.clock.advance(FRESH_SECONDS)
    assert [*seen, disk.answers("images")] == [["found"]] * 6
    assert len(disk.begun) == 1


def test_looks_grow_old(disk: Disk) -> None:
    """What was found is told for half a second, counted from when the look began."""
    disk.answers("images")
    disk.clock.advance(FRESH_SECONDS)
    disk.begun[0].callback("old")
    assert disk.answers("images") == ["old"]
    disk.clock.advance(0.01)
    seen = disk.answers("images")
    disk.begun[1].callback("new")
    assert seen == ["new"]


def test_a_clock_that_was_set_back(disk: Disk) -> None:
    """A look that seems to come from the future is no longer trusted."""
    disk.clock.advance(10)
    disk.answers("images")
    disk.begun[0].callback("old")
    disk.clock.rightNow = 5.0
    disk.answers("images")
    assert len(disk.begun) == 2


def test_a_look_that_takes_long(disk: Disk) -> None:
    """Who comes late does not get what may be old: all who do share the next look, which begins after the first."""
    early = disk.answers("images")
    disk.clock.advance(FRESH_SECONDS + 0.01)
    late = [disk.answers("images") for _ in range(5)]
    assert len(disk.begun) == 1
    disk.begun[0].callback("early")
    assert early == ["early"]
    assert len(disk.begun) == 2
    disk.begun[1].callback("late")
    disk.clock.advance(0)  # all but the first few are told in the next turns
    assert late == [["late"]] * 5


def test_other_subjects(disk: Disk) -> None:
    """Another catalog is looked at at once."""
    first, second = object(), object()
    before, after = disk.answers(first), disk.answers(second)
    disk.begun[1].callback("after")
    disk.begun[0].callback("before")
    assert (before, after) == (["before"], ["after"])


def test_failure(disk: Disk) -> None:
    """All who wait learn of it, and the next who asks has another look made."""
    seen = [disk.answers("images") for _ in range(3)]
    disk.begun[0].errback(OSError("the disk is on fire"))
    assert [str(error) for (error,) in seen] == ["the disk is on fire"] * 3
    again = disk.answers("images")
    disk.begun[1].callback("found")
    assert again == ["found"]


def test_who_gives_up(disk: Disk) -> None:
    """The look goes on for the others, and for those who come yet."""
    gives_up, told = disk.ask("images")
    stays = disk.answers("images")
    gives_up.cancel()
    assert [type(error) for error in told] == [CancelledError]
    disk.begun[0].callback("found")
    assert (stays, disk.answers("images")) == (["found"], ["found"])
    assert len(disk.begun) == 1
