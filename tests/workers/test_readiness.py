"""When parent and workers are ready together."""

from __future__ import annotations

import attrs
import pytest

from aero_storage.workers.readiness import Readiness


@attrs.define(eq=False)
class Told:
    """Keeps what is told."""

    states: list[str] = attrs.field(factory=list)

    def ready(self) -> None:
        self.states.append("ready")

    def reloading(self) -> None:
        self.states.append("reloading")

    def stopping(self) -> None:
        self.states.append("stopping")


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def readiness(told: Told) -> Readiness:
    """Two workers and their parent."""
    return Readiness(2, told)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)], ids=str)
def test_ready_with_the_last(readiness: Readiness, told: Told, order: tuple[int, ...]) -> None:
    """Ready is told once, with the last of parent and workers; one that has died and come back changes nothing."""
    for number in order[:-1]:
        readiness.answer(number)
        readiness.answer(number)
    assert told.states == []
    readiness.answer(order[-1])
    readiness.answer(1)
    assert told.states == ["ready"]


def test_reload(readiness: Readiness, told: Told) -> None:
    """A reload is over when all have read the catalog; the successor of one that died meanwhile answers for it."""
    for number in (0, 1, 2):
        readiness.answer(number)
    readiness.reloading()
    readiness.answer(1)
    readiness.ready()
    assert told.states == ["ready", "reloading"]
    readiness.answer(2)
    assert told.states == ["ready", "reloading", "ready"]


def test_stop(readiness: Readiness, told: Told) -> None:
    """The end is told at once."""
    readiness.stopping()
    assert told.states == ["stopping"]
