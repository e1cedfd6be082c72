"""Holes in files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aero_storage.linux.hole_punching import punch_hole

PAGE = 4096


def test_space_comes_back(tmp_path: Path) -> None:
    """A hole takes no space and reads as zeros; the size and the bytes around it stay."""
    path = tmp_path / "file"
    path.write_bytes(b"x" * 16 * PAGE)
    with path.open("r+b") as file:
        os.fsync(file.fileno())
        before = path.stat().st_blocks
        punch_hole(file.fileno(), 4 * PAGE, 8 * PAGE)
    assert path.stat().st_blocks == before - 8 * PAGE // 512
    assert path.read_bytes() == b"x" * 4 * PAGE + bytes(8 * PAGE) + b"x" * 4 * PAGE


def test_errors() -> None:
    """What has no holes is an error."""
    read, write = os.pipe()
    with pytest.raises(OSError, match=r"Illegal seek|not supported"):
        punch_hole(write, 0, PAGE)
    os.close(read)
    os.close(write)
