"""Work shared out to threads: all of it is done once, or all threads end with the first failure."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from aero_storage.chunks.parallel import WorkItems, share_out

PATIENCE = 20


def others() -> set[threading.Thread]:
    return set(threading.enumerate()) - {threading.main_thread()}


@pytest.mark.parametrize("jobs", [1, 2, 7])
@pytest.mark.parametrize("count", [0, 1, 500])
def test_every_item_once(jobs: int, count: int) -> None:
    """Every item is taken by one thread, and all threads have ended when the call returns."""
    before, taken = others(), list[int]()

    def work(share: WorkItems[int]) -> None:
        for item in share:
            taken.append(item)

    share_out(range(count), jobs, work)
    assert sorted(taken) == list(range(count))
    assert others() == before


def test_first_error_halts_all() -> None:
    """An error of one thread ends the others amid their items, and is the one that is raised."""
    before, both = others(), threading.Barrier(2)

    def work(share: WorkItems[int]) -> None:
        for item in share:
            both.wait(PATIENCE)
            if item == 0:
                raise OSError("disk gone")
            while True:
                share.check()

    with pytest.raises(OSError, match="disk gone"):
        share_out(range(1000), 2, work)
    assert others() == before


def test_interrupted_caller() -> None:
    """Control-C ends all threads before it goes on to the caller, also if it is pressed again meanwhile."""
    before, main = others(), threading.main_thread().ident
    assert main is not None
    ended, all_of_them = list[None](), threading.Barrier(3)

    def work(share: WorkItems[int]) -> None:
        next(share)
        all_of_them.wait(PATIENCE)
        try:
            signal.pthread_kill(main, signal.SIGINT)
            while True:
                share.check()
        finally:
            signal.pthread_kill(main, signal.SIGINT)
            ended.append(None)

    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        with pytest.raises(KeyboardInterrupt):
            share_out(range(1000), 3, work)
    finally:
        signal.signal(signal.SIGINT, handler)
    assert len(ended) == 3
    assert others() == before


def test_failing_items() -> None:
    """An error of the items themselves ends the work too."""

    def items() -> Iterator[int]:
        yield 1
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        share_out(items(), 2, lambda share: [*share].clear())
