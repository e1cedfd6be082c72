"""Blocking work in threads: where it runs, how its result comes back, and what becomes of it when nobody waits."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar, cast

import attrs
import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from aero_storage.disk import BACKGROUND_TURN, DiskThreads
from aero_storage.errors import DiskHangsError

HANG = 10
PATIENCE_SECONDS = 20.0

_T = TypeVar("_T")


@implementer(IReactorFromThreads)
@attrs.define(eq=False)
class QueueReactor:
    """A reactor of which only the queue for calls from threads is left; the test turns it by hand."""

    calls: queue.SimpleQueue[Callable[[], object]] = attrs.field(factory=queue.SimpleQueue)

    def callFromThread(self, callable: Callable[..., object], *args: object, **kwargs: object) -> None:  # noqa: A002
        self.calls.put(lambda: callable(*args, **kwargs))

    def turn(self) -> None:
        self.calls.get(timeout=HANG)()


@attrs.define(eq=False)
class Gate:
    """Work that tells when it has begun, and goes on when it may."""

    result: object = None
    begun: threading.Event = attrs.field(factory=threading.Event)
    may_go_on: threading.Event = attrs.field(factory=threading.Event)

    def __call__(self) -> object:
        self.begun.set()
        assert self.may_go_on.wait(HANG)
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


@attrs.define(eq=False)
class Discarded:
    """Takes results that nobody waits for."""

    results: list[object] = attrs.field(factory=list)
    threads: list[threading.Thread] = attrs.field(factory=list)
    happened: threading.Event = attrs.field(factory=threading.Event)

    def __call__(self, result: object) -> None:
        self.results.append(result)
        self.threads.append(threading.current_thread())
        self.happened.set()


@pytest.fixture
def reactor() -> QueueReactor:
    return QueueReactor()


@pytest.fixture
def pool() -> Iterator[ThreadPool]:
    """Give a pool of one thread, so that a second piece of work has to wait."""
    threads = ThreadPool(1, 1)
    threads.start()
    yield threads
    threads.stop()


@pytest.fixture
def disk(reactor: QueueReactor, pool: ThreadPool) -> DiskThreads:
    return DiskThreads(reactor, Clock(), pool, 1, PATIENCE_SECONDS)


def outcome(deferred: Deferred[_T]) -> list[object]:
    """The list that holds the result or the exception of a Deferred, once there is one."""
    seen: list[object] = []

    def fail(failure: Failure) -> None:
        seen.append(failure.value)

    deferred.addCallback(seen.append)
    deferred.addErrback(fail)
    return seen


def test_result(disk: DiskThreads, reactor: QueueReactor) -> None:
    """Work is done in another thread, its result arrives in the reactor's, and nothing is discarded."""
    discarded = Discarded()
    arrivals: list[tuple[threading.Thread, threading.Thread]] = []
    deferred = disk.run(threading.current_thread, discarded)
    deferred.addCallback(lambda worker: arrivals.append((worker, threading.current_thread())))
    assert not arrivals
    reactor.turn()
    ((worker, arrived_in),) = arrivals
    assert worker is not threading.current_thread()
    assert arrived_in is threading.current_thread()
    assert not discarded.results


def test_failure(disk: DiskThreads, reactor: QueueReactor) -> None:
    """What work raises arrives as the failure of its Deferred, and nothing is discarded."""
    error, discarded = OSError("the disk is on fire"), Discarded()
    work = Gate(error)
    seen = outcome(disk.run(work, discarded))
    work.may_go_on.set()
    reactor.turn()
    assert seen == [error]
    assert not discarded.results


def test_failures_do_not_end_the_thread(disk: DiskThreads, reactor: QueueReactor) -> None:
    """After a failure the next piece of work is done as if nothing had been."""
    broken = Gate(ValueError("no"))
    broken.may_go_on.set()
    first, second = outcome(disk.run(broken)), outcome(disk.run(lambda: "fine"))
    reactor.turn()
    reactor.turn()
    assert [type(first[0]), second] == [ValueError, ["fine"]]


def test_run_does_no_work_itself(disk: DiskThreads) -> None:
    """To ask for work never waits for it: `run` returns while the only thread is busy."""
    busy = Gate()
    seen = outcome(disk.run(busy))
    later = outcome(disk.run(lambda: "later"))
    assert busy.begun.wait(HANG)
    assert (seen, later) == ([], [])
    busy.may_go_on.set()


def test_cancelled_before_it_begins(disk: DiskThreads, reactor: QueueReactor) -> None:
    """Work that is cancelled while it waits for a thread fails at once and is never done."""
    busy, done, discarded = Gate(), list[str](), Discarded()
    first = outcome(disk.run(busy))
    assert busy.begun.wait(HANG)
    waiting = disk.run(lambda: done.append("cancelled work"), discarded)
    seen = outcome(waiting)
    waiting.cancel()
    assert [type(error) for error in seen] == [CancelledError]
    last = outcome(disk.run(lambda: "last"))
    busy.may_go_on.set()
    reactor.turn()
    reactor.turn()
    assert (first, last) == ([None], ["last"])
    assert (done, discarded.results) == ([], [])
    assert reactor.calls.empty()


def test_cancelled_while_it_is_done(disk: DiskThreads, reactor: QueueReactor) -> None:
    """Work that is cancelled while it is done fails at once; its result goes to `discard`, off the reactor."""
    work, discarded = Gate("an open file"), Discarded()
    deferred = disk.run(work, discarded)
    seen = outcome(deferred)
    assert work.begun.wait(HANG)
    deferred.cancel()
    assert [type(error) for error in seen] == [CancelledError]
    work.may_go_on.set()
    settle(disk, reactor, discarded)
    assert discarded.results == ["an open file"]
    assert threading.current_thread() not in discarded.threads
    assert len(seen) == 1


def test_cancelled_between_the_threads(disk: DiskThreads, reactor: QueueReactor) -> None:
    """A result that is on its way to the reactor when its Deferred is cancelled is discarded too, once."""
    discarded = Discarded()
    deferred = disk.run(lambda: "an open file", discarded)
    seen = outcome(deferred)
    (arriving,) = [reactor.calls.get(timeout=HANG)]
    deferred.cancel()
    reactor.calls.put(arriving)
    settle(disk, reactor, discarded)
    assert discarded.results == ["an open file"]
    assert threading.current_thread() not in discarded.threads
    assert [type(error) for error in seen] == [CancelledError]


def settle(disk: DiskThreads, reactor: QueueReactor, discarded: Discarded) -> None:
    """Turn the reactor until what was discarded has arrived, and all work before this call is done."""
    marker = outcome(disk.run(lambda: "marker"))
    while not marker:
        reactor.turn()
    assert discarded.happened.wait(HANG)


def test_failure_of_cancelled_work(disk: DiskThreads, reactor: QueueReactor) -> None:
    """What cancelled work raises interests nobody: no second failure, nothing to discard."""
    work, discarded = Gate(OSError("too late")), Discarded()
    deferred = disk.run(work, discarded)
    seen = outcome(deferred)
    assert work.begun.wait(HANG)
    deferred.cancel()
    work.may_go_on.set()
    reactor.turn()
    assert [type(error) for error in seen] == [CancelledError]
    assert not discarded.results


def test_cancelled_after_its_end(disk: DiskThreads, reactor: QueueReactor) -> None:
    """A result that was handed over belongs to who asked: a late cancel takes nothing back."""
    discarded = Discarded()
    deferred = disk.run(lambda: "an open file", discarded)
    seen = outcome(deferred)
    reactor.turn()
    deferred.cancel()
    assert (seen, discarded.results) == (["an open file"], [])
    assert reactor.calls.empty()


def test_discard_is_optional(disk: DiskThreads, reactor: QueueReactor) -> None:
    """Results that need no care are simply dropped when nobody waits for them."""
    work = Gate("bytes")
    deferred = disk.run(work)
    seen = outcome(deferred)
    assert work.begun.wait(HANG)
    deferred.cancel()
    work.may_go_on.set()
    last = outcome(disk.run(lambda: "last"))
    while not last:
        reactor.turn()
    assert last == ["last"]
    assert len(seen) == 1


@pytest.fixture
def wide(reactor: QueueReactor) -> Iterator[DiskThreads]:
    """Two threads, of which one lane may take one."""
    threads = ThreadPool(2, 2)
    threads.start()
    yield DiskThreads(reactor, Clock(), threads, 1, PATIENCE_SECONDS)
    threads.stop()


def test_lanes(wide: DiskThreads, reactor: QueueReactor) -> None:
    """What waits for a disk that hangs leaves a thread to the others, and is done once the disk answers."""
    hangs = Gate("at last")
    first, second = outcome(wide.run(hangs, lane=1)), outcome(wide.run(lambda: "second", lane=1))
    assert hangs.begun.wait(HANG)
    for lane in (2, None, "catalog"):
        other = outcome(wide.run(lambda: "other", lane=lane))
        reactor.turn()
        assert other == ["other"]
    assert (first, second) == ([], [])
    hangs.may_go_on.set()
    reactor.turn()
    reactor.turn()
    assert (first, second) == (["at last"], ["second"])
    assert not wide._lanes  # noqa: SLF001


def test_cancelled_in_its_lane(wide: DiskThreads, reactor: QueueReactor) -> None:
    """Who gives up makes room for the next; nothing of it is done."""
    hangs, done = Gate(), list[int]()
    first = outcome(wide.run(hangs, lane=1))
    for _ in range(3):
        waiting = wide.run(lambda: done.append(1), lane=1)
        outcome(waiting)
        waiting.cancel()
    last = outcome(wide.run(lambda: "last", lane=1))
    hangs.may_go_on.set()
    reactor.turn()
    reactor.turn()
    assert (first, last, done) == ([None], ["last"], [])


def test_failure_makes_room(wide: DiskThreads, reactor: QueueReactor) -> None:
    """A disk that fails does not block its lane."""
    work = Gate(OSError("the disk is on fire"))
    outcome(wide.run(work, lane=1))
    last = outcome(wide.run(lambda: "last", lane=1))
    work.may_go_on.set()
    reactor.turn()
    reactor.turn()
    assert last == ["last"]


def test_idle(wide: DiskThreads, reactor: QueueReactor) -> None:
    """Who waits for the threads to have nothing to do is told when the last work has ended, or can give up."""
    assert outcome(wide.when_idle()) == [None]
    gates = Gate(), Gate()
    for lane, gate in enumerate(gates):
        outcome(wide.run(gate, lane=lane))
        assert gate.begun.wait(HANG)
    idle, impatient = outcome(wide.when_idle()), wide.when_idle()
    given_up = outcome(impatient)
    impatient.cancel()
    for gate in gates:
        assert (idle, wide.under_way > 0) == ([], True)
        gate.may_go_on.set()
        reactor.turn()
    assert (idle, wide.under_way) == ([None], 0)
    assert [type(error) for error in given_up] == [CancelledError]


def advance(disk: DiskThreads, seconds: float) -> None:
    assert isinstance(disk.clock, Clock)
    disk.clock.pump([1.0] * round(seconds))


def test_a_disk_that_hangs(wide: DiskThreads, reactor: QueueReactor) -> None:
    """Nobody waits for longer than the patience; what was asked for later has as long, and others are not touched."""
    hangs, discarded = Gate("at last"), Discarded()
    first, second = outcome(wide.run(hangs, discarded, lane=1)), outcome(wide.run(lambda: "second", lane=1))
    assert hangs.begun.wait(HANG)
    advance(wide, PATIENCE_SECONDS - 5)
    third = outcome(wide.run(lambda: "third", lane=1))
    advance(wide, 4)
    assert (first, second) == ([], [])
    advance(wide, 2)
    assert [[type(error) for error in seen] for seen in (first, second, third)] == [[DiskHangsError]] * 2 + [[]]
    assert wide.under_way == 1
    hangs.may_go_on.set()
    while not (third and discarded.results):
        reactor.turn()
    assert (third, discarded.results) == (["third"], ["at last"])
    while wide.under_way:
        reactor.turn()
    advance(wide, 2)
    assert not cast("Clock", wide.clock).getDelayedCalls()


def test_a_slow_disk_is_no_hanging_one(wide: DiskThreads, reactor: QueueReactor) -> None:
    """A line that moves is not given up, however long it is."""
    gates = [Gate(number) for number in range(5)]
    seen = [outcome(wide.run(gate, lane=1)) for gate in gates]
    for gate in gates:
        assert gate.begun.wait(HANG)
        advance(wide, PATIENCE_SECONDS - 2)
        gate.may_go_on.set()
        reactor.turn()
    assert seen == [[number] for number in range(5)]


def test_cancelled_work_leaves_the_line(wide: DiskThreads, reactor: QueueReactor) -> None:
    """What waits for a disk that hangs, and is not wanted any more, takes no memory."""
    hangs = Gate()
    outcome(wide.run(hangs, lane=1))
    for _ in range(1000):
        waiting = wide.run(lambda: None, lane=1)
        outcome(waiting)
        waiting.cancel()
    (lane,) = wide._lanes.values()  # noqa: SLF001
    assert not lane.waiting
    hangs.may_go_on.set()
    reactor.turn()


def test_no_thread_for_who_waits(wide: DiskThreads, reactor: QueueReactor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work whose turn comes when no thread is to be had fails, and the one before it ends as it should."""
    work = Gate("done")
    first, second = outcome(wide.run(work, lane=1)), outcome(wide.run(lambda: "never", lane=1))
    assert work.begun.wait(HANG)

    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(wide.pool, "callInThread", refuse)
    work.may_go_on.set()
    reactor.turn()
    assert (first, [type(error) for error in second]) == (["done"], [RuntimeError])
    assert not wide._lanes  # noqa: SLF001


def test_discard_that_fails(wide: DiskThreads, reactor: QueueReactor) -> None:
    """A close that the disk fails is nobody's business: what was read is not wanted any more."""
    work = Gate("an open file")

    def fail(_: object) -> None:
        raise OSError("the disk is on fire")

    deferred = wide.run(work, fail, lane=1)
    outcome(deferred)
    assert work.begun.wait(HANG)
    deferred.cancel()
    work.may_go_on.set()
    reactor.turn()
    reactor.turn()
    assert not wide._lanes  # noqa: SLF001


def drain(reactor: QueueReactor, disk: DiskThreads) -> None:
    while disk.under_way:
        reactor.turn()


def test_background_work_goes_after_other_work(wide: DiskThreads, reactor: QueueReactor) -> None:
    """Whatever came first: what is in the background begins when nothing else waits for the disk."""
    busy, done = Gate(), list[str]()
    outcome(wide.run(busy, lane=1))
    assert busy.begun.wait(HANG)
    for name in ("late 1", "late 2"):
        outcome(wide.run(partial(done.append, name), lane=1, background=True))
    for name in ("first", "second"):
        outcome(wide.run(partial(done.append, name), lane=1))
    busy.may_go_on.set()
    drain(reactor, wide)
    assert done == ["first", "second", "late 1", "late 2"]
    assert not wide._lanes  # noqa: SLF001


def test_background_work_has_its_turn(wide: DiskThreads, reactor: QueueReactor) -> None:
    """However much other work waits, each eighth that begins is of the background."""
    busy, done = Gate(), list[str]()
    outcome(wide.run(busy, lane=1))
    assert busy.begun.wait(HANG)
    for _ in range(3):
        outcome(wide.run(partial(done.append, "background"), lane=1, background=True))
    for _ in range(40):
        outcome(wide.run(partial(done.append, "other"), lane=1))
    busy.may_go_on.set()
    drain(reactor, wide)
    turns = [number for number, name in enumerate(done, 1) if name == "background"]
    assert turns == [BACKGROUND_TURN, 2 * BACKGROUND_TURN, 3 * BACKGROUND_TURN]
    assert len(done) == 43


def test_background_work_leaves_threads_to_others(reactor: QueueReactor) -> None:
    """It has half of the threads of a lane at most, so that other work begins at once."""
    pool = ThreadPool(4, 4)
    pool.start()
    disk = DiskThreads(reactor, Clock(), pool, 4, PATIENCE_SECONDS)
    gates = [Gate() for _ in range(3)]
    for gate in gates:
        outcome(disk.run(gate, lane=1, background=True))
    assert all(gate.begun.wait(HANG) for gate in gates[:2])
    assert disk.under_way == 2
    other = outcome(disk.run(lambda: "other", lane=1))
    reactor.turn()
    assert (other, gates[2].begun.is_set()) == (["other"], False)
    for gate in gates:
        gate.may_go_on.set()
    drain(reactor, disk)
    assert gates[2].begun.is_set()
    pool.stop()


def test_background_work_that_is_not_begun_expires(reactor: QueueReactor) -> None:
    """While reads in the background hang those behind them fail in time, though other work of the lane still ends."""
    pool = ThreadPool(2, 2)
    pool.start()
    disk = DiskThreads(reactor, Clock(), pool, 2, PATIENCE_SECONDS)
    hangs = Gate()
    seen = [outcome(disk.run(work, lane=1, background=True)) for work in (hangs, lambda: "behind")]
    assert hangs.begun.wait(HANG)
    for _ in range(30):
        outcome(disk.run(lambda: None, lane=1))
        reactor.turn()
        advance(disk, 1)
    assert [[type(error) for error in errors] for errors in seen] == [[DiskHangsError]] * 2
    hangs.may_go_on.set()
    drain(reactor, disk)
    pool.stop()


def test_cancelled_background_work(wide: DiskThreads, reactor: QueueReactor) -> None:
    """What is not wanted any more is not done, and leaves no trace."""
    busy, done = Gate(), list[str]()
    outcome(wide.run(busy, lane=1))
    waiting = wide.run(partial(done.append, "cancelled"), lane=1, background=True)
    outcome(waiting)
    waiting.cancel()
    busy.may_go_on.set()
    drain(reactor, wide)
    assert not done
    assert not wide._lanes  # noqa: SLF001
