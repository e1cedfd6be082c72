"""A raw disk as it is read for an upload: every byte, and no hole from the disk."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aero_storage.cli.raw_contents import PIECE, pieces_of
from aero_storage.errors import OperatorError

KIB = 1024


@given(
    size=st.integers(1, 4 * PIECE),
    writes=st.lists(st.tuples(st.integers(0, 4 * PIECE), st.integers(1, 70 * KIB)), max_size=5),
)
def test_pieces_are_the_file(
    tmp_path_factory: pytest.TempPathFactory, size: int, writes: list[tuple[int, int]]
) -> None:
    """Wherever the holes are, the pieces together are the file."""
    path = tmp_path_factory.mktemp("raw") / "disk"
    with path.open("wb") as file:
        for offset, count in writes:
            file.seek(offset)
            file.write(random.Random(offset).randbytes(count))
        file.truncate(size)
    with path.open("rb") as stored:
        assert b"".join(pieces_of(stored.fileno(), size)) == path.read_bytes()


def test_holes_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hole costs no read and no memory: its pieces are the same zeros."""
    path, asked = tmp_path / "disk", list[int]()
    with path.open("wb") as file:
        file.seek(10 * PIECE)
        file.write(b"x" * PIECE)
        file.truncate(64 * PIECE)
    read = os.pread

    def noting(descriptor: int, count: int, offset: int) -> bytes:
        asked.append(offset)
        return read(descriptor, count, offset)

    monkeypatch.setattr(os, "pread", noting)
    with path.open("rb") as stored:
        pieces = [*pieces_of(stored.fileno(), 64 * PIECE)]
    assert asked == [10 * PIECE]
    assert len({id(piece) for piece in pieces}) == 2


def test_file_that_is_cut_short(tmp_path: Path) -> None:
    """A file that becomes shorter is told of, not filled up."""
    path = tmp_path / "disk"
    path.write_bytes(b"x" * PIECE)
    with path.open("rb") as file, pytest.raises(OperatorError, match="became shorter"):
        list(pieces_of(file.fileno(), PIECE + 1))
