"""Work that waits for an origin: its time limit, its lanes, and what is counted of it."""

from __future__ import annotations

import pytest
from tests.storage.objects.fake_origin import Threads
from tests.storage.objects.test_object_looks import result_of
from twisted.internet.defer import CancelledError

from aero_storage.errors import OriginUnavailableError
from aero_storage.metrics import Counts
from aero_storage.service.origin_counts import OriginCounts
from aero_storage.storage.objects.origin_threads import GRACE_SECONDS, LOOK_LANE, OriginThreads


def test_result() -> None:
    """Work gives its result, whatever the lane."""
    threads = Threads()
    assert result_of(OriginThreads(threads.disk, threads.clock, 20.0).run(lambda: 5, lane=LOOK_LANE)) == 5
    assert not threads.clock.getDelayedCalls() or len(threads.clock.getDelayedCalls()) == 1  # the lanes' own timer


def test_time_limit() -> None:
    """Work that has found no thread within the time limit fails like an origin without an answer, and is not done."""
    threads, done = Threads(), []
    threads.pool.held = True
    origin = OriginThreads(threads.disk, threads.clock, 20.0)
    waiting = [origin.run(lambda: done.append(1), lane=LOOK_LANE) for _ in range(20)]
    threads.clock.advance(20.0 + GRACE_SECONDS)
    for one in waiting:
        with pytest.raises(OriginUnavailableError):
            result_of(one)
    threads.pool.release()
    assert len(done) == 0
    assert threads.disk.under_way == 0


def test_cancelled() -> None:
    """Who leaves hears of it as of any work in a thread."""
    threads = Threads()
    threads.pool.held = True
    running = OriginThreads(threads.disk, threads.clock, 20.0).run(lambda: 5)
    running.cancel()
    with pytest.raises(CancelledError):
        result_of(running)


def test_lanes() -> None:
    """A lane that is full of work that hangs holds up no other."""
    threads = Threads()
    threads.pool.held = True
    origin = OriginThreads(threads.disk, threads.clock, 20.0)
    hanging = [origin.run(lambda: None, lane="origin") for _ in range(9)]
    looking = origin.run(lambda: 5, lane=LOOK_LANE)
    assert len(threads.pool.jobs) == 8 + 1
    threads.pool.jobs.pop()()
    assert result_of(looking) == 5
    threads.pool.release()
    assert [result_of(one) for one in hanging] == [None] * 9


def test_counts() -> None:
    """Requests are counted by operation and result; an origin is up if it gave an answer, good or bad."""
    told, counts = OriginCounts(), Counts()
    assert not told.is_up
    told.requested("get", "ok", 0.02, 100)
    told.requested("get", "denied", 0.02, 0)
    assert told.is_up
    told.requested("head", "timeout", 6.0, 0)
    assert not told.is_up
    told.put_into(counts)
    assert counts.origin_requests["get", "ok"] == counts.origin_requests["get", "denied"] == 1
    assert counts.origin_requests["list", "ok"] == 0
    assert counts.origin_bytes == {(): 100}
    assert sum(counts.origin_durations["get",][:-1]) == 2
    assert counts.cache_requests == {}
