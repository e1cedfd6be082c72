"""Copies of raw images: every byte, every hole, and nothing from a source that does not hold still."""

from __future__ import annotations

import hashlib
import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aero_storage.atomic_files import FreeSpace, disk_usage
from aero_storage.chunks.file_digest import TrailingDigest
from aero_storage.cli.disk_images.sparse_copy import Stamp, copy_sparse
from aero_storage.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Callable

KI, MI, GI = 2**10, 2**20, 2**30
SHARED_MEMORY = Path("/dev/shm")
Layout = list[tuple[int, bytes]]


def make(path: Path, size: int, layout: Layout) -> Path:
    """Make a file of holes with a few stretches of data."""
    with path.open("wb") as file:
        file.truncate(size)
        for offset, data in layout:
            file.seek(offset)
            file.write(data)
    return path


def copied(source: Path, target: Path, advance: Callable[[int], None] = lambda _: None) -> Path:
    with source.open("rb") as old, target.open("x+b") as new:
        space = FreeSpace.around(new.fileno())
        copy_sparse(source, old.fileno(), Stamp.of(old.fileno()), new.fileno(), advance, space)
    return target


def digested(source: Path, target: Path) -> str:
    """Copy, and return the digest that was computed beside it."""
    with source.open("rb") as old, target.open("x+b") as new, TrailingDigest.of(new.fileno()) as digest:
        copy_sparse(
            source,
            old.fileno(),
            Stamp.of(old.fileno()),
            new.fileno(),
            lambda _: None,
            FreeSpace.around(new.fileno()),
            digest,
        )
        return digest.finish()


@pytest.mark.parametrize(
    ("size", "layout"),
    [
        (1, []),
        (1, [(0, b"x")]),
        (511, [(0, b"x" * 511)]),
        (513, [(512, b"x")]),
        (MI, []),
        (MI, [(0, b"x" * MI)]),
        (MI + 1, [(MI, b"x")]),
        (3 * MI + 7, [(MI, b"x" * MI)]),
        (8 * MI, [(0, b"x"), (4 * MI, b"y" * 5000), (8 * MI - 3, b"z" * 3)]),
        (40 * MI + 5, [(MI, b"0123456789abcde" * 2 * MI)]),
    ],
)
def test_copies_are_exact(tmp_path: Path, size: int, layout: Layout) -> None:
    """A copy has all bytes of the source, takes no more of the disk, and its progress adds up to its size."""
    source = make(tmp_path / "source", size, layout)
    steps: list[int] = []
    copy = copied(source, tmp_path / "copy", steps.append)
    assert copy.read_bytes() == source.read_bytes()
    assert digested(source, tmp_path / "digested") == hashlib.sha256(source.read_bytes()).hexdigest()
    assert disk_usage(copy) <= disk_usage(source)
    assert sum(steps) == size
    assert all(step > 0 for step in steps)


def test_large_holes_cost_nothing(tmp_path: Path) -> None:
    """A hundred gigabytes of hole around some data are neither read nor written."""
    source = make(tmp_path / "source", 100 * GI, [(50 * GI, b"x" * MI)])
    steps: list[int] = []
    copy = copied(source, tmp_path / "copy", steps.append)
    assert copy.stat().st_size == sum(steps) == 100 * GI
    assert disk_usage(copy) <= 2 * MI
    with copy.open("rb") as file:
        file.seek(50 * GI - 1)
        assert file.read(MI + 2) == b"\0" + b"x" * MI + b"\0"


def test_progress_is_steady(tmp_path: Path) -> None:
    """Progress comes in pieces that a bar can use, none of more than 32 MiB of data."""
    source = make(tmp_path / "source", 40 * MI, [(0, bytes(40 * MI))])
    steps: list[int] = []
    copied(source, tmp_path / "copy", steps.append)
    assert max(steps) <= 32 * MI


def test_copy_between_file_systems(tmp_path: Path) -> None:
    """Where the kernel does not copy from one file system to the other, we do, to the byte and with the holes."""
    if not SHARED_MEMORY.is_dir() or SHARED_MEMORY.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is only one file system to write to")
    source = SHARED_MEMORY / f"aero-storage-{os.getpid()}"
    try:
        make(source, 9 * MI + 3, [(0, b"x"), (4 * MI, os.urandom(3 * MI + 1)), (9 * MI, b"abc")])
        steps: list[int] = []
        copy = copied(source, tmp_path / "copy", steps.append)
        assert copy.read_bytes() == source.read_bytes()
        assert disk_usage(copy) < 4 * MI
        assert sum(steps) == 9 * MI + 3
    finally:
        source.unlink()


def change(how: str, path: Path) -> None:
    if how == "grows":
        with path.open("ab") as file:
            file.write(b"x")
    elif how == "shrinks":
        os.truncate(path, 40 * MI)
    elif how == "is written to":
        with path.open("r+b") as file:
            file.write(b"y")
    elif how == "is touched":
        os.utime(path, ns=(0, 1))


CHANGED = "changed while it was imported"


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("grows", CHANGED),
        ("shrinks", f"ended early, at byte {40 * MI}"),
        ("is written to", CHANGED),
        ("is touched", CHANGED),
    ],
)
def test_source_that_changes(tmp_path: Path, how: str, told: str) -> None:
    """A source that changes in any way while it is copied is an error, told in one line."""
    source = make(tmp_path / "source", 64 * MI, [(0, b"x" * 64 * MI)])
    os.utime(source, ns=(0, 0))
    done = itertools.count()

    def advance(_: int) -> None:
        if next(done) == 0:
            change(how, source)

    with pytest.raises(OperatorError) as caught:
        copied(source, tmp_path / "copy", advance)
    assert str(caught.value) == f"{source}: {told}; stop what writes to it, and import it again"


def test_source_that_has_changed_before(tmp_path: Path) -> None:
    """A source that is no longer what it was when it was looked at is not copied, whatever its times say."""
    source = make(tmp_path / "source", MI, [])
    os.utime(source, ns=(0, 0))
    with source.open("r+b") as file, (tmp_path / "copy").open("xb") as copy:
        stamp = Stamp.of(file.fileno())
        file.write(b"x")
        file.flush()
        os.utime(source, ns=(0, 0))
        with pytest.raises(OperatorError, match="changed"):
            copy_sparse(source, file.fileno(), stamp, copy.fileno(), lambda _: None, FreeSpace.around(copy.fileno()))
    assert (tmp_path / "copy").stat().st_size == 0


@settings(max_examples=30)
@given(
    size=st.integers(1, 2 * MI),
    places=st.lists(st.tuples(st.integers(0, 2 * MI), st.integers(1, 100 * KI)), max_size=5),
)
def test_any_layout(tmp_path_factory: pytest.TempPathFactory, size: int, places: list[tuple[int, int]]) -> None:
    """Whatever the layout, a copy is exact and its progress complete."""
    place = tmp_path_factory.mktemp("layout")
    source = make(place / "source", size, [(at, b"x" * length) for at, length in places if at + length <= size])
    steps: list[int] = []
    assert copied(source, place / "copy", steps.append).read_bytes() == source.read_bytes()
    assert sum(steps) == size
