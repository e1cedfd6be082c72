"""Replacing a file by a rename: readers see the old content or the new one."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs

from aero_storage.atomic_files.directory import Directory
from aero_storage.atomic_files.symbolic_links import read_link
from aero_storage.errors import OperatorError

NEW_FILE_MODE = 0o644
"""The mode of a file that was not there before, where its writer names none."""


@attrs.frozen
class Replaceable:
    """A file, existing or not, in an open directory: it is read and replaced where it lay when that was opened."""

    directory: Directory
    name: str

    @property
    def readable(self) -> Path:
        """The path to read it by."""
        return self.directory.reachable(self.name)

    def replace(self, data: bytes, mode: int = NEW_FILE_MODE) -> None:
        """Replace the file by `data`, atomically and durably; mode and owner are kept, a new file has `mode`.

        The caller holds a lock against other writers.
        """
        temporary = f".{self.name}~"
        self.directory.unlink(temporary)  # left by an interrupted run
        try:
            self._write(temporary, data, mode)
            self.directory.move(temporary, self.directory, self.name)
        except BaseException:
            self.directory.unlink(temporary)
            raise
        self.directory.sync()

    def _write(self, temporary: str, data: bytes, mode: int) -> None:
        descriptor = self.directory.open_file(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor
            _copy_owner_and_mode(descriptor, self.directory.status(self.name), mode)
            file.write(data)
            file.flush()
            os.fsync(descriptor)


def _copy_owner_and_mode(descriptor: int, like: os.stat_result | None, mode: int) -> None:
    if like is None or not stat.S_ISREG(like.st_mode):
        os.fchmod(descriptor, mode)
        return
    with suppress(PermissionError):  # only members of a group may give files to it
        os.fchown(descriptor, -1, like.st_gid)
    with suppress(PermissionError):  # only root may change the owner
        os.fchown(descriptor, like.st_uid, -1)
    os.fchmod(descriptor, like.st_mode & 0o777)


@contextmanager
def replaceable(path: Path) -> Iterator[Replaceable]:
    """Find the place of a file for a with block; a symbolic link is followed, once, if it is not a stranger's.

    Raises OperatorError if the link is neither ours nor that of the directory's owner.
    """
    with Directory.opened(path.parent) as directory:
        target = _target(directory, path.name)
    if target is None:
        target = Path(os.path.realpath(path.parent)) / path.name
    with Directory.opened(target.parent) as directory:
        yield Replaceable(directory, target.name)


def _target(directory: Directory, name: str) -> Path | None:
    """Return where a link leads to, resolved; None if it is none."""
    try:
        link = read_link(name, directory.descriptor)
    except FileNotFoundError:
        return None
    if link is None:
        return None
    if link.owner not in {os.geteuid(), os.fstat(directory.descriptor).st_uid}:  # as fs.protected_symlinks
        raise OperatorError(
            f"{directory.path / name} is a symbolic link of a foreign user, and is not followed; remove it"
        )
    return Path(os.path.realpath(directory.path / link.target))


def replace_file(path: Path, data: bytes, mode: int = NEW_FILE_MODE) -> None:
    """Replace a file by `data`, atomically and durably; mode and owner are kept, a symbolic link is followed.

    A new file has `mode`.

    The caller holds a lock against other writers. Raises the same errors as `replaceable`.
    """
    with replaceable(path) as file:
        file.replace(data, mode)
