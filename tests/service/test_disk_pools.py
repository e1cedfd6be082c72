"""The pools: which thread works, and that none keeps the process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest
from twisted.internet.task import Clock

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
