"""The pools: which thread works, and that none keeps the process."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, cast

import attrs
import pytest
from tests.delivery.conftest import FakeLog
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from aero_storage.disk import DiskThreads
from aero_storage.service.disk_pools import DiskPools, make_disk_pools

HANG = 10


@pytest.fixture
def threads() -> Iterator[DiskPools]:
    made = make_disk_pools(cast("Any", Clock()))
    made.start()
    yield made
    made.disk.pool.stop()
    made.readers.pool.stop()


def test_who_worked_last_works_next(threads: DiskPools) -> None:
    """One piece of work after the other is done by one thread: all others stay as small as they began."""
    pool, workers, done = threads.readers.pool, set[threading.Thread](), threading.Event()

    def work() -> None:
        workers.add(threading.current_thread())
        done.set()

    for _ in range(200):
        done.clear()
        pool.callInThread(work)
        assert done.wait(HANG)
        while len(pool.working):  # told by the thread itself, a moment later
            pass
    assert len(workers) <= 2


def test_all_can_work_at_once(threads: DiskPools) -> None:
    """There are as many as there is room for, and none keeps the process from ending."""
    pool = threads.readers.pool
    everybody = threading.Barrier(pool.max + 1)
    for _ in range(pool.max):
        pool.callInThread(everybody.wait, HANG)
    everybody.wait(HANG)
    assert all(thread.daemon for thread in pool.threads)
    assert len(pool.threads) == pool.max


class ReactorClock(Clock):
    """A clock to which results of threads come at once."""

    def callFromThread(self, call: Callable[..., object], *arguments: object) -> None:
        call(*arguments)


@attrs.define
class Queue:
    """A pool whose threads work when they are told to."""

    calls: deque[Callable[[], None]] = attrs.field(factory=deque)

    def callInThread(self, call: Callable[[], None]) -> None:
        self.calls.append(call)

    def work(self) -> None:
        self.calls.popleft()()


def test_a_stop_waits_for_work_that_other_work_brings() -> None:
    """An open that was given up ends and brings the close of its file: the wait ends after both."""
    clock, queue, log = ReactorClock(), Queue(), FakeLog()
    disk, patient, readers = (DiskThreads(cast("Any", clock), clock, cast("Any", queue), 1, 60.0) for _ in range(3))
    opening: Deferred[None]

    def give_up() -> None:
        opening.cancel()

    opening = disk.run(give_up)
    opening.addErrback(lambda _failure: None)
    waiting = Deferred.fromCoroutine(DiskPools(disk, patient, readers).wait_until_idle(cast("Any", clock), log))
    for _ in range(2):
        assert not waiting.called
        queue.work()
    assert waiting.called
    assert not log.events


@pytest.mark.parametrize(("has_origin", "silent"), [(False, "a disk"), (True, "a disk or the object store")])
def test_what_does_not_answer_is_named(*, has_origin: bool, silent: str) -> None:
    """A stop that leaves work behind names the object store where there is one: it may be what hangs."""
    clock, queue, log = ReactorClock(), Queue(), FakeLog()
    disk, patient, readers, origin = (
        DiskThreads(cast("Any", clock), clock, cast("Any", queue), 1, 60.0) for _ in range(4)
    )
    disk.run(bool)
    waiting = Deferred.fromCoroutine(
        DiskPools(disk, patient, readers, origin if has_origin else None).wait_until_idle(cast("Any", clock), log)
    )
    clock.advance(60)
    assert waiting.called
    assert [message for _, message, _ in log.events] == [f"{silent} does not answer: ending all the same"]
