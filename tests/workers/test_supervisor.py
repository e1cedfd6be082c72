"""Workers are kept running, with patience, and stopped for certain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest
from twisted.internet.task import Clock

from aero_storage.workers.supervisor import KILL_SECONDS, LONGEST_WAIT, STEADY_SECONDS, STOP_SECONDS, Supervisor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aero_storage.workers.supervisor import Ended


@attrs.define(eq=False)
class Worker:
    """A worker that does what it is told when the test says so."""

    number: int
    ended: Ended
    pid: int
    orders: list[str] = attrs.field(factory=list)

    def stop(self) -> None:
        self.orders.append("stop")

    def reload(self, payload: bytes = b"") -> None:
        self.orders.append(f"reload {payload.decode()}")

    def take_over(self, number: int) -> None:
        self.orders.append(f"take over {number}")

    def give_back(self, number: int) -> None:
        self.orders.append(f"give back {number}")

    def kill(self) -> None:
        self.orders.append("kill")


@attrs.define(eq=False)
class House:
    """A supervisor of three, and all workers that it has ever started."""

    clock: Clock = attrs.field(factory=Clock)
    events: list[tuple[str, str, dict[str, Any]]] = attrs.field(factory=list)
    started: list[Worker] = attrs.field(factory=list)
    failing: bool = False
    traced: set[int] = attrs.field(factory=set)
    sockets: list[str] = attrs.field(factory=list)
    supervisor: Supervisor = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.supervisor = Supervisor(
            self.spawn, self.clock, self, 3, sockets=self, is_traced=self.traced.__contains__
        )
        self.supervisor.start()

    def withdraw(self, number: int) -> None:
        self.sockets.append(f"withdraw {number}")

    def restore(self, number: int) -> None:
        self.sockets.append(f"restore {number}")

    def run(self, seconds: int, *heard: int) -> None:
        """Let time pass; the workers of these numbers send a message each second."""
        for _ in range(seconds):
            for number in heard:
                self.supervisor.heard(number)
            self.clock.advance(1)

    def spawn(self, number: int, ended: Ended) -> Worker:
        if self.failing:
            raise OSError(11, "Resource temporarily unavailable")
        self.started.append(Worker(number, ended, 100 + len(self.started)))
        return self.started[-1]

    def event(self, level: str, message: str, fields: Mapping[str, object] = {}) -> None:
        self.events.append((level, message, dict(fields)))

    def said(self, message: str) -> list[dict[str, Any]]:
        return [fields for _, text, fields in self.events if text == message]

    def latest(self, number: int) -> Worker:
        return [worker for worker in self.started if worker.number == number][-1]

    def wait_for_next(self) -> float:
        """Let the newest worker die at once; how long it takes until the next is there."""
        before, began = len(self.started), self.clock.seconds()
        self.started[-1].ended({"status": 1})
        while len(self.started) == before:
            self.clock.advance(0.25)
        return self.clock.seconds() - began - 0.25


@pytest.fixture
def house() -> House:
    return House()


def test_starts_all(house: House) -> None:
    """All are started, once each, and each is told with its process."""
    assert [worker.number for worker in house.started] == [1, 2, 3]
    started = [{"child": number, "pid": 99 + number} for number in (1, 2, 3)]
    assert house.said("worker started") == started


def test_replaced_at_once(house: House) -> None:
    """A worker that ends unasked is replaced in the next turn, and told with how it ended."""
    house.started[1].ended({"signal": "SIGKILL"})
    house.clock.advance(0)
    assert [worker.number for worker in house.started] == [1, 2, 3, 2]
    gone = {"child": 2, "pid": 101, "signal": "SIGKILL", "restart_in_seconds": 0.0}
    assert house.said("worker ended unasked") == [gone]


def test_ended_well_but_unasked(house: House) -> None:
    """One that ends with status 0 unasked, as somebody has sent it a SIGTERM, is replaced too."""
    house.started[0].ended({"status": 0})
    house.clock.advance(0)
    assert len(house.started) == 4


def test_back_off(house: House) -> None:
    """Workers that keep dying soon are waited for ever longer, half a minute at most."""
    waits = [round(house.wait_for_next()) for _ in range(9)]
    assert waits == [0, 1, 2, 4, 8, 16, 30, 30, 30]
    assert waits[-1] == LONGEST_WAIT


def test_each_for_itself(house: House) -> None:
    """That one dies again and again does not delay another's successor."""
    for _ in range(6):
        house.latest(3).ended({"status": 1})
        house.clock.advance(LONGEST_WAIT)
    before = len(house.started)
    house.latest(1).ended({"status": 1})
    house.clock.advance(0)
    assert house.started[before].number == 1


def test_patience_is_renewed(house: House) -> None:
    """A worker that has lived for a while did not die of its start: its successor comes at once again."""
    for _ in range(4):
        house.wait_for_next()
    house.clock.advance(STEADY_SECONDS)
    assert house.wait_for_next() == 0
    assert round(house.wait_for_next()) == 1


def test_cannot_be_started(house: House) -> None:
    """A worker that cannot be started, as processes or descriptors are short, is tried again like one that died."""
    house.failing = True
    house.started[0].ended({"status": 1})
    house.clock.advance(0)
    house.clock.pump([0.5] * 20)
    failures = [line for line in house.said("worker ended unasked") if "reason" in line]
    assert [line["restart_in_seconds"] for line in failures] == [1, 2, 4, 8]
    assert all("temporarily" in line["reason"] and "pid" not in line for line in failures)
    house.failing = False
    house.clock.advance(8)
    assert house.latest(1).pid == 103


def test_reload(house: House) -> None:
    """All that run are told; one that is yet to start reads the catalog anyway."""
    house.started[0].ended({"status": 1})
    house.supervisor.reload(b"all")
    assert [worker.orders for worker in house.started] == [[], ["reload all"], ["reload all"]]


@pytest.fixture
def stopping(house: House) -> tuple[House, list[None]]:
    """A house that is being stopped, and where the end is told."""
    done: list[None] = []
    house.supervisor.stop().addCallback(done.append)
    return house, done


def test_stop(stopping: tuple[House, list[None]]) -> None:
    """All are told once to stop; the end comes with the last of them, whatever its status, and nobody is replaced."""
    house, done = stopping
    assert [worker.orders for worker in house.started] == [["stop"]] * 3
    endings: list[dict[str, object]] = [{"status": 0}, {"status": 1}, {"signal": "SIGTERM"}]
    for worker, how in zip(house.started, endings, strict=True):
        assert done == []
        worker.ended(how)
    assert done == [None]
    assert house.clock.getDelayedCalls() == []
    assert len(house.started) == 3
    assert len(house.said("worker stopped")) == 3
    assert not [level for level, _, _ in house.events if level != "info"]


def test_kill(stopping: tuple[House, list[None]]) -> None:
    """Those who have not stopped in time are killed."""
    house, done = stopping
    house.started[0].ended({"status": 0})
    house.clock.advance(STOP_SECONDS)
    assert [worker.orders for worker in house.started] == [["stop"], ["stop", "kill"], ["stop", "kill"]]
    assert done == []
    for worker in house.started[1:]:
        worker.ended({"signal": "SIGKILL"})
    assert done == [None]
    assert house.clock.getDelayedCalls() == []


def test_what_cannot_be_killed(stopping: tuple[House, list[None]]) -> None:
    """A worker that even a kill does not end, as a disk hangs, does not hold up the parent; it is told."""
    house, done = stopping
    house.clock.advance(STOP_SECONDS)
    house.started[0].ended({"signal": "SIGKILL"})
    house.clock.advance(KILL_SECONDS)
    assert done == [None]
    assert house.said("leaving workers behind that cannot be killed yet") == [{"pids": [101, 102]}]
    house.started[1].ended({"signal": "SIGKILL"})
    assert done == [None]


def test_patience(house: House) -> None:
    """Workers may go on for the time that they were promised, unless they are stopped at once."""
    house.supervisor._grace = 30.0  # noqa: SLF001
    house.supervisor.stop()
    house.clock.advance(30 + STOP_SECONDS - 0.1)
    assert [worker.orders for worker in house.started] == [["stop"]] * 3
    assert house.supervisor.stop_now()
    assert [worker.orders for worker in house.started] == [["stop"] * 2] * 3
    house.clock.advance(STOP_SECONDS / 2)
    assert not house.supervisor.stop_now()  # an impatient operator puts nothing off
    house.clock.advance(STOP_SECONDS / 2)
    assert [worker.orders for worker in house.started] == [["stop", "stop", "kill"]] * 3


def test_silent(house: House) -> None:
    """A worker that falls silent is killed, with one line at level error, and replaced at once."""
    house.run(1, 1, 2, 3)
    house.run(10, 1, 3)
    victim = house.started[1]
    assert victim.orders == ["kill"]
    victim.ended({"signal": "SIGKILL"})
    house.run(2, 1, 3)
    assert [worker.number for worker in house.started] == [1, 2, 3, 2]
    errors = [(text, fields) for level, text, fields in house.events if level == "error"]
    assert errors == [("killing a worker that is silent", {"child": 2, "pid": 101, "silent_seconds": 10.0})]
    house.run(10, 1, 2, 3)
    assert [worker.orders for worker in house.started] == [[], ["kill"], [], []]


def test_debugged(house: House) -> None:
    """A worker that a debugger holds is spared for as long as that lasts."""
    house.run(1, 1, 2, 3)
    house.traced.add(101)
    house.run(60, 1, 3)
    assert house.started[1].orders == []
    house.traced.clear()
    house.run(7, 1, 3)
    assert house.started[1].orders == ["kill"]


def test_sockets_of_a_dead_worker(house: House) -> None:
    """All that accept take over the sockets of a dead worker, until its successor accepts."""
    for number in (1, 2, 3):
        house.supervisor.ready(number)
    house.started[1].ended({"status": 1})
    assert [worker.orders for worker in house.started] == [["take over 2"], [], ["take over 2"]]
    house.clock.advance(0)
    house.supervisor.ready(2)
    assert house.started[0].orders == house.started[2].orders == ["take over 2", "give back 2"]
    assert house.sockets == []


def test_sockets_of_a_worker_that_stops(house: House) -> None:
    """The others take over as soon as a worker begins to stop, though it may take long to end."""
    for number in (1, 2, 3):
        house.supervisor.ready(number)
    house.supervisor.stopping(3)
    assert [worker.orders for worker in house.started] == [["take over 3"], ["take over 3"], []]


def test_nobody_is_left(house: House) -> None:
    """Sockets are withdrawn while all workers wait for their next start, and restored before it."""
    for worker in house.started[:]:
        worker.ended({"status": 1})
    assert house.sockets == []  # the next ones start at once
    house.clock.advance(0)
    for worker in house.started[3:]:
        worker.ended({"status": 1})
    assert house.sockets == ["withdraw 1", "withdraw 2", "withdraw 3"]
    house.sockets.clear()
    house.clock.advance(1)
    assert house.sockets == ["restore 1", "restore 2", "restore 3"]


def test_stop_while_waiting(house: House) -> None:
    """Nobody is started any more once the stop has begun, though a place was to be filled."""
    for worker in house.started[:]:
        worker.ended({"status": 1})
    done: list[None] = []
    house.supervisor.stop().addCallback(done.append)
    assert done == [None]
    house.clock.advance(LONGEST_WAIT)
    assert len(house.started) == 3
    assert house.clock.getDelayedCalls() == []
