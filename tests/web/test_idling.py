"""The idle timer: what it does is what Twisted's own does."""

from __future__ import annotations

import pytest
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock
from twisted.protocols.policies import TimeoutMixin

from aero_storage.web.idling import IdleTimer


class Timing:
    """Notes when time has run out."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.ends: list[float] = []

    def callLater(self, *arguments: object) -> IDelayedCall:
        return self.clock.callLater(*arguments)  # type: ignore[arg-type]

    def timeoutConnection(self) -> None:
        self.ends.append(self.clock.seconds())


class Ours(Timing, IdleTimer):
    pass


class Theirs(Timing, TimeoutMixin):
    pass


@pytest.mark.parametrize(
    ("steps", "ends"),
    [
        ([(0, "start")], [60]),
        ([(0, "start"), (59, "heard")], [119]),
        ([(0, "start"), (10, "stop")], []),
        ([(0, "start"), (10, "stop"), (20, "heard")], []),
        ([(0, "start"), (10, "stop"), (20, "start")], [80]),
        ([(0, "start"), (10, "stop"), (100, "start")], [160]),
        ([(0, "start"), (10, "stop"), (20, "start"), (30, "stop"), (200, "start"), (210, "heard")], [270]),
        ([(0, "start"), (100, "heard"), (100, "start")], [60, 160]),
        ([(100, "heard"), (100, "stop")], []),
    ],
)
@pytest.mark.parametrize("kind", [Ours, Theirs])
def test_runs_out(kind: type[Ours | Theirs], steps: list[tuple[int, str]], ends: list[float]) -> None:
    """Time runs out after sixty seconds in which nothing was heard and the timer was not stopped."""
    timer = kind()
    does = {
        "start": lambda: timer.setTimeout(60),
        "stop": lambda: timer.setTimeout(None),
        "heard": timer.resetTimeout,
    }
    for second, step in steps:
        timer.clock.pump([1] * int(second - timer.clock.seconds()))
        does[step]()
    timer.clock.pump([1] * 500)
    assert timer.ends == ends
    assert not timer.clock.getDelayedCalls()


def test_tells_what_was_set() -> None:
    """Who stops it is told what to start it with."""
    timer = Ours()
    assert timer.setTimeout(60) is None
    assert timer.setTimeout(None) == 60
    assert timer.setTimeout(60) is None


def test_forgets() -> None:
    """Once the connection is gone the reactor holds nothing."""
    timer = Ours()
    timer.forget_timeout()
    timer.setTimeout(60)
    timer.setTimeout(None)
    timer.forget_timeout()
    timer.forget_timeout()
    assert not timer.clock.getDelayedCalls()
