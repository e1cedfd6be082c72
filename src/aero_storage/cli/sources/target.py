"""The targets that `import` writes to. A file is one; an object store can become another."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import attrs
from typing_extensions import Buffer

from aero_storage.atomic_files import IMAGES_ROOT, Directory, FreeSpace
from aero_storage.cli.sources.stream import PIECE, Stream

_BLOCK = 4096
_ZEROS = bytes(_BLOCK)
_MODE = 0o644


class Target(Protocol):
    """A place for one content, which is written forward. It ends by `finish` or by `give_up`."""

    def write(self, data: bytes, /) -> None:
        """Append bytes."""

    def finish(self) -> None:
        """Make all that was written durable."""

    def give_up(self) -> None:
        """Remove all that was written."""


def _nobody_follows(_skipped: int, _written: int) -> None:
    pass


@attrs.define
class WorkFile:
    """A new file in an open directory, in which blocks of zeros become holes; the file system is not filled up."""

    _directory: Directory
    _name: str
    descriptor: int
    disk: str = IMAGES_ROOT
    """The name of its disk in messages."""
    followed: Callable[[int, int], None] = _nobody_follows
    """Is told how many bytes were left out as a hole, and how many were written behind it then."""
    size: int = attrs.field(init=False, default=0)
    """Bytes written until now, holes included."""
    _space: FreeSpace = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._space = FreeSpace.around(self.descriptor, self.disk)

    @classmethod
    def create(cls, directory: Directory, name: str, disk: str = IMAGES_ROOT) -> WorkFile:
        """Create the file, which must not exist."""
        descriptor = directory.open_file(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, _MODE)
        os.fchmod(descriptor, _MODE)  # independent of the umask: the daemon is another user
        return cls(directory, name, descriptor, disk)

    def write(self, data: bytes, /) -> None:
        """Append bytes."""
        view, told = memoryview(data), 0
        for start, end in data_runs(data, self.size):
            self._space.take(end - start)
            done = start
            while done < end:
                done += os.pwrite(self.descriptor, view[done:end], self.size + done)
            self.followed(start - told, end - start)
            told = end
        if told < len(data):
            self.followed(len(data) - told, 0)
        self.size += len(data)

    def finish(self) -> None:
        """Set the length, make it durable, and close the file."""
        os.ftruncate(self.descriptor, self.size)
        os.fsync(self.descriptor)
        self._close()

    def give_up(self) -> None:
        """Close and remove the file."""
        self._close()
        self._directory.unlink(self._name)

    def _close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def data_runs(data: bytes, position: int) -> Iterator[tuple[int, int]]:
    """Yield start and end of all that has to be written of `data` at `position` in a new file: no blocks of zeros."""
    at, begin = 0, -1
    while at < len(data):
        end = min(len(data), at + _BLOCK - (position + at) % _BLOCK)
        if not _ZEROS.startswith(data[at:end]):
            begin = at if begin < 0 else begin
        elif begin >= 0:
            yield begin, at
            begin = -1
        at = end
    if begin >= 0:
        yield begin, at


def pour_all(pieces: Iterable[Buffer], target: Target) -> None:
    """Write all pieces to a target, and finish it; on any exception the target is given up."""
    try:
        for piece in pieces:
            target.write(bytes(piece))
        target.finish()
    except BaseException:
        target.give_up()
        raise


def pour(stream: Stream, target: Target) -> None:
    """Write all of a stream to a target, and finish it; on any exception the target is given up."""
    try:
        while data := stream.read(PIECE):
            target.write(data)
        target.finish()
    except BaseException:
        target.give_up()
        raise
