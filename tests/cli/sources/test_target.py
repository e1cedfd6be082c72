"""Writing a stream to a work file: sparse, and never so much that the disk is full."""

from __future__ import annotations

import random
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.cli.sources.streams import all_of, in_pieces, of
from tests.small_filesystem import mounted_tmpfs

from aero_storage.atomic_files import Directory, free_space
from aero_storage.cli.sources.limits import LimitedSize
from aero_storage.cli.sources.target import WorkFile, data_runs, pour
from aero_storage.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MIB = 1 << 20


def poured(place: Path, pieces: Iterable[bytes]) -> Path:
    with Directory.opened(place) as directory:
        pour(of(pieces), WorkFile.create(directory, "work"))
    return place / "work"


@pytest.mark.parametrize("piece", [1 << 20, 5000, 4096, 333])
def test_content(tmp_path: Path, piece: int) -> None:
    """The file has all bytes, whatever pieces they came in, and holes where whole blocks are zeros."""
    noise = random.Random(5).randbytes
    data = noise(10_000) + bytes(300_000) + noise(7) + bytes(100_001) + noise(4096) + bytes(50_000)
    file = poured(tmp_path, (data[at : at + piece] for at in range(0, len(data), piece)))
    assert file.read_bytes() == data
    assert file.stat().st_blocks * 512 < 40_000
    assert file.stat().st_mode & 0o777 == 0o644


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9000), st.booleans())), st.integers(0, 5000))
def test_runs(parts: list[tuple[int, bool]], position: int) -> None:
    """All that is no zero is in a run; runs are in order, and blocks of zeros in none."""
    data = b"".join((b"x" if is_data else b"\0") * length for length, is_data in parts)
    runs = list(data_runs(data, position))
    edges = [edge for run in runs for edge in run]
    assert edges == sorted(set(edges))
    assert b"".join(data[start:end] for start, end in runs).count(b"x") == data.count(b"x")
    assert all((position + edge) % 4096 == 0 or edge in (0, len(data)) for edge in edges)
    blocks = range(-position % 4096, len(data) - 4095, 4096)
    zeros = [at for at in blocks if not data[at : at + 4096].strip(b"\0")]
    assert not any(start <= at < end for start, end in runs for at in zeros)


def test_followed(tmp_path: Path) -> None:
    """Each hole and each write is told of in order, so that a digest can follow."""
    data = b"x" * 5000 + bytes(20_000) + b"y" * 10_000 + bytes(9000)
    told: list[tuple[int, int]] = []
    with Directory.opened(tmp_path) as directory:
        file = WorkFile.create(directory, "work")
        file.followed = lambda skipped, written: told.append((skipped, written))
        pour(in_pieces(data, 7000), file)
    seen, at = bytearray(), 0
    for skipped, written in told:
        seen += bytes(skipped) + data[at + skipped : at + skipped + written]
        at += skipped + written
    assert seen == data
    assert sum(written for _, written in told) < 32_000


def test_zeros_cost_nothing(tmp_path: Path) -> None:
    """A gibibyte of zeros takes no room on the disk."""
    piece = bytes(MIB)
    file = poured(tmp_path, (piece for _ in range(1024)))
    assert file.stat().st_size == 1024 * MIB
    assert file.stat().st_blocks * 512 < MIB


@attrs.define
class Breaking:
    """A stream that fails behind its content."""

    data: bytes

    def read(self, most: int, /) -> bytes:
        if not self.data:
            raise OperatorError("cut off")
        taken, self.data = self.data[:most], self.data[most:]
        return taken


def test_given_up(tmp_path: Path) -> None:
    """Nothing is left of a stream that fails."""
    open_before = len(list(Path("/proc/self/fd").iterdir()))
    with Directory.opened(tmp_path) as directory, pytest.raises(OperatorError, match="cut off"):
        pour(Breaking(b"x" * 100_000), WorkFile.create(directory, "work"))
    assert list(tmp_path.iterdir()) == []
    assert len(list(Path("/proc/self/fd").iterdir())) == open_before


@contextmanager
def small(place: Path, size: str) -> Iterator[Path]:
    place.mkdir()
    with mounted_tmpfs(place, size):
        yield place


def test_room_is_left(tmp_path: Path) -> None:
    """A disk is not filled up: a twentieth is left, the message says so, and all is removed again."""
    noise = random.Random(5).randbytes(MIB)
    with small(tmp_path / "disk", "20m") as place:
        with pytest.raises(OperatorError) as caught:
            poured(place, (noise for _ in range(40)))
        assert str(caught.value) == (
            "the disk of the images root is too full: 1 MiB are free, of which 1 MiB stay free; "
            "nothing was changed, and what was written is removed again"
        )
        assert list(place.iterdir()) == []
        assert poured(place, (noise for _ in range(18))).stat().st_size == 18 * MIB


def test_room_that_others_take(tmp_path: Path) -> None:
    """What others write meanwhile is seen after a step at the latest."""
    noise = random.Random(5).randbytes(MIB)

    def pieces(place: Path) -> Iterator[bytes]:
        for n in range(40):
            yield noise
            if n == 1:
                (place / "other").write_bytes(noise * 15)

    with small(tmp_path / "disk", "20m") as place, pytest.MonkeyPatch.context() as patch:
        patch.setattr(free_space, "_STEP", MIB)
        with pytest.raises(OperatorError, match="is too full"):
            poured(place, pieces(place))
        assert [one.name for one in place.iterdir()] == ["other"]


def test_limit_of_size() -> None:
    """A content of exactly the limit passes, one byte more does not."""
    assert len(all_of(LimitedSize("IT", 10_000, in_pieces(bytes(10_000), 999)))) == 10_000
    with pytest.raises(OperatorError) as caught:
        all_of(LimitedSize("IT", 10_240, in_pieces(bytes(10_241), 999)))
    assert str(caught.value) == "IT: holds more than 10 KiB; if it is no bomb, allow it with --max-size SIZE"
