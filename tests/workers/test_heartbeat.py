"""A worker that sends nothing is found, without a mistake about one that could not."""

from __future__ import annotations

import attrs
import pytest
from twisted.internet.task import Clock

from aero_storage.workers.heartbeat import (
    CHECK_SECONDS,
    LATE_SECONDS,
    PAUSE_SECONDS,
    REPLACE_SECONDS,
    SILENT_SECONDS,
    START_SECONDS,
    Heartbeat,
)


@attrs.define(eq=False)
class Ward:
    """Three workers that have been heard once, and what became of them."""

    clock: Clock = attrs.field(factory=Clock)
    killed: list[tuple[int, float]] = attrs.field(factory=list)
    paused: list[tuple[int, bool]] = attrs.field(factory=list)
    traced: set[int] = attrs.field(factory=set)
    heartbeat: Heartbeat = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.heartbeat = Heartbeat(
            self.clock,
            lambda number, seconds: self.killed.append((number, seconds)),
            lambda number, is_paused: self.paused.append((number, is_paused)),
            self.traced.__contains__,
        )
        self.heartbeat.start()
        for number in (1, 2, 3):
            self.heartbeat.began(number, 100 + number)
            self.heartbeat.heard(number)

    def run(self, seconds: float, *heard: int) -> None:
        """Let time pass; the workers of these numbers send a message before each check."""
        for _ in range(round(seconds / CHECK_SECONDS)):
            for number in heard:
                self.heartbeat.heard(number)
            self.clock.advance(CHECK_SECONDS)


@pytest.fixture
def ward() -> Ward:
    return Ward()


def test_all_are_heard(ward: Ward) -> None:
    """Workers that send their messages are left alone."""
    ward.run(100, 1, 2, 3)
    assert (ward.killed, ward.paused) == ([], [])


def test_silence(ward: Ward) -> None:
    """Others stand in for a silent worker after PAUSE_SECONDS; it is killed after SILENT_SECONDS, and once."""
    ward.run(PAUSE_SECONDS - 1, 1, 3)
    assert ward.paused == []
    ward.run(1, 1, 3)
    assert ward.paused == [(2, True)]
    ward.run(SILENT_SECONDS - PAUSE_SECONDS - 1, 1, 3)
    assert ward.killed == []
    ward.run(100, 1, 3)
    assert ward.killed == [(2, SILENT_SECONDS)]
    assert ward.paused == [(2, True)]


def test_heard_again(ward: Ward) -> None:
    """A worker that is heard just in time gets its sockets back, and its silence counts from zero."""
    ward.run(SILENT_SECONDS - 1, 1, 3)
    ward.heartbeat.heard(2)
    assert ward.paused == [(2, True), (2, False)]
    ward.run(SILENT_SECONDS - 1, 1, 3)
    assert ward.killed == []


@pytest.mark.parametrize("late", [LATE_SECONDS + 0.1, 3600.0])
def test_parent_was_stopped(ward: Ward, late: float) -> None:
    """Time in which the parent did not run, as the machine was suspended, is no silence, however often it happens."""
    for _ in range(20):
        ward.clock.advance(CHECK_SECONDS + late)
    assert (ward.killed, ward.paused) == ([], [])
    ward.run(SILENT_SECONDS)
    assert len(ward.killed) == 1


def test_slightly_late(ward: Ward) -> None:
    """A check that is late by less counts: a busy machine does not keep a stuck worker alive."""
    for _ in range(10):
        ward.clock.advance(CHECK_SECONDS + LATE_SECONDS)
    assert len(ward.killed) == 1


def test_one_at_a_time(ward: Ward) -> None:
    """Of several silent workers the next is killed once the last one's successor is heard."""
    ward.run(30)
    ((first, _),) = ward.killed
    ward.heartbeat.heard(first)  # what a dead one has sent does not count
    ward.run(1)
    assert len(ward.killed) == 1
    ward.heartbeat.ended(first)
    ward.heartbeat.began(first, 200)
    ward.run(1)
    assert len(ward.killed) == 1
    ward.heartbeat.heard(first)
    ward.run(1)
    assert len(ward.killed) == 2


def test_one_that_cannot_be_replaced(ward: Ward) -> None:
    """One that even a kill does not end protects the others for REPLACE_SECONDS only."""
    ward.run(SILENT_SECONDS + REPLACE_SECONDS - 1)
    assert len(ward.killed) == 1
    ward.run(1)
    assert len(ward.killed) == 2


def test_debugger(ward: Ward) -> None:
    """A worker that a debugger holds is not killed; when it is let go it has time to be heard."""
    ward.traced.add(102)
    ward.run(1000, 1, 3)
    ward.traced.clear()
    ward.run(SILENT_SECONDS - PAUSE_SECONDS - 1, 1, 3)
    assert ward.killed == []
    assert ward.paused == [(2, True)]
    ward.run(1, 1, 3)
    assert [number for number, _ in ward.killed] == [2]


def test_start(ward: Ward) -> None:
    """A worker that starts may take longer for its first message, yet not for ever."""
    ward.heartbeat.ended(2)
    ward.heartbeat.began(2, 200)
    ward.run(START_SECONDS - 1, 1, 3)
    assert ward.killed == []
    ward.run(1, 1, 3)
    assert ward.killed == [(2, START_SECONDS)]


def test_stop(ward: Ward) -> None:
    """No check is left once it has stopped."""
    ward.heartbeat.stop()
    assert ward.clock.getDelayedCalls() == []
