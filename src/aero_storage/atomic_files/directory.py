"""Open directories: a name is looked up in the directory that was opened, whatever its path leads to by now."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import attrs

from aero_storage.errors import OperatorError

_DESCRIPTORS = Path("/proc/self/fd")
_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NO_LINK = frozenset({errno.ELOOP, errno.ENOTDIR})


@attrs.frozen
class Directory:
    """An open directory; `path` is for messages. Names are those of entries in it; links among them stay links."""

    path: Path
    descriptor: int

    @classmethod
    @contextmanager
    def opened(cls, path: Path) -> Iterator[Directory]:
        """Open the directory `path` for a with block; links on the way to it are followed."""
        with closing(cls(path, os.open(path, _FLAGS))) as directory:
            yield directory

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.descriptor)

    @contextmanager
    def below(self, *names: str, create: bool = False) -> Iterator[Directory]:
        """Open a directory below this one, `names` being the way to it, for a with block.

        With `create`, missing ones are made. Raises OperatorError if one of them is a symbolic link, or no directory.
        """
        directory = Directory(self.path, os.dup(self.descriptor))
        for name in names:
            with closing(directory):
                directory = directory.open_directory(name, create=create)
        with closing(directory):
            yield directory

    def open_directory(self, name: str, *, create: bool = False) -> Directory:
        """Open a directory in this one; the caller closes it. Raises the same errors as `below`."""
        if create:
            self.make_directory(name)
        with self._opening(name):
            return Directory(self.path / name, os.open(name, _FLAGS | os.O_NOFOLLOW, dir_fd=self.descriptor))

    def make_directory(self, name: str, mode: int = 0o777) -> bool:
        """Make a directory in this one, and return whether it is new; the entry that is there may be anything."""
        try:
            with self._naming(name):
                os.mkdir(name, mode, dir_fd=self.descriptor)
        except FileExistsError:
            return False
        return True

    def open_file(self, name: str, flags: int, mode: int = 0o644) -> int:
        """Open a file in this directory, and return its descriptor. Raises OperatorError if it is a symbolic link."""
        with self._opening(name):
            # Without O_NONBLOCK the open of a FIFO would wait for its other end.
            flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            return os.open(name, flags, mode, dir_fd=self.descriptor)

    @contextmanager
    def _opening(self, name: str) -> Iterator[None]:
        """Have an error in a with block name the entry by its whole path, and say what a link in its place is."""
        try:
            with self._naming(name):
                yield
        except OSError as error:
            if error.errno in _NO_LINK and self.is_link(name):
                where = self.path / name
                raise OperatorError(
                    f"{where} is a symbolic link, and a command follows none here; remove it"
                ) from error
            raise

    @contextmanager
    def _naming(self, name: str) -> Iterator[None]:
        """Have an error in a with block name the entry by its whole path."""
        try:
            yield
        except OSError as error:
            raise type(error)(error.errno, error.strerror, str(self.path / name)) from error

    def reachable(self, name: str = ".") -> Path:
        """Return a path to an entry that leads through the descriptor, for code that takes paths.

        Without Linux no path does: it is the one that the directory had when it was opened.
        """
        return (_DESCRIPTORS / str(self.descriptor) if _DESCRIPTORS.is_dir() else self.path) / name

    def names(self) -> list[str]:
        """Return the names of all entries, sorted."""
        return sorted(os.listdir(self.descriptor))  # noqa: PTH208 - Path takes no descriptor

    def status(self, name: str) -> os.stat_result | None:
        """Return the status of an entry, of a link itself; None if there is none."""
        try:
            return os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def is_link(self, name: str) -> bool:
        """Return whether an entry is a symbolic link."""
        status = self.status(name)
        return status is not None and stat.S_ISLNK(status.st_mode)

    def is_directory(self, name: str) -> bool:
        """Return whether an entry is a directory, and no link to one."""
        status = self.status(name)
        return status is not None and stat.S_ISDIR(status.st_mode)

    def is_file(self, name: str) -> bool:
        """Return whether an entry is a regular file, and no link to one."""
        status = self.status(name)
        return status is not None and stat.S_ISREG(status.st_mode)

    def unlink(self, name: str) -> None:
        """Remove a file or a link, if there is one."""
        with suppress(FileNotFoundError), self._naming(name):
            os.unlink(name, dir_fd=self.descriptor)

    def remove_directory(self, name: str) -> None:
        """Remove an empty directory."""
        with self._naming(name):
            os.rmdir(name, dir_fd=self.descriptor)

    def remove(self, name: str) -> None:
        """Remove an entry: a directory with all that is in it, of a link only the link."""
        if self.is_directory(name):
            with self._naming(name):
                shutil.rmtree(name, dir_fd=self.descriptor)
        else:
            self.unlink(name)

    def move(self, name: str, target: Directory, target_name: str) -> None:
        """Rename an entry to a name in another directory of the same file system; a file there is replaced."""
        with target._naming(target_name):
            os.rename(name, target_name, src_dir_fd=self.descriptor, dst_dir_fd=target.descriptor)

    def disk_usage(self, name: str) -> int:
        """Return the bytes that an entry takes on disk, as the function of this name does."""
        return _disk_usage(name, self.descriptor)

    def sync(self) -> None:
        """Make the entries created, renamed or removed in it durable."""
        os.fsync(self.descriptor)


def sync_directory(path: Path) -> None:
    """Make the entries created, renamed or removed in a directory durable."""
    with Directory.opened(path) as directory:
        directory.sync()


def disk_usage(path: Path) -> int:
    """Return the bytes that a file or a tree takes on disk, without holes; a file with several names counts once."""
    return _disk_usage(str(path), None)


def _disk_usage(name: str, directory: int | None) -> int:
    total, seen = 0, set[tuple[int, int]]()
    for status in _statuses(name, directory):
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):  # other files cannot occur twice
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
        total += status.st_blocks * 512
    return total


def _statuses(name: str, directory: int | None) -> Iterator[os.stat_result]:
    """Yield the status of a file, or of every entry in a tree; entries removed in the meantime are left out."""
    with suppress(FileNotFoundError):
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        yield status
        if stat.S_ISDIR(status.st_mode):
            for _, directories, files, parent in os.fwalk(name, dir_fd=directory):
                for entry in (*directories, *files):
                    with suppress(FileNotFoundError):
                        yield os.stat(entry, dir_fd=parent, follow_symlinks=False)
