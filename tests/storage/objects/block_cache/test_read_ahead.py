"""Read-ahead: it grows with reading in order, and stops with the client."""

from __future__ import annotations

from tests.storage.objects.block_cache.workers import BLOCK, Origin, Worker, pattern
from twisted.internet.defer import CancelledError

from aero_storage.storage.objects.block_cache.read_ahead import MOST_AHEAD, ReadAhead

DATA = pattern(64 * BLOCK)


def test_growth() -> None:
    """Nothing is read ahead for a first block; in order the read-ahead doubles, up to its bound and the end."""
    ahead = ReadAhead(40)
    assert list(ahead.missed(3, 3)) == []
    assert list(ahead.missed(4, 4)) == [5]
    assert list(ahead.passed(5)) == [6, 7]
    assert list(ahead.passed(6)) == [8, 9, 10]
    most = 0
    for block in range(7, 39):
        ahead.passed(block)
        most = max(most, ahead.end - block - 1)
    assert most == MOST_AHEAD
    assert ahead.end == 40


def test_jumps_end_it() -> None:
    """A stream that reads elsewhere begins anew."""
    ahead = ReadAhead(40)
    for block in range(3):
        ahead.missed(block, block)
    assert list(ahead.missed(20, 20)) == []
    assert ahead.depth == 0


def test_random_reads(worker: Worker) -> None:
    """A client that reads at random causes no other fetch than those of its blocks."""
    origin = Origin(DATA)
    opened = worker.open(origin)
    for block in (40, 3, 17, 60, 5):
        worker.sent(opened.another(), block * BLOCK, 100)
    assert [offset // BLOCK for offset, _ in origin.fetched] == [40, 3, 17, 60, 5]
    opened.close()


def test_it_stops_with_the_client(worker: Worker) -> None:
    """When a client goes, what was read ahead for it alone and has not begun is not fetched."""
    origin = Origin(DATA)
    opened = worker.open(origin)
    stream = opened.another()
    worker.sent(stream, 0, 6 * BLOCK)
    worker.settle()
    fetched = len(origin.fetched)
    block = max(offset for offset, _ in origin.fetched) // BLOCK + 1
    waiting = stream.warm(worker.threads, block * BLOCK, 1, background=False)
    waiting.addErrback(lambda failure: failure.trap(CancelledError))
    waiting.cancel()
    worker.settle()
    assert len(origin.fetched) == fetched
    opened.close()


def test_memory(worker: Worker) -> None:
    """A client that takes nothing more has at most the read-ahead fetched for it."""
    origin = Origin(DATA)
    opened = worker.open(origin)
    worker.sent(opened.another(), 0, 12 * BLOCK)
    worker.settle()
    assert len(origin.fetched) <= 12 + MOST_AHEAD
    opened.close()
