"""Damaged blocks are found at their first use, counted, thrown away and fetched again."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.storage.objects.block_cache.workers import BLOCK, Origin, Worker, begin_new_run, pattern

from aero_storage.linux.hole_punching import punch_hole
from aero_storage.storage.objects.block_cache.block_file import BlockFile
from aero_storage.storage.objects.block_cache.file_pair import FilePair

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
    assert not opened.is_current()
    again = worker.open(origin)
    worker.clock.advance(2)
    assert worker.sent(again) == DATA
    assert again.is_current()
    opened.close()
    again.close()


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


class _Overtaken(BlockFile):
    """A file whose blocks are evicted between two looks."""

    looks: list[bool]

    def is_trusted(self, first: int, end: int) -> bool:
        return self.looks.pop(0) and super().is_trusted(first, end)


@pytest.mark.parametrize("looks", [[True, True], [True, False]])
def test_eviction_while_bytes_are_copied(worker: Worker, origin: Origin, looks: list[bool]) -> None:
    """Bytes that were copied do not go if their block is no longer the same after it."""
    opened = worker.open(origin)
    worker.sent(opened)
    original = opened._file  # noqa: SLF001 - what the test replaces
    assert original is not None
    pair = FilePair(os.dup(original.pair.descriptor), original.pair.map)
    file = _Overtaken(pair)
    file._trusted[:] = original._trusted  # noqa: SLF001 - as if it had checked them
    target = memoryview(bytearray(100))
    file.looks = list(looks)
    assert file.read_into(5, target, 0, 1) == (100 if looks[1] else 0)
    file.looks = looks[1:]  # the records change before the bytes do: one look, behind the read, is enough
    assert file.read_now_into(5, target, 0, 1) is looks[1]
    os.close(pair.descriptor)
    file._records.close()  # noqa: SLF001 - the map is the other's
    opened.close()
