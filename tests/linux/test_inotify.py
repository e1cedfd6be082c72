"""Changes of open files, as the kernel reports them."""

from __future__ import annotations

import mmap
import os
import struct
from typing import TYPE_CHECKING, Any, cast

import pytest

from aero_storage.linux.inotify import Inotify, changed_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MODIFY, OVERFLOW, IGNORED = 0x2, 0x4000, 0x8000


class Reactor:
    """Keeps what it is to read."""

    def __init__(self) -> None:
        self.readers: list[Any] = []

    def addReader(self, reader: Any) -> None:
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:
        assert reader.fileno() >= 0
        self.readers.remove(reader)


class Started:
    """An instance that has started, what it has told, and a file that is open."""

    def __init__(self, path: Path) -> None:
        self.reactor = Reactor()
        self.told: list[frozenset[int] | None] = []
        self.inotify = Inotify(cast("Any", self.reactor))
        self.inotify.start(self.told.append)
        self.path = path
        self.descriptor = os.open(path, os.O_RDONLY)

    def watch(self) -> int:
        """Watch the file."""
        watch = self.inotify.add(self.descriptor)
        assert watch is not None
        return watch

    def read(self) -> list[frozenset[int] | None]:
        """What has been told by now."""
        self.inotify.doRead()
        told, self.told[:] = list(self.told), []
        return told

    def close(self) -> None:
        os.close(self.descriptor)
        self.inotify.stop()


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Started]:
    """See Started."""
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(8192))
    one = Started(path)
    yield one
    one.close()


def overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"other")


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def allocate(path: Path) -> None:
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, 16384)


@pytest.mark.parametrize("change", [overwrite, append, allocate, lambda path: os.truncate(path, 100)])
def test_changes_in_place(started: Started, change: Callable[[Path], None]) -> None:
    """Each way to change the content of an open file is told once, with its watch."""
    watch = started.watch()
    assert started.read() == []
    change(started.path)
    assert started.read() == [frozenset({watch})]


def replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(b"other")
    other.rename(path)


@pytest.mark.parametrize("change", [replace, os.utime, lambda path: path.unlink(), lambda path: path.chmod(0o400)])
def test_what_changes_no_content(started: Started, change: Callable[[Path], None]) -> None:
    """A file that is replaced by rename, removed or touched has the content that it had: nothing is told."""
    started.inotify.add(started.descriptor)
    change(started.path)
    assert started.read() == []


def test_the_open_file_is_watched(started: Started) -> None:
    """A file that has been replaced before it is watched is still the one that is watched, not its successor."""
    old = started.path.with_name("old")
    started.path.rename(old)
    started.path.write_bytes(b"new")
    watch = started.watch()
    overwrite(started.path)
    assert started.read() == []
    overwrite(old)
    assert started.read() == [frozenset({watch})]


def test_one_watch_for_one_inode(started: Started) -> None:
    """Two open files of one inode have one watch."""
    again = os.open(started.path, os.O_RDONLY)
    assert started.inotify.add(again) == started.inotify.add(started.descriptor)
    os.close(again)


def test_removed_watch(started: Started) -> None:
    """What is not watched any more is not told of, even if it changed before."""
    watch = started.watch()
    started.inotify.remove(watch)
    overwrite(started.path)
    assert started.read() == []


def test_mapping(started: Started) -> None:
    """A store to a mapping raises no event: that is why files are looked at, too."""
    started.inotify.add(started.descriptor)
    with started.path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapping:
        mapping[0] = 1
        mapping.flush()
    assert started.read() == []


def test_what_cannot_be_watched(started: Started) -> None:
    """A descriptor that is none has no watch, and the reason is kept."""
    assert started.inotify.add(1 << 20) is None
    assert started.inotify.error == os.strerror(2)


def test_stopped(started: Started) -> None:
    """After the end nothing is watched, and no descriptor is left."""
    descriptor = started.inotify.fileno()
    started.inotify.stop()
    assert started.reactor.readers == []
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
    assert started.inotify.add(started.descriptor) is None
    started.inotify.remove(1)
    started.inotify.stop()


def event(watch: int, mask: int, name: bytes = b"") -> bytes:
    return struct.pack("iIII", watch, mask, 0, len(name)) + name


@pytest.mark.parametrize(
    ("data", "changed"),
    [
        (event(1, MODIFY), {1}),
        (event(1, MODIFY) + event(2, MODIFY) + event(1, MODIFY), {1, 2}),
        (event(1, IGNORED), set()),
        (event(1, IGNORED) + event(2, MODIFY, bytes(16)) + event(3, MODIFY), {2, 3}),
        (event(1, MODIFY) + event(-1, OVERFLOW), None),
        (event(-1, OVERFLOW), None),
    ],
)
def test_events(data: bytes, changed: set[int] | None) -> None:
    """Each changed watch once; dropped events mean that any file may have changed."""
    assert changed_in(data) == changed
