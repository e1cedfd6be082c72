"""How often the exposition of the metrics is made."""

from __future__ import annotations

import attrs
import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from aero_storage.delivery.exposition import INTERVAL_SECONDS, PacedExposition


@attrs.define(eq=False)
class Scene:
    clock: Clock = attrs.field(factory=Clock)
    made: list[float] = attrs.field(factory=list)
    held: Deferred[None] | None = None
    error: Exception | None = None
    exposition: PacedExposition = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.exposition = PacedExposition(self.clock, self.make)

    async def make(self) -> bytes:
        self.made.append(self.clock.seconds())
        number = len(self.made)
        if self.held is not None:
            await self.held
        if self.error is not None:
            raise self.error
        return b"%d" % number

    def ask(self) -> Deferred[bytes]:
        return Deferred.fromCoroutine(self.exposition.current())

    def ask_last(self) -> Deferred[bytes]:
        return Deferred.fromCoroutine(self.exposition.last())


def result(asked: Deferred[bytes]) -> bytes | Failure | None:
    found: list[bytes | Failure] = []
    asked.addBoth(found.append)
    return found[0] if found else None


def test_at_once() -> None:
    """The first is made at once, and so is the next, half a second later."""
    scene = Scene()
    assert result(scene.ask()) == b"1"
    scene.clock.advance(INTERVAL_SECONDS)
    assert result(scene.ask()) == b"2"


def test_no_more_often() -> None:
    """However often it is asked for, one is made in half a second, and it is no older than the question."""
    scene = Scene()
    scene.ask()
    scene.clock.advance(0.2)
    asked = [scene.ask() for _ in range(100)]
    assert scene.made == [0.0]
    scene.clock.advance(0.25)
    asked.append(scene.ask())
    scene.clock.advance(0.05)
    assert scene.made == [0.0, 0.5]
    assert {result(one) for one in asked} == {b"2"}


def test_last() -> None:
    """A question for the last one makes none, but for the first."""
    scene = Scene()
    assert result(scene.ask_last()) == b"1"
    scene.clock.advance(1000)
    assert result(scene.ask_last()) == b"1"
    assert scene.made == [0.0]


def test_one_at_a_time() -> None:
    """While one is made, all who ask wait for it."""
    scene = Scene()
    held: Deferred[None] = Deferred()
    scene.held = held
    asked = [scene.ask(), scene.ask()]
    scene.clock.advance(10)
    asked.append(scene.ask())
    held.callback(None)
    assert [result(one) for one in asked] == [b"1"] * 3


def test_failure() -> None:
    """All who wait get a failure; the next question makes a new one."""
    scene = Scene(error=KeyError("broken"))
    asked = [scene.ask()]
    failure = result(asked[0])
    assert isinstance(failure, Failure)
    assert failure.check(KeyError)
    scene.error = None
    scene.clock.advance(INTERVAL_SECONDS)
    assert result(scene.ask()) == b"2"


def test_a_client_that_goes() -> None:
    """A question that is cancelled keeps nobody else from the answer."""
    scene = Scene()
    scene.ask()
    first, second = scene.ask(), scene.ask()
    first.cancel()
    scene.clock.advance(INTERVAL_SECONDS)
    failure = result(first)
    assert isinstance(failure, Failure)
    assert failure.check(CancelledError)
    assert result(second) == b"2"


@pytest.mark.parametrize("step", [-3600.0, 3600.0])
def test_a_clock_that_is_set(step: float) -> None:
    """A clock that is set back delays the next one by half a second at most."""
    scene = Scene()
    scene.clock.advance(10_000)
    scene.ask()
    scene.clock.rightNow += step
    asked = scene.ask()
    scene.clock.advance(INTERVAL_SECONDS)
    assert result(asked) == b"2"
