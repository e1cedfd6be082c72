"""Values that are made once for all who ask, one at a time, and remembered in bounded memory."""

from __future__ import annotations

from functools import partial

import attrs
import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from aero_storage.delivery.made_once import MOST_WAITING, MadeOnce
from aero_storage.errors import ExtentsLateError


@attrs.define(eq=False)
class Bench:
    """Values that are made when the test says so."""

    clock: Clock = attrs.field(factory=Clock)
    begun: list[tuple[str, Deferred[str]]] = attrs.field(factory=list)
    values: MadeOnce[str, str] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.values = MadeOnce(self.clock, ExtentsLateError, 10, len, lambda value: 60 if value == "?" else 1e9)

    def ask(self, key: str) -> Deferred[str]:
        return self.values.ask(key, partial(self.make, key))

    def make(self, key: str) -> Deferred[str]:
        made: Deferred[str] = Deferred()
        self.begun.append((key, made))
        return made

    def end(self, value: str | Exception) -> None:
        """End what began last."""
        made = self.begun[-1][1]
        if isinstance(value, str):
            made.callback(value)
        else:
            made.errback(value)
        self.clock.advance(0)

    def got(self, key: str, value: str) -> None:
        """Ask for a value that nobody has, and make it."""
        before, asked = len(self.begun), self.ask(key)
        assert len(self.begun) == before + 1
        self.end(value)
        assert result(asked) == value

    def knows(self, key: str) -> bool:
        asked = self.ask(key)
        known = asked.called
        asked.addErrback(lambda failure: failure.trap(CancelledError)).cancel()
        if not known:
            self.end("")
        return known


def result(asked: Deferred[str]) -> str:
    found: list[str] = []
    asked.addCallback(found.append)
    assert found, "it is still waiting"
    return found[0]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_made_once_for_all(bench: Bench) -> None:
    """All who ask for a value while it is made get that one, and so do those who ask later."""
    asked = [bench.ask("a") for _ in range(10)]
    bench.end("A")
    assert [result(one) for one in asked] == ["A"] * 10
    assert result(bench.ask("a")) == "A"
    assert len(bench.begun) == 1


def test_one_at_a_time(bench: Bench) -> None:
    """Values are made one after the other, in the order in which they were first asked for."""
    asked = [bench.ask(key) for key in "abab"]
    assert [key for key, _ in bench.begun] == ["a"]
    bench.end("A")
    assert [key for key, _ in bench.begun] == ["a", "b"]
    bench.end("B")
    assert [result(one) for one in asked] == ["A", "B", "A", "B"]


def test_asked_for_by_those_who_are_told(bench: Bench) -> None:
    """A value that is asked for while another is told has its turn, once."""
    later: list[Deferred[str]] = []
    bench.ask("a").addCallback(lambda _: later.append(bench.ask("c")))
    other = bench.ask("b")
    bench.end("A")
    assert len(bench.begun) == 2
    bench.end(bench.begun[-1][0].upper())
    assert len(bench.begun) == 3
    bench.end(bench.begun[-1][0].upper())
    assert (result(other), result(later[0])) == ("B", "C")


def test_failures(bench: Bench) -> None:
    """A failure is told to all who wait, is not remembered, and holds nothing up."""
    asked = [bench.ask(key) for key in "aab"]
    bench.end(OSError("broken"))
    for one in asked[:2]:
        failures: list[object] = []
        one.addErrback(failures.append)
        assert failures
    bench.end("B")
    assert result(asked[2]) == "B"
    bench.got("a", "A")


def test_cancelled(bench: Bench) -> None:
    """A request that is given up takes nothing from the others, and the value is remembered all the same."""
    first, second = bench.ask("a"), bench.ask("a")
    first.addErrback(lambda failure: failure.trap(CancelledError))
    first.cancel()
    bench.end("A")
    assert result(second) == "A"
    assert bench.knows("a")


def test_bounded_memory(bench: Bench) -> None:
    """What was used longest ago is forgotten when there is too much; the last value is kept, whatever it weighs."""
    for key in "abc":
        bench.got(key, "xxx")
    assert bench.knows("a")
    bench.got("d", "xxx")
    assert [bench.knows(key) for key in "acd"] == [True, True, True]
    bench.got("e", "x" * 1000)
    assert bench.knows("e")
    assert not bench.knows("a")


def test_values_that_do_not_last(bench: Bench) -> None:
    """A value is used for its time and made anew then, with the weight of the new one."""
    bench.got("a", "?")
    bench.clock.advance(59)
    assert bench.knows("a")
    bench.clock.advance(1)
    for _ in range(5):
        bench.got("a", "?")
        bench.clock.advance(60)
    bench.got("b", "x" * 9)
    bench.got("a", "?")
    assert bench.knows("b")


def test_too_many(bench: Bench) -> None:
    """A bounded number of values waits; one more is refused at once, and those that wait are not."""
    asked = [bench.ask(str(number)) for number in range(MOST_WAITING)]
    with pytest.raises(ExtentsLateError):
        bench.ask("one more")
    again = bench.ask("0")
    for number in range(MOST_WAITING):
        bench.end(str(number))
    assert [result(one) for one in asked] == [str(number) for number in range(MOST_WAITING)]
    assert result(again) == "0"
