"""Chunks of zeros: one file with many names, as far as the file system goes along."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from aero_storage.chunks.publish.zeros import Link, ZeroChunks


@attrs.define
class Linker:
    """Links like a file system that allows `limit` more names for each file, then fails with `number`."""

    limit: int
    number: int
    calls: int = 0
    names: dict[int, int] = attrs.field(factory=dict)

    def __call__(self, master: str, path: str) -> None:
        self.calls += 1
        inode = Path(master).stat().st_ino
        if self.names.get(inode, 0) >= self.limit:
            raise OSError(self.number, os.strerror(self.number))
        os.link(master, path)
        self.names[inode] = self.names.get(inode, 0) + 1


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., list[os.stat_result]]:
    """Give a function that makes chunks of the given lengths and returns their status."""

    def run(link: Link, *lengths: int) -> list[os.stat_result]:
        zeros, paths = ZeroChunks(link), [tmp_path / f"{index}" for index in range(len(lengths))]
        for path, length in zip(paths, lengths, strict=True):
            assert zeros.make(str(path), length) == hashlib.sha256(bytes(length)).digest()
            assert path.read_bytes() == bytes(length)
        return [path.stat() for path in paths]

    return run


def files(statuses: list[os.stat_result]) -> int:
    return len({status.st_ino for status in statuses})


def test_linked(make: Callable[..., list[os.stat_result]]) -> None:
    """Chunks of one length are one file, and take no room."""
    statuses = make(os.link, 1536, 1536, 512, 1536, 512)
    assert files(statuses) == 2
    assert sum(status.st_blocks for status in statuses) == 0


def test_no_more_names(make: Callable[..., list[os.stat_result]]) -> None:
    """Where a file has all the names that the file system allows, the next file is begun."""
    linker = Linker(limit=3, number=errno.EMLINK)
    assert files(make(linker, *[512] * 10)) == 3


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def test_no_links_at_all(make: Callable[..., list[os.stat_result]], number: int) -> None:
    """Where there are no hard links each chunk is a sparse file of its own; it is tried once."""
    linker = Linker(limit=0, number=number)
    statuses = make(linker, *[1024] * 10)
    assert files(statuses) == 10
    assert linker.calls == 1
    assert sum(status.st_blocks for status in statuses) == 0


def test_other_failure(make: Callable[..., list[os.stat_result]]) -> None:
    """Any other failure of a link is raised."""
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        make(Linker(limit=1, number=errno.ENOSPC), *[512] * 10)
