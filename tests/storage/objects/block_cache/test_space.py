"""The space of a cache: its bounds, who is evicted, and disks that are full or fail."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.storage.objects.block_cache.workers import BLOCK, Origin, Worker, begin_new_run, pattern, worker_of

from aero_storage.storage.objects.block_cache import space

DATA = pattern(20 * BLOCK)
LIMIT = 8 * BLOCK
GIB = 1024**3


@pytest.fixture
def origin() -> Origin:
    return Origin(DATA)


def test_limit(make_worker: Callable[..., Worker], origin: Origin) -> None:
    """Never more is allocated than the limit; the bytes are right all the same, and evictions are counted."""
    worker = make_worker(limit=LIMIT)
    opened = worker.open(origin)
    most = 0

    def look(_offset: int) -> None:
        nonlocal most
        most = max(most, worker.directory.allocated())

    origin.during = look
    assert worker.sent(opened) == DATA
    assert worker.sent(opened.another()) == DATA
    assert 4 * BLOCK < most <= LIMIT + BLOCK
    assert worker.cache.counts.evicted_bytes >= 20 * BLOCK
    assert worker.cache.used_bytes == pytest.approx(worker.directory.allocated(), abs=2 * BLOCK)
    opened.close()


def test_limit_of_all_workers(make_worker: Callable[..., Worker]) -> None:
    """Workers share one limit, and each evicts what others have brought."""
    workers = [make_worker(limit=LIMIT) for _ in range(3)]
    for number in range(9):
        worker = workers[number % 3]
        opened = worker.open(Origin(pattern(5 * BLOCK, number)), f"{number}.img")
        worker.sent(opened)
        opened.close()
    assert 4 * BLOCK < workers[0].directory.allocated() <= LIMIT + BLOCK
    assert all(worker.cache.counts.evicted_bytes for worker in workers)


def test_files_that_nothing_uses(make_worker: Callable[..., Worker], place: Path, origin: Origin) -> None:
    """Blocks of versions that nobody has open are evicted like others, and their empty files are removed."""
    worker = make_worker(limit=LIMIT)
    old = worker.open(Origin(DATA[: 3 * BLOCK]), tag='"old"')
    worker.sent(old)
    old.close()
    assert len(list((place / "objects").iterdir())) == 2
    new = worker.open(origin, tag='"new"')
    worker.sent(new)
    new.close()
    assert len(list((place / "objects").iterdir())) == 2


def test_an_object_of_which_nothing_was_read(worker: Worker, place: Path, origin: Origin) -> None:
    """An object that is opened and closed leaves no file behind."""
    worker.open(origin).close()
    assert list((place / "objects").iterdir()) == []


def test_used_blocks_stay(make_worker: Callable[..., Worker], origin: Origin) -> None:
    """Blocks that are used again survive a scan through another object."""
    worker = make_worker(limit=LIMIT)
    hot = Origin(pattern(3 * BLOCK, 1))
    opened = worker.open(hot, "hot.img")
    for _ in range(2):
        worker.sent(opened.another())
    worker.clock.advance(2)
    worker.settle()
    scanned = worker.open(origin)
    worker.sent(scanned)
    hot.fetched.clear()
    assert worker.sent(opened.another()) == hot.data
    assert hot.fetched == []
    opened.close()
    scanned.close()


def test_disk_is_left_free(make_worker: Callable[..., Worker], origin: Origin) -> None:
    """Below a twentieth of free space blocks are evicted; what has no room passes through memory."""
    free = 1000

    def statvfs(_path: str) -> SimpleNamespace:
        return SimpleNamespace(f_frsize=BLOCK, f_blocks=1000, f_bavail=free)

    worker = make_worker(statvfs=statvfs)
    opened = worker.open(origin)
    worker.sent(opened, 0, 10 * BLOCK)
    assert worker.cache.counts.evicted_bytes == 0
    free = 47
    assert worker.sent(opened) == DATA
    assert worker.cache.counts.evicted_bytes >= 10 * BLOCK
    assert worker.cache.counts.failures
    opened.close()


def test_a_large_disk_is_not_left_free_by_shares(make_worker: Callable[..., Worker], origin: Origin) -> None:
    """Of a disk of 4 TiB no more than 4 GiB are left free, though a twentieth of it is 205 GiB."""
    free = 5 * GIB

    def statvfs(_path: str) -> SimpleNamespace:
        return SimpleNamespace(f_frsize=BLOCK, f_blocks=4096 * GIB // BLOCK, f_bavail=free // BLOCK)

    worker = make_worker(statvfs=statvfs)
    opened = worker.open(origin)
    worker.sent(opened, 0, 10 * BLOCK)
    assert worker.cache.counts.evicted_bytes == worker.cache.counts.failures == 0
    free = 4 * GIB
    assert worker.sent(opened) == DATA
    assert worker.cache.counts.evicted_bytes >= 10 * BLOCK
    opened.close()


@pytest.mark.parametrize("method", ["pwrite", "pread"])
def test_failing_disk(
    make_worker: Callable[..., Worker], origin: Origin, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fails costs speed and is counted; every byte comes, and the cache goes on when it is well again."""
    worker = make_worker()
    opened = worker.open(origin)
    worker.sent(opened, 0, 2 * BLOCK)

    def fails(*_arguments: object) -> int:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, method, fails)
        assert worker.sent(opened.another()) == DATA
        assert worker.read(opened.another(), 5, 3 * BLOCK) == DATA[5 : 5 + 3 * BLOCK]
    assert worker.cache.counts.failures
    worker.clock.advance(5)
    again = worker.open(origin)
    worker.sent(again)
    origin.fetched.clear()
    assert worker.sent(again.another()) == DATA
    assert origin.fetched == []
    opened.close()
    again.close()


def test_memory_is_bounded(make_worker: Callable[..., Worker], origin: Origin) -> None:
    """Blocks that the disk does not take stay in memory up to a bound."""
    worker = make_worker(limit=0)
    worker.cache._common.memory._limit = 4 * BLOCK  # noqa: SLF001 - a small bound
    opened = worker.open(origin)
    assert worker.sent(opened) == DATA
    assert worker.cache._common.memory.bytes <= 4 * BLOCK  # noqa: SLF001
    opened.close()


def test_memory_forgets_what_nobody_has_open(make_worker: Callable[..., Worker], origin: Origin) -> None:
    """Blocks that the disk did not take go with the last who has the object open, and with reads that end later."""
    worker = make_worker(limit=0)
    memory = worker.cache._common.memory  # noqa: SLF001 - what no client can see
    opened = worker.open(origin)
    assert worker.sent(opened, 0, 4 * BLOCK) == DATA[: 4 * BLOCK]
    assert memory.bytes >= 4 * BLOCK
    origin.during = lambda _offset: opened.close()
    opened.another().warm(worker.threads, 5 * BLOCK, BLOCK, background=False)
    worker.settle()
    assert [at for at, _ in origin.fetched][-1] == 5 * BLOCK
    assert memory.bytes == 0


def test_before_the_start(place: Path, origin: Origin) -> None:
    """A cache that has not started serves through memory."""
    worker = worker_of(place, start=False)
    opened = worker.open(origin)
    assert worker.sent(opened) == DATA
    opened.close()
    worker.stop()


def test_a_directory_that_goes_away(worker: Worker, place: Path, origin: Origin) -> None:
    """When the directory is moved away under the daemon, answers go on, and a new one is made."""
    opened = worker.open(origin)
    worker.sent(opened, 0, BLOCK)
    place.rename(place.with_name("away"))
    assert worker.sent(opened) == worker.sent(opened) == DATA
    worker.clock.advance(1)
    worker.settle()
    assert not opened.is_current()
    opened.close()
    other = worker.open(origin, "other.img")
    assert worker.sent(other) == DATA
    assert other.is_current()
    assert worker.directory.allocated() >= len(origin.data)
    other.close()


def test_a_directory_that_cannot_be_made_anew(worker: Worker, place: Path, origin: Origin) -> None:
    """When the directory is gone for good, answers go on through memory."""
    opened = worker.open(origin)
    worker.sent(opened, 0, BLOCK)
    place.rename(place.with_name("away"))
    place.write_bytes(b"")
    assert worker.sent(opened) == DATA
    assert worker.cache.counts.failures
    opened.close()
    other = worker.open(origin, "other.img")
    assert worker.sent(other) == DATA
    other.close()


def test_queue_survives_a_new_journal(
    make_worker: Callable[..., Worker], origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A journal that has grown is written anew; all workers go on with the same queue and the same limit."""
    monkeypatch.setattr(space, "_JOURNAL_BYTES", 500)
    workers = [make_worker(limit=LIMIT) for _ in range(2)]
    for turn in range(6):
        worker = workers[turn % 2]
        opened = worker.open(origin)
        assert worker.sent(opened) == DATA
        opened.close()
    size = workers[0].directory.journal.stat().st_size
    assert size < 64 * 20
    assert workers[0].directory.allocated() <= LIMIT + BLOCK


def test_leftovers_of_a_killed_worker(make_worker: Callable[..., Worker], place: Path, origin: Origin) -> None:
    """Bytes that a killed worker has written, and not marked as present, are given back at the next start."""
    first = make_worker()
    opened = first.open(origin)
    first.sent(opened, 0, BLOCK)
    opened.close()
    first.stop()
    (data,) = (place / "objects").glob("*.data")
    with data.open("r+b") as file:
        os.pwrite(file.fileno(), DATA[: 5 * BLOCK], 2 * BLOCK)
    before = first.directory.allocated()
    begin_new_run(place)
    second = make_worker()
    assert second.directory.allocated() <= before - 5 * BLOCK
    opened = second.open(origin)
    assert second.sent(opened) == DATA
    opened.close()
