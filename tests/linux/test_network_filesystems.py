"""Which file systems are remote."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from torture.faults import fuse
from torture.image_content import Content

from aero_storage.linux.network_filesystems import is_network_filesystem


def test_local(tmp_path: Path) -> None:
    """A disk of this machine is not, nor is memory."""
    with (tmp_path / "file").open("wb") as file:
        assert not is_network_filesystem(file.fileno())
    descriptor = os.memfd_create("test")
    assert not is_network_filesystem(descriptor)
    os.close(descriptor)


def test_what_cannot_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that does not even tell its kind is not relied on; where nobody can ask, all is local."""
    descriptor = os.open(os.devnull, os.O_RDONLY)
    os.close(descriptor)
    assert is_network_filesystem(descriptor)
    monkeypatch.setattr("sys.platform", "darwin")
    assert not is_network_filesystem(descriptor)


@pytest.mark.skipif(fuse.missing() != "", reason=fuse.missing())
def test_fuse(tmp_path: Path) -> None:
    """A process that answers for a file system is someone else."""
    with fuse.mounted(tmp_path, Content(4096)), (tmp_path / fuse.NAME).open("rb") as file:
        assert is_network_filesystem(file.fileno())
