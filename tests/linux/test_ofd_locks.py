"""Locks of open file descriptions."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from aero_storage.linux.ofd_locks import SharedLock, lock_exclusive, lock_shared


@pytest.fixture
def descriptors(tmp_path: Path) -> Iterator[tuple[int, int]]:
    path = tmp_path / "file"
    path.touch()
    pair = os.open(path, os.O_RDWR), os.open(path, os.O_RDWR)
    yield pair
    for descriptor in pair:
        os.close(descriptor)


def test_exclusive_locks(descriptors: tuple[int, int]) -> None:
    """An exclusive lock keeps out another description of the same process, for its bytes alone."""
    one, other = descriptors
    assert lock_exclusive(one, 10, 5)
    assert not lock_exclusive(other, 14)
    assert not lock_shared(other, 10)
    assert lock_exclusive(other, 15)


def test_shared_locks(descriptors: tuple[int, int]) -> None:
    """Shared locks keep out exclusive ones, until they are given back."""
    one, other = descriptors
    lock = SharedLock(one)
    assert lock.acquire(3, 2)
    assert lock_shared(other, 3)
    assert not lock_exclusive(other, 4)
    lock.release()
    assert lock_exclusive(other, 4)
    assert not lock.acquire(3, 2)


def test_a_duplicate_keeps_the_lock(tmp_path: Path) -> None:
    """A lock lasts until the last duplicate of its descriptor is closed, so a worker may inherit it."""
    path = tmp_path / "file"
    path.touch()
    one, other = os.open(path, os.O_RDWR), os.open(path, os.O_RDWR)
    inherited = os.dup(one)
    assert lock_exclusive(one, 0)
    os.close(one)
    assert not lock_exclusive(other, 0)
    os.close(inherited)
    assert lock_exclusive(other, 0)
    os.close(other)


def test_errors(tmp_path: Path) -> None:
    """What cannot be locked is an error, not a lock that somebody has."""
    path = tmp_path / "file"
    path.touch()
    descriptor = os.open(path, os.O_RDONLY)
    with pytest.raises(OSError, match="Bad file descriptor"):
        lock_exclusive(descriptor, 0)
    os.close(descriptor)
