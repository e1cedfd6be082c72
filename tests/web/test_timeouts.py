"""Timeouts: when a connection has waited too long, and which one makes way for others."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from aero_storage.errors import RefusalReason, StatusAndReason
from aero_storage.web.timeouts import TimedConnection, Timeouts, Wait, Waiting

HEAD, IDLE = 20.0, 60.0
OVERLOADED = (503, RefusalReason.PLACE)


class Connection:
    """A connection in whatever state a test wants."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.state: Waiting | None = Waiting.HEAD
        self.silent: bool = True
        self.ends: list[float] = []
        self.left = False
        self.has_all: bool = True
        self.heads = 0
        self.refusal: StatusAndReason | None = None
        self.wait = Wait()

    @property
    def waiting(self) -> Waiting | None:
        return self.state

    @property
    def is_silent(self) -> bool:
        return self.silent

    def time_out(self) -> None:
        self.ends.append(self._clock.seconds())
        self.state = None

    def make_way(self) -> None:
        self.left = True
        self.state = None


class Scene:
    def __init__(self, head: float = HEAD, idle: float = IDLE) -> None:
        self.clock = Clock()
        self.connections: set[TimedConnection] = set()
        self.timeouts = Timeouts(self.clock, head, idle, self.connections)

    def open(self) -> Connection:
        one = Connection(self.clock)
        self.connections.add(one)
        self.timeouts.opened(one)
        return one

    def idle(self) -> Connection:
        one = self.open()
        one.state, one.heads = Waiting.REQUEST, 1
        return one

    def wait(self, seconds: float, step: float = 0.25) -> None:
        self.clock.pump([step] * int(seconds / step))


@pytest.mark.parametrize("opened", [0.0, 0.25, 0.75])
@pytest.mark.parametrize(("waiting", "limit"), [(Waiting.HEAD, HEAD), (Waiting.REQUEST, IDLE)])
def test_never_early_and_hardly_late(waiting: Waiting, limit: float, opened: float) -> None:
    """A timeout comes after its time, by two looks at the most, whenever the waiting began."""
    scene = Scene()
    scene.open().state = None
    scene.wait(opened)
    one = scene.open()
    one.state = waiting
    scene.wait(limit + 5)
    (end,) = one.ends
    assert opened + limit <= end <= opened + limit + 2 * scene.timeouts.tick


def test_bytes_that_drip_in_do_not_help() -> None:
    """A head that has begun has its time from the opening on, whatever comes meanwhile."""
    scene = Scene()
    one = scene.open()
    scene.wait(15)
    one.silent = False
    scene.wait(4.75)
    assert one.ends == []
    scene.wait(2)
    assert one.ends == [20.0]


def test_requests_between_two_looks_count() -> None:
    """Who is always in the middle of a head when it is looked at, but of another each time, is left alone."""
    scene = Scene()
    one = scene.open()
    one.silent = False
    for _ in range(200):
        scene.wait(1)
        one.heads += 1
    assert one.ends == []


def test_work_is_not_waiting() -> None:
    """While a response is made or sent no time runs; afterwards it starts anew."""
    scene = Scene()
    one = scene.idle()
    scene.wait(50)
    one.state, one.heads = None, 2
    scene.wait(500)
    one.state = Waiting.REQUEST
    scene.wait(59)
    assert one.ends == []
    scene.wait(3)
    assert len(one.ends) == 1


def test_times_out_once() -> None:
    """Who has been told once and is closing is not told again."""
    scene = Scene()
    one = scene.open()
    scene.wait(500)
    assert one.ends == [20.0]


def test_a_refused_connection_waits_less() -> None:
    """A connection that only waits for its refusal has two seconds; a shorter timeout stays."""
    scene, hurried = Scene(), Scene(head=1.0)
    one, other, third = scene.open(), scene.open(), hurried.open()
    one.refusal = third.refusal = OVERLOADED
    scene.wait(30)
    hurried.wait(30)
    assert (one.ends, other.ends, third.ends) == ([2.0], [20.0], [1.0])


@pytest.mark.parametrize(
    ("head", "idle", "tick"), [(20, 60, 1.0), (0.4, 60, 0.1), (20, 2, 0.5), (0.001, 0.001, 0.05), (1e9, 1e9, 1.0)]
)
def test_tick(head: float, idle: float, tick: float) -> None:
    """Short timeouts are looked at more often, but not so often that it is all we do."""
    assert Scene(head, idle).timeouts.tick == tick


def test_no_connections_no_timer() -> None:
    """The reactor holds nothing once nobody is left, be that told or found."""
    scene = Scene()
    one = scene.open()
    scene.connections.discard(one)
    scene.wait(2)
    assert not scene.clock.getDelayedCalls()
    scene.open()
    assert len(scene.clock.getDelayedCalls()) == 1
    scene.timeouts.stop()
    scene.timeouts.stop()
    assert not scene.clock.getDelayedCalls()


def test_longest_silent_makes_way() -> None:
    """Connections make way in the order in which they fell silent, and each once."""
    scene = Scene()
    made = []
    for _ in range(3):
        made.append(scene.idle())
        scene.wait(3)
    for number in (1, 2, 3):
        assert scene.timeouts.make_room()
        assert [one.left for one in made] == [True] * number + [False] * (3 - number)
    assert not scene.timeouts.make_room()


def test_who_has_yet_to_read_makes_way_last() -> None:
    """A connection whose client has all makes way before one that has been silent longer, but has bytes to read."""
    scene = Scene()
    reading = scene.idle()
    reading.has_all = False
    scene.wait(3)
    has_all = scene.idle()
    scene.wait(3)
    assert scene.timeouts.make_room()
    assert (has_all.left, reading.left) == (True, False)
    assert scene.timeouts.make_room()
    assert reading.left


def test_nobody_makes_way_who_is_about_to_ask() -> None:
    """Who has just come, or was heard of since the last look, or is at work or in the middle of a head, stays."""
    scene = Scene()
    busy, dripping, heard, gone = scene.idle(), scene.open(), scene.idle(), scene.idle()
    busy.state, dripping.silent = None, False
    scene.wait(10)
    heard.heads += 1
    scene.connections.discard(gone)
    new = scene.open()
    assert not scene.timeouts.make_room()
    scene.wait(3)
    assert scene.timeouts.make_room()
    assert scene.timeouts.make_room()
    assert not scene.timeouts.make_room()
    assert (heard.left, new.left) == (True, True)
    assert [one.left for one in (busy, dripping, gone)] == [False] * 3


def test_nobody_makes_way_who_takes_no_place() -> None:
    """To close a connection that is to be turned away would win nothing."""
    scene = Scene()
    one = scene.idle()
    one.refusal = OVERLOADED
    scene.wait(1)
    assert not scene.timeouts.make_room()


def test_asked_meanwhile() -> None:
    """Who was silent when those that could make way were sorted, and has asked since, stays."""
    scene = Scene()
    first, second, third = scene.idle(), scene.idle(), scene.idle()
    scene.wait(5)
    assert scene.timeouts.make_room()
    rest = [one for one in (first, second, third) if not one.left]
    for one in rest:
        one.heads += 1
    assert not scene.timeouts.make_room()
    assert not any(one.left for one in rest)
