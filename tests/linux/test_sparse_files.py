"""Where the data of sparse files is found."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aero_storage.linux.sparse_files import data_extents

BLOCK = 64 * 1024  # of any usual file system or a multiple of it
DATA = b"x" * BLOCK


@pytest.fixture
def opened(make_image: Callable[..., Path]) -> Iterator[Callable[..., int]]:
    """Give a function that opens an image made of parts."""
    descriptors = list[int]()

    def make(*parts: bytes | int) -> int:
        descriptors.append(os.open(make_image(*parts), os.O_RDWR))
        return descriptors[-1]

    yield make
    for descriptor in descriptors:
        os.close(descriptor)


@pytest.mark.parametrize(
    ("parts", "window", "expected"),
    [
        ([DATA, BLOCK, DATA], (0, 3), [(0, 1), (2, 3)]),
        ([BLOCK, DATA, BLOCK], (0, 3), [(1, 2)]),
        ([3 * BLOCK], (0, 3), []),
        ([3 * DATA], (0, 3), [(0, 3)]),
        ([3 * DATA], (1, 2), [(1, 2)]),
        ([DATA, 2 * BLOCK], (1, 3), []),
        ([BLOCK, DATA, DATA], (0, 2), [(1, 2)]),
        ([DATA, BLOCK, DATA, BLOCK], (0, 2), [(0, 1)]),
        ([DATA], (0, 0), []),
    ],
)
def test_extents(
    opened: Callable[..., int],
    parts: list[bytes | int],
    window: tuple[int, int],
    expected: list[tuple[int, int]],
) -> None:
    """The stretches between two offsets that hold data are found, in blocks, and no others."""
    found = data_extents(opened(*parts), window[0] * BLOCK, window[1] * BLOCK)
    assert [(first // BLOCK, after // BLOCK) for first, after in found] == expected


def test_odd_window(opened: Callable[..., int]) -> None:
    """A window need not fit the file system's blocks: what is found is cut to it."""
    assert list(data_extents(opened(DATA), 512, 1536)) == [(512, 1536)]


def test_no_holes_known() -> None:
    """A file that knows nothing of holes has data everywhere: none of it may be taken for zeros."""
    descriptor = os.open("/proc/self/status", os.O_RDONLY)
    try:
        with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
            os.lseek(descriptor, 0, os.SEEK_DATA)
        assert list(data_extents(descriptor, 512, 2048)) == [(512, 2048)]
    finally:
        os.close(descriptor)


def test_file_that_shrinks(opened: Callable[..., int]) -> None:
    """A file that is shorter by now ends the search; whoever reads sees that bytes are missing."""
    descriptor = opened(DATA, BLOCK, DATA)
    found = data_extents(descriptor, 0, 3 * BLOCK)
    assert next(found) == (0, BLOCK)
    os.ftruncate(descriptor, 0)
    assert list(found) == []
