"""What a cached object serves: the object's bytes, from the origin once, from the disk after that."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from tests.storage.objects.block_cache.workers import (
    BLOCK,
    Origin,
    Worker,
    begin_new_run,
    drained,
    pair_of_sockets,
    pattern,
    roomy_disk,
)
from twisted.internet.defer import CancelledError, Deferred

from aero_storage.storage.objects.block_cache.cached_object import CachedObject

DATA = pattern(10 * BLOCK + 1234)


@pytest.fixture
def origin() -> Origin:
    return Origin(DATA)


def test_whole_object(worker: Worker, origin: Origin) -> None:
    """All bytes come, each block is fetched once, and a second pass asks the origin for nothing."""
    opened = worker.open(origin)
    assert worker.sent(opened) == DATA
    assert sorted(origin.fetched) == [(at, min(BLOCK, len(DATA) - at)) for at in range(0, len(DATA), BLOCK)]
    assert opened.origin_bytes == len(DATA)
    origin.fetched.clear()
    again = opened.another()
    assert worker.sent(again) == DATA
    assert again.origin_bytes == 0
    assert origin.fetched == []
    opened.close()
    assert worker.cache.counts.misses == worker.cache.counts.hits == 11


@pytest.mark.parametrize(("offset", "length"), [(0, 1), (BLOCK - 1, 2), (5, 3 * BLOCK), (10 * BLOCK, 1234)])
def test_ranges(worker: Worker, origin: Origin, offset: int, length: int) -> None:
    """A range across blocks comes as it is, by each way: sent, copied at once, copied later, read in a thread."""
    opened, end = worker.open(origin), offset + length
    target = memoryview(bytearray(length))
    assert not opened.read_now_into(offset, target)
    assert worker.read(opened, offset, length) == DATA[offset:end]
    assert worker.sent(opened, offset, length) == DATA[offset:end]
    assert opened.read_now_into(offset, target)
    assert target == DATA[offset:end]
    assert opened.read(offset, length) == DATA[offset:end]
    opened.close()


def test_bytes_go_before_they_are_stored(make_worker: Callable[..., Worker], origin: Origin) -> None:
    """Who waits for a block has it from memory while room is made for it; once it is stored memory has it no more."""
    early: list[bytes] = []
    waiting: list[Deferred[bytes]] = []

    def statvfs(_path: str) -> SimpleNamespace:
        early.extend(cast("bytes", one.result) for one in waiting if one.called)
        return roomy_disk()

    worker = make_worker(statvfs=statvfs)
    opened = worker.open(origin)
    waiting.append(opened.read_later(worker.threads, 5, 100, background=False))
    worker.settle()
    assert early == [DATA[5:105]]
    assert worker.cache._common.memory.bytes == 0  # noqa: SLF001 - what no client can see
    assert opened.read_now_into(5, memoryview(bytearray(100)))
    opened.close()


def test_who_leaves_before_the_end_does_not_end_it(make_worker: Callable[..., Worker], origin: Origin) -> None:
    """A block that has arrived for one client stays until it is stored, also if the one who read ahead leaves."""
    leaving: list[CachedObject] = []
    sendable: list[bool] = []

    def statvfs(_path: str) -> SimpleNamespace:
        for one in leaving:
            one.stop()
            sendable.append(other.is_sendable(2 * BLOCK, BLOCK))
        return roomy_disk()

    worker = make_worker(statvfs=statvfs)
    opened = worker.open(origin)
    other = opened.another()
    for index in range(2):
        worker.warm(opened, index * BLOCK, BLOCK)
    waiting = other.warm(worker.threads, 2 * BLOCK, BLOCK, background=False)
    leaving.append(opened)
    worker.finish(waiting)
    assert sendable == [True]
    worker.settle()
    assert worker.sent(other, 2 * BLOCK, BLOCK) == DATA[2 * BLOCK : 3 * BLOCK]
    assert origin.fetched == [(index * BLOCK, BLOCK) for index in range(3)]
    opened.close()


def test_a_fetch_that_was_given_up_leaves_nothing_in_memory(worker: Worker, origin: Origin) -> None:
    """A block that arrives when nobody wants it any more goes to the disk alone."""
    opened = worker.open(origin)
    waiting = opened.warm(worker.threads, 0, BLOCK, background=False)
    waiting.addErrback(lambda failure: failure.trap(CancelledError))
    late: list[Callable[[], object]] = []
    worker.cache._common.on_reactor = late.append  # noqa: SLF001 - the reactor has other work first
    worker.threads.step()
    (arrived,) = late
    worker.cache.stop()
    arrived()
    assert worker.cache._common.memory.bytes == 0  # noqa: SLF001 - what no client can see
    opened.close()


def test_nothing_is_sendable_before_it_is_there(worker: Worker, origin: Origin) -> None:
    """A hole beside a present block is resident for the kernel after a sendfile, and not sendable all the same."""
    opened = worker.open(origin)
    worker.sent(opened, 0, BLOCK)
    assert not opened.is_sendable(BLOCK, 4096)
    with pair_of_sockets() as (ours, peer):
        assert opened.transmit(ours.fileno(), BLOCK, 4096) == 0
        assert opened.read_sendable_into(BLOCK, memoryview(bytearray(4096))) == 0
        assert drained(peer) == b""
    opened.close()


def test_one_fetch_for_all_in_a_worker(worker: Worker, origin: Origin) -> None:
    """64 streams that want one block share one fetch; one that leaves does not end it for the others."""
    opened = worker.open(origin)
    waiting = [opened.another().warm(worker.threads, 0, 100, background=False) for _ in range(64)]
    gone = waiting.pop(0)
    gone.cancel()
    gone.addErrback(lambda failure: failure.trap(CancelledError))
    for one in waiting:
        worker.finish(one)
    assert origin.fetched == [(0, BLOCK)]
    assert (worker.cache.counts.misses, worker.cache.counts.waits) == (1, 63)
    opened.close()


def test_a_fetch_that_nobody_wants_is_not_made(worker: Worker, origin: Origin) -> None:
    """When all who wait have gone before a thread has begun, the origin is not asked."""
    opened = worker.open(origin)
    waiting = opened.warm(worker.threads, 0, 100, background=False)
    waiting.addErrback(lambda failure: failure.trap(CancelledError))
    waiting.cancel()
    worker.settle()
    assert origin.fetched == []
    opened.close()


def test_one_fetch_for_all_workers(make_worker: Callable[..., Worker], origin: Origin) -> None:
    """A worker that wants a block which another one fetches waits for it, and checks it."""
    one, other = make_worker(), make_worker()
    there, here = one.open(origin), other.open(origin)
    waiting = here.warm(other.threads, 0, 100, background=False)
    origin.during = lambda _offset: other.settle()  # the other worker's thread finds the lock taken
    one.warm(there, 0, 100)
    other.finish(waiting)
    assert origin.fetched == [(0, BLOCK)]
    assert (other.cache.counts.misses, other.cache.counts.waits) == (0, 1)
    assert other.sent(here, 0, BLOCK) == DATA[:BLOCK]
    there.close()
    here.close()


def test_a_worker_that_dies_in_a_fetch(make_worker: Callable[..., Worker], origin: Origin) -> None:
    """When the worker that fetches a block fails, one that waits for it fetches it."""
    one, other = make_worker(), make_worker()
    there, here = one.open(origin), other.open(origin)
    waiting = here.warm(other.threads, 0, 100, background=False)

    def fails(_offset: int) -> None:
        origin.during = lambda _offset: None
        other.settle()
        raise ConnectionError("reset")

    origin.during = fails
    with pytest.raises(ConnectionError):
        one.warm(there, 0, 100)
    other.finish(waiting)
    assert other.sent(here, 0, BLOCK) == DATA[:BLOCK]
    there.close()
    here.close()


def test_an_error_of_the_origin_reaches_all(worker: Worker, origin: Origin) -> None:
    """All who wait for a block get the origin's error, and the next request asks again."""

    def fails(_offset: int) -> None:
        raise ConnectionError("reset")

    origin.during = fails
    opened = worker.open(origin)
    waiting = [opened.another().warm(worker.threads, 0, 100, background=False) for _ in range(3)]
    for one in waiting:
        with pytest.raises(ConnectionError):
            worker.finish(one)
    origin.during = lambda _offset: None
    assert worker.sent(opened, 0, 100) == DATA[:100]
    opened.close()


def test_a_short_answer_is_an_error(worker: Worker, origin: Origin) -> None:
    """An answer of another length is never written."""
    opened = worker.open(origin)
    origin.data = DATA[:100]
    with pytest.raises(Exception, match="100 of 65536 bytes"):
        worker.warm(opened, 0, 50)
    assert not opened.is_sendable(0, 50)
    opened.close()


def test_versions_have_files_of_their_own(worker: Worker, origin: Origin) -> None:
    """The same key with another tag is another object."""
    new = Origin(DATA[::-1])
    opened, replaced = worker.open(origin), worker.open(new, tag='"2"')
    assert worker.sent(opened) == DATA
    assert worker.sent(replaced) == DATA[::-1]
    opened.close()
    replaced.close()


def test_after_a_restart(make_worker: Callable[..., Worker], place: Path, origin: Origin) -> None:
    """What is in the cache is served after a restart; each block is checked before its first use."""
    first = make_worker()
    opened = first.open(origin)
    assert first.sent(opened) == DATA
    opened.close()
    first.stop()
    begin_new_run(place)
    origin.fetched.clear()
    second = make_worker()
    opened = second.open(origin)
    assert not opened.is_sendable(0, 100)
    assert second.sent(opened) == DATA
    assert origin.fetched == []
    assert second.cache.counts.misses == 0
    opened.close()
