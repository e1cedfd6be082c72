"""Chunk files against the image they are cut from, byte for byte."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aero_storage.chunks.manifest import Geometry
from aero_storage.chunks.publish.cutting import cut
from aero_storage.errors import OperatorError

KIB, MIB = 2**10, 2**20
LENGTHS = [512, 4 * KIB, 60 * KIB, 512 * KIB - 512, 512 * KIB, 512 * KIB + 4 * KIB, MIB]
PARTS = st.tuples(st.sampled_from(["hole", "zeros", "data"]), st.sampled_from(LENGTHS))
CHUNK_SIZES = st.sampled_from([4 * KIB, 4608, 64 * KIB, 256 * KIB, 300 * KIB, 512 * KIB, MIB, MIB + 512, 64 * MIB])


@contextmanager
def opened(image: Path) -> Iterator[int]:
    descriptor = os.open(image, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def cut_file(image: Path, chunk_size: int, directory: Path, jobs: int = 2) -> tuple[Geometry, list[Path], int]:
    """Cut, compare each digest with its file, and return the files and what was told of the progress."""
    geometry, told = Geometry(total_size=image.stat().st_size, chunk_size=chunk_size), list[int]()
    with opened(image) as descriptor:
        digests = cut(descriptor, geometry, directory, jobs=jobs, advance=told.append)
    files = sorted((directory / "chunks").iterdir())
    assert [path.name for path in files] == [geometry.chunk_name(index) for index in range(geometry.chunk_count)]
    by_inode = {path.stat().st_ino: path for path in files}  # of an image of holes there are many names and few files
    known = {inode: hashlib.sha256(path.read_bytes()).digest() for inode, path in by_inode.items()}
    assert digests == b"".join(known[path.stat().st_ino] for path in files)
    return geometry, files, sum(told)


@settings(max_examples=60)
@given(parts=st.lists(PARTS, min_size=1, max_size=6), chunk_size=CHUNK_SIZES, seed=st.integers(0, 255))
def test_any_layout(parts: list[tuple[str, int]], chunk_size: int, seed: int) -> None:
    """Whatever holes, zeros and data an image is made of, its chunks end to end are the image."""
    with tempfile.TemporaryDirectory() as scratch:
        image = Path(scratch, "image")
        with image.open("wb") as file:
            for kind, length in parts:
                if kind == "hole":
                    file.seek(length, os.SEEK_CUR)
                else:
                    file.write(bytes(length) if kind == "zeros" else hashlib.shake_256(bytes([seed])).digest(length))
            file.truncate(file.tell())
        _, files, told = cut_file(image, chunk_size, Path(scratch))
        assert b"".join(path.read_bytes() for path in files) == image.read_bytes()
        assert told == image.stat().st_size


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_many_chunks(make_image: Callable[..., Path], tmp_path: Path, jobs: int) -> None:
    """Any number of threads cuts the same chunks, each one once."""
    image = make_image(os.urandom(100 * KIB), 100 * KIB, os.urandom(512))
    geometry, files, told = cut_file(image, 512, tmp_path, jobs)
    assert b"".join(path.read_bytes() for path in files) == image.read_bytes()
    assert told == geometry.total_size


def test_holes_stay_holes(make_image: Callable[..., Path], tmp_path: Path) -> None:
    """A chunk takes no more room than its data, and zeros are no data, though they are written in the image."""
    image = make_image(os.urandom(MIB), bytes(MIB), 14 * MIB, os.urandom(MIB))
    _, files, _ = cut_file(image, 17 * MIB, tmp_path)
    assert 2 * MIB <= files[0].stat().st_blocks * 512 < 3 * MIB


def test_holes_are_not_read(make_image: Callable[..., Path], tmp_path: Path) -> None:
    """An image of 1 TiB with a few bytes of data is cut in no time."""
    half = 2**39
    geometry, told = Geometry(total_size=2 * half, chunk_size=64 * MIB), list[int]()
    with opened(make_image(half, b"x" * 512, half - 512)) as descriptor:
        digests = cut(descriptor, geometry, tmp_path, jobs=2, advance=told.append)
    index = geometry.chunk_count // 2
    chunk = (tmp_path / "chunks" / geometry.chunk_name(index)).read_bytes()
    assert chunk == b"x" * 512 + bytes(64 * MIB - 512)
    zeros = hashlib.sha256(bytes(64 * MIB)).digest()
    assert digests == zeros * index + hashlib.sha256(chunk).digest() + zeros * (index - 1)
    assert sum(told) == geometry.total_size


def test_more_zeros_than_links(make_image: Callable[..., Path], tmp_path: Path) -> None:
    """More chunks of zeros than a file may have names (ext4: 65,000) are no obstacle."""
    count = 65_010
    geometry = Geometry(total_size=512 * count, chunk_size=512)
    with opened(make_image(512 * count)) as descriptor:
        digests = cut(descriptor, geometry, tmp_path, jobs=2, advance=lambda _count: None)
    assert digests == hashlib.sha256(bytes(512)).digest() * count
    assert len(list((tmp_path / "chunks").iterdir())) == count
    for index in (0, 64_998, 64_999, 65_000, 65_001, count - 1):
        assert (tmp_path / "chunks" / geometry.chunk_name(index)).read_bytes() == bytes(512)


@pytest.mark.parametrize("parts", [[MIB - 512], [os.urandom(MIB - 512)]], ids=["hole", "data"])
def test_image_too_short(make_image: Callable[..., Path], tmp_path: Path, parts: list[bytes | int]) -> None:
    """An image that has fewer bytes than it should is told, and never filled up."""
    geometry = Geometry(total_size=MIB, chunk_size=MIB)
    with opened(make_image(*parts)) as descriptor, pytest.raises(OperatorError, match="became shorter"):
        cut(descriptor, geometry, tmp_path, jobs=2, advance=lambda _count: None)
