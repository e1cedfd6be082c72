"""Damaged blocks are found at their first use, counted, thrown away and fetched again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.storage.objects.block_cache.workers import BLOCK, Origin, Worker, begin_new_run, pattern

from aero_storage.linux.hole_punching import punch_hole
from aero_storage.storage.objects.block_cache.block_file import BlockFile
from aero_storage.storage.objects.block_cache.cache_directory import CacheDirectory
from aero_storage.storage.objects.block_cache.cached_object import CachedObject
from aero_storage.storage.objects.block_cache.pair_files import find_pair

DATA = pattern(4 * BLOCK)
MAP_HEADER = 64


@pytest.fixture
def origin() -> Origin:
    return Origin(DATA)


def _file(place: Path, suffix: str) -> Path:
    (found,) = (place / "objects").glob(f"*{suffix}")
    return found


def _flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _cut_last_byte(path: Path) -> None:
    """Leave all records whole."""
    os.truncate(path, path.stat().st_size - 1)


def _punch(path: Path) -> None:
    with path.open("r+b") as file:
        punch_hole(file.fileno(), BLOCK, 4096)


def _swap(path: Path) -> None:
    """Exchange two blocks with their records: each is sound, in the wrong place."""
    data = path.read_bytes()
    path.write_bytes(data[BLOCK : 2 * BLOCK] + data[:BLOCK] + data[2 * BLOCK :])
    records = path.with_suffix(".map")
    raw = records.read_bytes()
    first, second = raw[MAP_HEADER : MAP_HEADER + 16], raw[MAP_HEADER + 16 : MAP_HEADER + 32]
    records.write_bytes(raw[:MAP_HEADER] + second + first + raw[MAP_HEADER + 32 :])


DAMAGES: dict[str, tuple[Callable[[Path], object], int]] = {
    "a flipped bit in a block": (lambda place: _flip(_file(place, ".data"), 2 * BLOCK + 5), 1),
    "a hole beside a present block": (lambda place: _punch(_file(place, ".data")), 1),
    "two blocks exchanged": (lambda place: _swap(_file(place, ".data")), 2),
    "a file cut short": (lambda place: _cut(_file(place, ".data")), 4),
    "a file that is gone": (lambda place: _file(place, ".data").unlink(), 0),
    "a flipped bit in a checksum": (lambda place: _flip(_file(place, ".map"), MAP_HEADER + 9), 1),
    "a flipped bit in a state": (lambda place: _flip(_file(place, ".map"), MAP_HEADER), 1),
    "a flipped bit in the padding of a record": (lambda place: _flip(_file(place, ".map"), MAP_HEADER + 2), 1),
    "a flipped bit in the header": (lambda place: _flip(_file(place, ".map"), 20), 1),
    "a map cut short": (lambda place: os.truncate(_file(place, ".map"), MAP_HEADER + 40), 1),
    "a map that is gone": (lambda place: _file(place, ".map").unlink(), 0),
    "a journal of noise": (lambda place: (place / "journal").write_bytes(os.urandom(1000)), 0),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_damage_between_two_runs(make_worker: Callable[..., Worker], place: Path, origin: Origin, what: str) -> None:
    """Whatever was damaged while no worker ran: the bytes are right, and the damage is counted."""
    first = make_worker()
    opened = first.open(origin)
    first.sent(opened)
    opened.close()
    first.stop()
    damage, expected = DAMAGES[what]
    damage(place)
    begin_new_run(place)
    second = make_worker()
    opened = second.open(origin)
    assert second.sent(opened) == DATA
    assert second.cache.counts.damaged_blocks >= expected
    origin.fetched.clear()
    assert second.sent(opened) == DATA
    assert origin.fetched == []
    opened.close()


@pytest.mark.parametrize(("suffix", "cut"), [(".data", _cut), (".map", _cut), (".map", _cut_last_byte)])
def test_a_file_is_cut_short_in_use(
    worker: Worker, place: Path, origin: Origin, suffix: str, cut: Callable[[Path], object]
) -> None:
    """A file that is cut short under a worker is given up: memory serves, and the next open makes a new one."""
    opened = worker.open(origin)
    assert worker.sent(opened) == DATA
    cut(_file(place, suffix))
    assert worker.sent(opened) == DATA
    _pass_seconds(worker)
    assert not opened.is_current()
    _assert_cached_anew(worker, place, origin, opened)


def _pass_seconds(worker: Worker) -> None:
    """Let the time go by after which a worker looks at the files that it uses, and writes again after a failure."""
    worker.clock.advance(2)
    worker.settle()


def _assert_cached_anew(worker: Worker, place: Path, origin: Origin, lost: CachedObject) -> None:
    """Open the object once more: it gets files of its own, whole and in their place."""
    again = worker.open(origin)
    assert worker.sent(again) == DATA
    origin.fetched.clear()
    assert worker.sent(again) == DATA
    assert again.is_current()
    assert origin.fetched == []
    pair = find_pair(CacheDirectory(place), _file(place, ".data").stem)
    assert pair is not None
    assert pair.is_in_place(CacheDirectory(place))
    assert len(pair.map.present()) == 4
    pair.close()
    lost.close()
    again.close()


def _replace_by_link(path: Path, linked: Path) -> None:
    linked.write_bytes(bytes(path.stat().st_size))
    path.unlink()
    path.symlink_to(linked)


def _replace_by_hard_link(path: Path, linked: Path) -> None:
    linked.write_bytes(bytes(path.stat().st_size))
    path.unlink()
    path.hardlink_to(linked)


def _remove_both(place: Path) -> None:
    for path in (place / "objects").iterdir():
        path.unlink()


def _replace_by_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


REPLACEMENTS: dict[str, Callable[[Path, Path], object]] = {
    "no data": lambda place, _: _file(place, ".data").unlink(),
    "no map": lambda place, _: _file(place, ".map").unlink(),
    "neither": lambda place, _: _remove_both(place),
    "no files at all": lambda place, _: shutil.rmtree(place / "objects"),
    "no directory": lambda place, _: shutil.rmtree(place),
    "data elsewhere": lambda place, other: _file(place, ".data").rename(other),
    "a link in place of the data": lambda place, other: _replace_by_link(_file(place, ".data"), other),
    "a link in place of the map": lambda place, other: _replace_by_link(_file(place, ".map"), other),
    "another's file in place of the data": lambda place, other: _replace_by_hard_link(_file(place, ".data"), other),
    "another's file in place of the map": lambda place, other: _replace_by_hard_link(_file(place, ".map"), other),
    "a directory in place of the data": lambda place, _: _replace_by_directory(_file(place, ".data")),
}


@pytest.mark.parametrize("what", REPLACEMENTS)
def test_files_are_removed_or_replaced_in_use(
    make_worker: Callable[..., Worker], place: Path, origin: Origin, tmp_path: Path, what: str
) -> None:
    """Files that workers use are removed or replaced: each notices it, and one pair is made anew for all of them."""
    one, other = make_worker(), make_worker()
    here, there = one.open(origin), other.open(origin)
    assert one.sent(here) == one.sent(here) == other.sent(there) == other.sent(there) == DATA
    REPLACEMENTS[what](place, tmp_path / "elsewhere")
    assert one.sent(here) == other.sent(there) == DATA
    _pass_seconds(one)
    _pass_seconds(other)
    assert not here.is_current()
    assert not there.is_current()
    _assert_cached_anew(one, place, origin, here)
    _assert_cached_anew(other, place, origin, there)
    elsewhere = tmp_path / "elsewhere"
    assert "place of" not in what or not elsewhere.exists() or not any(elsewhere.read_bytes()), "it was written"


def test_a_file_that_is_written_to_is_removed(worker: Worker, place: Path, origin: Origin) -> None:
    """Nothing is written into files that have no name: nobody would find the space that it takes."""
    opened = worker.open(origin)
    worker.sent(opened, 0, BLOCK)
    _remove_both(place)
    assert worker.sent(opened) == DATA
    assert not opened.is_current()
    _pass_seconds(worker)
    _assert_cached_anew(worker, place, origin, opened)


def test_blocks_in_memory_go_to_the_disk(worker: Worker, place: Path, origin: Origin) -> None:
    """Blocks that memory took while the disk failed are written when they are used again, without the origin."""
    lost = worker.open(origin)
    worker.sent(lost)
    _cut(_file(place, ".map"))
    worker.sent(lost)
    opened = worker.open(origin)
    assert worker.sent(opened) == DATA
    assert worker.cache._common.memory.bytes >= len(DATA)  # noqa: SLF001 - not on the disk
    _pass_seconds(worker)
    lost.close()
    worker.settle()
    origin.fetched.clear()
    assert worker.sent(opened) == DATA
    worker.settle()
    pair = find_pair(CacheDirectory(place), _file(place, ".data").stem)
    assert pair is not None
    assert len(pair.map.present()) == 4
    pair.close()
    assert worker.sent(opened) == DATA
    assert origin.fetched == []
    opened.close()


def test_a_file_that_was_closed(worker: Worker, place: Path, origin: Origin) -> None:
    """A file that is closed shows no block, though the number of its descriptor is that of another map by now."""
    opened = worker.open(origin)
    worker.sent(opened)
    file = opened._file  # noqa: SLF001 - what a late look has in hand
    assert file is not None
    assert file.is_trusted(0, 4)
    number = file.pair.map._descriptor  # noqa: SLF001 - to be used again
    opened.close()
    other = os.open(_file(place, ".map"), os.O_RDONLY)
    os.dup2(other, number)
    try:
        assert not file.is_trusted(0, 4)
        assert not file.is_present(0)
    finally:
        os.close(number)
        if other != number:
            os.close(other)


@pytest.mark.parametrize("name", ["0" * 32 + ".data", "0" * 32 + ".map", "notes.txt", "lost+found"])
def test_start_beside_files_of_others(
    make_worker: Callable[..., Worker], place: Path, origin: Origin, tmp_path: Path, name: str
) -> None:
    """A link or a file of somebody else among the cached files does not keep the cache from its start."""
    (tmp_path / "theirs").write_bytes(b"theirs")
    (place / "objects" / name).symlink_to(tmp_path / "theirs")
    worker = make_worker()
    opened = worker.open(origin)
    assert worker.sent(opened) == DATA
    assert opened.is_current()
    assert (tmp_path / "theirs").read_bytes() == b"theirs"
    opened.close()


def test_a_directory_that_was_removed_can_be_claimed_by_its_next_run(worker: Worker, place: Path) -> None:
    """After all was removed, workers make the lock anew: later workers begin with the same run."""
    shutil.rmtree(place)
    with worker.directory.journal_locked():
        first = worker.directory.run_id()
    with worker.directory.journal_locked():
        assert worker.directory.run_id() == first
    assert len(first) == 16


def test_a_block_that_another_worker_replaces(
    make_worker: Callable[..., Worker], place: Path, origin: Origin
) -> None:
    """A worker checks a block anew that another one has thrown away and fetched again."""
    one, other = make_worker(), make_worker()
    here = one.open(origin)
    one.sent(here)
    _flip(_file(place, ".data"), 5)
    there = other.open(origin)
    assert other.sent(there) == DATA
    assert other.cache.counts.damaged_blocks == 1
    assert not here.is_sendable(0, 100)
    assert one.sent(here) == DATA
    here.close()
    there.close()


def test_block_changes_behind_an_early_look(make_worker: Callable[..., Worker], place: Path, origin: Origin) -> None:
    """A look that was made before a block was thrown away and fetched again does not vouch for it."""
    one, other = make_worker(), make_worker()
    here, target = one.open(origin), memoryview(bytearray(100))
    one.sent(here)
    assert here.is_at_hand(5, 100)
    assert here.read_now_into(5, target)
    assert here.is_at_hand(5, 100)
    _flip(_file(place, ".data"), 5)
    there = other.open(origin)
    assert other.sent(there) == DATA
    assert not here.read_now_into(5, target)
    assert one.read(here, 5, 100) == DATA[5:105]
    here.close()
    there.close()


def _evict(file: BlockFile) -> None:
    lock = file.pair.locked(0)
    assert lock is not None
    with lock:
        lock.erase()


def _fill(file: BlockFile) -> None:
    lock = file.pair.locked(0)
    assert lock is not None
    with lock:
        file.trust(0, lock.write(DATA[:BLOCK]))


def _evict_and_fill(file: BlockFile) -> None:
    _evict(file)
    _fill(file)


CHANGES: list[tuple[Callable[[BlockFile], object], Callable[[BlockFile], object]]] = [
    (lambda _: None, _evict),
    (lambda _: None, _evict_and_fill),
    (_evict, _fill),
]
"""What is done before a read of the first block, and during it."""


@pytest.mark.parametrize(("before", "during"), CHANGES)
def test_changes_while_bytes_are_copied(
    worker: Worker,
    origin: Origin,
    monkeypatch: pytest.MonkeyPatch,
    before: Callable[[BlockFile], object],
    during: Callable[[BlockFile], object],
) -> None:
    """Bytes that were copied do not go if their block was evicted, filled, or both meanwhile."""
    opened = worker.open(origin)
    worker.sent(opened)
    file = opened._file  # noqa: SLF001 - what reads
    assert file is not None
    target = memoryview(bytearray(100))
    for read in (file.read_now_into, file.read_into):
        assert read(5, target, 0, 1)
        before(file)
        with monkeypatch.context() as patched:
            _change_in_reads(patched, lambda: during(file))
            assert not read(5, target, 0, 1)
        _evict_and_fill(file)
    opened.close()


def _change_in_reads(patched: pytest.MonkeyPatch, change: Callable[[], object]) -> None:
    """Have something happen once the first read has taken its bytes."""
    changes = [change]
    preadv = os.preadv

    def read(*arguments: Any) -> int:
        count = preadv(*arguments)
        if changes:
            changes.pop()()
        return count

    patched.setattr(os, "preadv", read)
