"""Digests of whole files: holes are zeros, and nothing is computed from a file that is shorter than it was."""

from __future__ import annotations

import hashlib
import os
import threading
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aero_storage.chunks.file_digest import Slower, TrailingDigest, hash_file, hashing, steps
from aero_storage.chunks.parallel import HaltedError
from aero_storage.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KI, MI = 2**10, 2**20
LAYOUTS = st.lists(st.tuples(st.integers(0, 300 * KI), st.integers(0, 200 * KI)), max_size=4)


@contextmanager
def opened(path: Path, flags: int = os.O_RDONLY) -> Iterator[int]:
    descriptor = os.open(path, flags, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def make(path: Path, layout: list[tuple[int, int]]) -> Path:
    """Make a file of pairs: so many bytes of a hole, then so many of data."""
    with path.open("wb") as file:
        for hole, data in layout:
            file.seek(hole, os.SEEK_CUR)
            file.write(os.urandom(data))
        file.truncate()
    return path


@settings(max_examples=30)
@given(LAYOUTS)
def test_any_file(tmp_path_factory: pytest.TempPathFactory, layout: list[tuple[int, int]]) -> None:
    """The digest is that of all bytes, holes included, and the progress adds up to the size."""
    path, done = make(tmp_path_factory.mktemp("digest") / "file", layout), list[int]()
    size = path.stat().st_size
    with opened(path) as descriptor:
        assert hash_file(descriptor, size, done.append) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert sum(done) == size


def test_file_that_becomes_shorter(tmp_path: Path) -> None:
    """A file that ends early has no digest."""
    path = make(tmp_path / "file", [(0, 3 * MI)])
    with opened(path) as descriptor, pytest.raises(OperatorError, match="shorter"):
        hash_file(descriptor, 3 * MI, lambda _: os.truncate(path, 2 * MI))


@settings(max_examples=30)
@given(LAYOUTS)
def test_trailing(tmp_path_factory: pytest.TempPathFactory, layout: list[tuple[int, int]]) -> None:
    """The digest beside a writer is that of the file when it is written."""
    path = tmp_path_factory.mktemp("digest") / "file"
    with opened(path, os.O_RDWR | os.O_CREAT) as descriptor, TrailingDigest.of(descriptor) as digest:
        end = 0
        for hole, data in layout:
            os.pwrite(descriptor, os.urandom(data), end + hole)
            end += hole + data
            os.ftruncate(descriptor, end)
            digest.follow(hole, data)
        found = digest.finish()
    assert found == hashlib.sha256(path.read_bytes()).hexdigest()


def test_trailing_error(tmp_path: Path) -> None:
    """What fails in the thread is raised to the writer, and nothing hangs."""
    path = make(tmp_path / "file", [(0, 10)])
    with opened(path) as descriptor, TrailingDigest.of(descriptor) as digest:
        digest.follow(0, 11)
        with pytest.raises(OperatorError, match="shorter"):
            digest.follow(0, 1)


def test_given_up_beside_other_work(tmp_path: Path) -> None:
    """When the work beside it fails, a digest is given up; its thread has ended when the error is raised."""
    path, before = make(tmp_path / "file", [(2**40, 0)]), threading.active_count()  # hours of hashing
    reached, futures = threading.Event(), list[Future[str]]()

    def interrupted(descriptor: int) -> None:
        with hashing(descriptor, 2**40, lambda _: reached.set()) as future:
            futures.append(future)
            assert reached.wait(10)
            raise KeyboardInterrupt

    with opened(path) as descriptor, pytest.raises(KeyboardInterrupt):
        interrupted(descriptor)
    assert isinstance(futures[0].exception(0), HaltedError)
    assert threading.active_count() == before


@given(st.integers(0, 1000), st.integers(1, 100))
def test_steps(count: int, most: int) -> None:
    """The parts add up, and none is larger than told, or nothing."""
    parts = list(steps(count, most))
    assert sum(parts) == count
    assert all(0 < part <= most for part in parts)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 100))))
def test_slower(moves: list[tuple[bool, int]]) -> None:
    """Two runs over the same bytes are as far as the slower one."""
    told = list[int]()
    progress = Slower(told.append)
    for is_first, count in moves:
        (progress.first if is_first else progress.second)(count)
    done = [sum(count for one, count in moves if one is which) for which in (True, False)]
    assert sum(told) == min(done)
    assert all(told)
