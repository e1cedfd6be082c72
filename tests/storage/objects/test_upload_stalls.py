"""What is told while a store takes nothing of an upload."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from aero_storage.storage.objects.stored_content import Source, StallWatch, told_of_stalls


def test_a_store_that_hangs() -> None:
    """From the second look on that finds nothing taken, for how long; what moves again is not told of."""
    source, told = Source([b"abc", b"de"], 5), list[float]()
    watch, pieces = StallWatch(source, told.append), iter(source)
    next(pieces)
    for now in (0.0, 5.0, 10.0):
        watch.look(now)
    assert told == [5.0, 10.0]
    next(pieces)
    watch.look(15.0)
    assert told == [5.0, 10.0]
    watch.look(20.0)
    assert told == [5.0, 10.0, 5.0]


def test_the_last_answer() -> None:
    """When all pieces have gone, the store is waited for."""
    source, told = Source([b"abc"], 3), list[float]()
    watch = StallWatch(source, told.append)
    assert list(source) == [b"abc"]
    watch.look(0.0)
    watch.look(5.0)
    assert told == [5.0]


def test_a_slow_source() -> None:
    """A disk or a download that brings nothing is no trouble of the store."""
    told = list[float]()

    def slow_pieces() -> Iterator[bytes]:
        yield b"a"
        for now in (0.0, 5.0, 10.0):  # the store has asked for the next one
            watch.look(now)
        yield b"b"

    source = Source(slow_pieces(), 2)
    watch = StallWatch(source, told.append)
    assert list(source) == [b"a", b"b"]
    assert told == []


def test_the_thread() -> None:
    """It tells while the block lasts, and is gone behind it."""
    source, has_told = Source([b"abc"], 4), threading.Event()
    next(iter(source))
    with told_of_stalls(source, lambda _seconds: has_told.set(), 0.001):
        assert has_told.wait(10)
    assert "upload" not in {thread.name for thread in threading.enumerate()}
