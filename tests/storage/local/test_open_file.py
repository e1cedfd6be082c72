"""A blob as an open file: its descriptor, the check of its version, and reads that only warm the page cache."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Callable, Hashable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import attrs
import pytest
from twisted.internet.defer import Deferred, succeed

from aero_storage.disk import Disk
from aero_storage.errors import FileChangedError, ShortReadError
from aero_storage.storage.local import local_blob
from aero_storage.storage.local.directory import ImageDirectory

HANG = 10
_T = TypeVar("_T")


def test_descriptor(directory: ImageDirectory) -> None:
    """The descriptor is that of the file, until the blob is closed."""
    blob = directory.open("disk.img")
    assert os.pread(blob.fileno(), 4, 3) == b"3456"
    blob.close()
    with pytest.raises(ShortReadError):
        blob.fileno()


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def shrink(path: Path) -> None:
    os.truncate(path, 3)


def touch(path: Path) -> None:
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))


@pytest.mark.parametrize("change", [grow, shrink, touch])
def test_verify(root: Path, directory: ImageDirectory, change: Callable[[Path], object]) -> None:
    """A file whose size or mtime is another is not the version that was opened."""
    with closing(directory.open("disk.img")) as blob:
        blob.verify()
        change(root / "disk.img")
        with pytest.raises(ShortReadError):
            blob.verify()


@pytest.mark.parametrize("replace", [True, False])
def test_verify_after_a_replacement(root: Path, directory: ImageDirectory, *, replace: bool) -> None:
    """A file that was replaced by rename or removed is what it was."""
    with closing(directory.open("disk.img")) as blob:
        if replace:
            (root / "new").write_bytes(b"new")
            (root / "new").rename(root / "disk.img")
        else:
            (root / "disk.img").unlink()
        blob.verify()


def refuse(*_: int) -> int:
    raise OSError(errno.EINVAL, "no such thing here")


@pytest.mark.parametrize("passing", [True, False])
@pytest.mark.parametrize(("offset", "length"), [(0, 300_000), (5, 1), (299_999, 1), (299_999, 100), (400_000, 10)])
def test_warm_reads_all(
    root: Path, directory: ImageDirectory, monkeypatch: pytest.MonkeyPatch, offset: int, length: int, *, passing: bool
) -> None:
    """Warming shows every byte that is there to the null device, or reads it, once, and no other."""
    (root / "large.img").write_bytes(bytes(300_000))
    spans: list[tuple[int, int]] = []
    real, pass_by = os.preadv, os.sendfile

    def preadv(descriptor: int, buffers: tuple[memoryview], place: int) -> int:
        came = real(descriptor, buffers, place)
        spans.append((place, place + came))
        return came

    def sendfile(out: int, descriptor: int, place: int, most: int) -> int:
        assert os.fstat(out).st_rdev == Path(os.devnull).stat().st_rdev
        came = pass_by(out, descriptor, place, most)
        spans.append((place, place + came))
        return came

    monkeypatch.setattr(os, "preadv", preadv)
    monkeypatch.setattr(os, "sendfile", sendfile if passing else refuse)
    with closing(directory.open("large.img")) as blob:
        blob.populate(offset, length)
    end = min(300_000, offset + length)
    read = [number for begin, finish in spans for number in range(begin, finish)]
    assert read == list(range(offset, end))


def test_warm_tells_of_a_disk_that_fails(directory: ImageDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the disk answers to the second question is what is raised."""

    def preadv(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "sendfile", refuse)
    monkeypatch.setattr(os, "preadv", preadv)
    with closing(directory.open("disk.img")) as blob, pytest.raises(OSError, match="Input/output"):
        blob.populate(0, 10)


def test_warm_after_close(directory: ImageDirectory) -> None:
    """A blob that is closed is not read any more."""
    blob = directory.open("disk.img")
    blob.close()
    with pytest.raises(ShortReadError):
        blob.populate(0, 1)


def test_close_while_warming(
    directory: ImageDirectory, opened: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closed while a thread warms it, a file stays open until that has ended, and is then closed once."""
    begun, may_end = threading.Event(), threading.Event()
    real = os.preadv

    def preadv(descriptor: int, buffers: tuple[memoryview], place: int) -> int:
        begun.set()
        assert may_end.wait(HANG)
        return real(descriptor, buffers, place)

    monkeypatch.setattr(os, "preadv", preadv)
    monkeypatch.setattr(os, "sendfile", refuse)
    blob = directory.open("disk.img")
    worker = threading.Thread(target=blob.populate, args=(0, 10))
    worker.start()
    assert begun.wait(HANG)
    blob.close()
    assert opened()
    may_end.set()
    worker.join(HANG)
    assert not opened()


def test_held(directory: ImageDirectory) -> None:
    """A file that is held stays open when it is closed, until it is released; then it cannot be held any more."""
    blob = directory.open("disk.img")
    descriptor = blob.fileno()
    blob.hold()
    blob.hold()
    blob.close()
    assert blob.is_current()
    blob.release()
    os.fstat(descriptor)
    blob.release()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
    with pytest.raises(ShortReadError):
        blob.hold()


def test_name(directory: ImageDirectory) -> None:
    """A file has the name by which it was opened, relative to the root."""
    with closing(directory.open("disk.img")) as blob:
        assert blob.name == "disk.img"


# What may be sent now


def test_small_reads_that_wait_for_nothing(
    root: Path, directory: ImageDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes in memory are copied after a look at the file; bytes that are not leave all to others."""
    target = memoryview(bytearray(4))
    with closing(directory.open("disk.img")) as blob:
        monkeypatch.setattr(local_blob, "read_resident_into", lambda *_: False)
        assert not blob.read_now_into(3, target)
        monkeypatch.setattr(local_blob, "read_resident_into", _read_into)
        assert blob.read_now_into(3, target)
        assert bytes(target) == b"3456"
        touch(root / "disk.img")
        with pytest.raises(FileChangedError):
            blob.read_now_into(3, target)


def _read_into(descriptor: int, offset: int, target: memoryview) -> bool:
    return os.preadv(descriptor, (target,), offset) == len(target)


@pytest.mark.parametrize("change", [None, grow, shrink, touch])
def test_sendable_bytes_are_verified(
    root: Path, directory: ImageDirectory, change: Callable[[Path], object] | None
) -> None:
    """Sendable bytes are those of the version that was opened, as many as there are, or an exception."""
    with closing(directory.open("disk.img")) as blob:
        target = memoryview(bytearray(20))
        if change is not None:
            change(root / "disk.img")
            with pytest.raises(FileChangedError):
                blob.read_sendable_into(0, target)
            return
        assert blob.read_sendable_into(4, target) == 6
        assert bytes(target[:6]) == b"456789"
        with pytest.raises(OSError, match="ends before"):
            blob.read_sendable_into(10, target)


@pytest.mark.parametrize("change", [None, shrink])
def test_transmit(root: Path, directory: ImageDirectory, change: Callable[[Path], object] | None) -> None:
    """Bytes go to the socket by one call; beyond the end it is an error, of a file that has changed its own."""
    ours, theirs = socket.socketpair()
    with closing(ours), closing(theirs), closing(directory.open("disk.img")) as blob:
        assert blob.transmit(ours.fileno(), 2, 5) == 5
        assert theirs.recv(100) == b"23456"
        if change is not None:
            change(root / "disk.img")
        with pytest.raises(OSError, match="ends before") if change is None else pytest.raises(FileChangedError):
            blob.transmit(ours.fileno(), 10, 5)


def test_warm_is_work_of_its_disk(root: Path, directory: ImageDirectory) -> None:
    """A file is brought in, and read for a stream, in the lane of its disk, in the background if so asked."""
    disk = RecordingDisk()
    with closing(directory.open("disk.img")) as blob:
        blob.warm(disk, 0, 10, background=True)
        reading = blob.read_later(disk, 2, 3, background=False)
        assert reading.result == b"234"
    device = (root / "disk.img").stat().st_dev
    assert disk.asked == [(device, True), (device, False)]


@attrs.define
class RecordingDisk(Disk):
    """Works at once, and notes lane and background of what it was asked."""

    asked: list[tuple[Hashable, bool]] = attrs.field(factory=list)

    def run(
        self,
        work: Callable[[], _T],
        discard: Callable[[_T], object] = lambda _: None,
        lane: Hashable = None,
        *,
        background: bool = False,
    ) -> Deferred[_T]:
        del discard
        self.asked.append((lane, background))
        return succeed(work())

    def later(self, work: Callable[[], object], lane: Hashable = None) -> None:
        self.run(work, lane=lane)
