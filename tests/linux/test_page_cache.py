"""Whether bytes are in the page cache: asked of the real kernel, about files that are there, half there and not."""

from __future__ import annotations

import errno
import mmap
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.streaming.tcp_pair import KIB, MIB, evict_pages, pattern

from aero_storage.linux.page_cache import (
    PROBE_BYTES,
    SAMPLE_BYTES,
    CountPages,
    count_pages,
    is_resident,
    read_resident,
)

SIZE = 4 * MIB
PAGE = mmap.PAGESIZE


def unknown(_descriptor: int, _offset: int, _length: int) -> None:
    return None


def everything(_descriptor: int, _offset: int, _length: int) -> int:
    return 1 << 40


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    """A file on disk that can be pushed out of the page cache, and all in it."""
    path = tmp_path / "disk.img"
    path.write_bytes(pattern(SIZE))
    with path.open("rb+") as opened:
        os.fsync(opened.fileno())
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_RANDOM)  # what is read is what is asked for
        if not can_tell(opened.fileno()):
            pytest.skip("this file system cannot tell")
        evict(opened.fileno(), 0, SIZE)
        os.pread(opened.fileno(), SIZE, 0)
        yield opened.fileno()


def evict(descriptor: int, offset: int, length: int) -> None:
    if not evict_pages(descriptor, offset, length):
        pytest.skip("this file system keeps what it is told to forget")


@pytest.fixture(params=["counted", "sampled"])
def count(request: pytest.FixtureRequest, file: int) -> CountPages:
    """The kernel's count where it gives one, and an older kernel that gives none."""
    if request.param == "counted" and count_pages(file, 0, SIZE) is None:
        pytest.skip("this kernel does not count")
    return count_pages if request.param == "counted" else unknown


@pytest.mark.parametrize(("offset", "length"), [(0, SIZE), (0, 1), (SIZE - 1, 1), (PAGE - 1, 2), (12345, MIB)])
def test_all_there(file: int, count: CountPages, offset: int, length: int) -> None:
    """Bytes that were just read are in memory."""
    assert is_resident(file, offset, length, count)


@pytest.mark.parametrize(("offset", "length"), [(0, SIZE), (0, 1), (SIZE - 1, 1), (12345, MIB)])
def test_nothing_there(file: int, count: CountPages, offset: int, length: int) -> None:
    """Bytes that were pushed out are not, and asking does not bring them in."""
    evict(file, 0, SIZE)
    assert not is_resident(file, offset, length, count)
    if count is count_pages:
        assert count_pages(file, 0, SIZE) == 0


@pytest.mark.parametrize("hole", [0, SIZE // 2, SIZE - PAGE])
def test_one_page_missing(file: int, hole: int) -> None:
    """One page that is missing anywhere is seen where the kernel counts."""
    evict(file, 0, SIZE)
    os.pread(file, hole, 0)
    os.pread(file, SIZE - hole - PAGE, hole + PAGE)
    if count_pages(file, 0, SIZE) is None:
        pytest.skip("this kernel does not count")
    assert count_pages(file, 0, SIZE) == SIZE // PAGE - 1
    assert not is_resident(file, 0, SIZE)
    assert not is_resident(file, hole, 1)
    if hole:
        assert is_resident(file, 0, hole)


def sees_a_gap(file: int, place: int, length: int, count: CountPages) -> bool:
    """Whether a gap in a MiB is seen; a few tries, as to ask makes the kernel fetch it, which may do so at once."""
    for _ in range(5):
        evict(file, 0, SIZE)
        os.pread(file, place, 0)
        os.pread(file, MIB - place - length, place + length)
        if not is_resident(file, 0, MIB, count):
            return True
    return False


@pytest.mark.parametrize("place", range(0, MIB, SAMPLE_BYTES))
def test_a_gap_is_sampled(file: int, place: int) -> None:
    """Without a count a gap of 64 KiB is seen wherever it lies."""
    assert sees_a_gap(file, place, SAMPLE_BYTES, unknown)


@pytest.mark.parametrize("place", [0, PROBE_BYTES, MIB - PAGE])
def test_a_count_is_not_believed(file: int, place: int) -> None:
    """Pages that are counted but cannot be read yet, as are those on their way from the disk, are not there."""
    assert sees_a_gap(file, place, PAGE, everything)


def test_empty_range_of_pages(file: int) -> None:
    """A range inside one page is one page."""
    assert count_pages(file, 5, 10) in {1, None}
    assert is_resident(file, 5, 10)


@pytest.mark.parametrize("beyond", [SIZE, SIZE - 1, SIZE + MIB])
def test_beyond_the_end(file: int, count: CountPages, beyond: int) -> None:
    """What is not in the file at all is not in memory."""
    assert not is_resident(file, beyond, 2, count)
    assert read_resident(file, beyond, 2) is None


def test_no_file() -> None:
    """A descriptor that is none has nothing in memory, and does no harm."""
    assert not is_resident(-1, 0, 10)
    assert read_resident(-1, 0, 10) is None


def can_tell(descriptor: int) -> bool:
    try:
        os.preadv(descriptor, [bytearray(1)], 0, os.RWF_NOWAIT)
    except OSError as error:
        return error.errno != errno.EOPNOTSUPP
    return True


def test_file_system_that_cannot_tell() -> None:
    """Where the kernel does not know the question, nothing is taken to be in memory."""
    shm = Path("/dev/shm")
    if not shm.is_dir():
        pytest.skip("no tmpfs at hand")
    with tempfile.TemporaryFile(dir=shm) as file:
        file.write(bytes(MIB))
        file.flush()
        if can_tell(file.fileno()):
            pytest.skip("this one can tell")
        assert not is_resident(file.fileno(), 0, MIB)
        assert read_resident(file.fileno(), 0, 10) is None


@pytest.mark.parametrize(("offset", "length"), [(0, 10), (PAGE - 5, 10), (SIZE - 64 * KIB, 64 * KIB), (3, 0)])
def test_read_what_is_there(file: int, offset: int, length: int) -> None:
    """Bytes that are in memory are read at once."""
    data = read_resident(file, offset, length)
    assert data is not None
    assert bytes(data) == pattern(length, offset)


@pytest.mark.parametrize(("begin", "end"), [(0, SIZE), (8 * PAGE, SIZE), (0, 8 * PAGE)])
def test_read_what_is_half_there(file: int, begin: int, end: int) -> None:
    """All or nothing: where a part is missing there are no bytes."""
    evict(file, begin, end - begin)
    assert read_resident(file, 4 * PAGE, 8 * PAGE) is None


def test_kernel_without_the_question(file: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a platform that does not know RWF_NOWAIT nothing is known."""
    monkeypatch.setattr("aero_storage.linux.page_cache._NOWAIT", 0)
    assert not is_resident(file, 0, 1)
    assert read_resident(file, 0, 1) is None
