"""Staging directories: one command at a time works in one, and moves its results elsewhere by a rename."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import attrs

from aero_storage.atomic_files.directory import Directory
from aero_storage.atomic_files.locks import Waiting, is_locked, lock_in
from aero_storage.errors import OperatorError

_LOCK = "lock"
_MODE = 0o700  # nobody else puts anything into it, or exchanges anything in it
_AT_ONCE = Waiting(timeout=0.0)


@attrs.frozen
class StagingDirectory:
    """A working directory with one owner; `leftover` are the bytes on disk left there by an interrupted run."""

    directory: Directory
    leftover: int | None
    """None if the directory did not exist: every run that ends, even with an error, removes it."""
    parent: Directory
    """The directory that it is in, which is ours too if it was among the names."""

    @property
    def path(self) -> Path:
        """Its path, for messages."""
        return self.directory.path


@contextmanager
def staging_directory(place: Directory, *names: str) -> Iterator[StagingDirectory]:
    """Own the directory that `names` lead to from `place`, for a with block; emptied before and removed afterwards.

    All of `names` are staging directories, of nobody but us. Raises BusyError if another process works there, and
    OperatorError if one of them is a symbolic link, a file, or a directory of another user: nothing of it is touched.
    """
    with ExitStack() as stack:
        parents, directory, descriptor, is_new = _enter(place, names)
        for one in (*parents, directory):
            stack.enter_context(closing(one))
        stack.callback(os.close, descriptor)
        stack.callback(_leave, (place, *parents), directory, names)
        leftover = _clear(directory)
        yield StagingDirectory(directory, None if is_new else leftover, (place, *parents)[-1])


def is_at_work(place: Directory, *names: str) -> bool:
    """Return whether another process owns the staging directory that `names` lead to from `place`."""
    try:
        with place.below(*names) as directory:
            return is_locked(directory, _LOCK)
    except (OSError, OperatorError):
        return False


def _enter(place: Directory, names: tuple[str, ...]) -> tuple[list[Directory], Directory, int, bool]:
    """Return the directories above the last one, that one, the descriptor of its lock, and whether it is new."""
    while True:
        opened = list[Directory]()
        try:
            is_new = False
            for name in names:
                directory, is_new = _open(opened[-1] if opened else place, name)
                opened.append(directory)
            return opened[:-1], opened[-1], lock_in(opened[-1], _LOCK, _AT_ONCE), is_new
        except FileNotFoundError:  # removed by its last owner in the meantime
            _close(opened)
            if not os.fstat(place.descriptor).st_nlink:
                raise
        except BaseException:
            _close(opened)
            raise


def _close(directories: list[Directory]) -> None:
    for directory in directories:
        directory.close()


def _open(place: Directory, name: str) -> tuple[Directory, bool]:
    """Open a staging directory, and return whether it is new."""
    is_new = place.make_directory(name, _MODE)
    try:
        directory = place.open_directory(name)
    except NotADirectoryError as error:
        raise _foreign(place.path / name, "is no directory") from error
    try:
        _require_ours(directory)
    except BaseException:
        directory.close()
        raise
    return directory, is_new


def _require_ours(directory: Directory) -> None:
    status = os.fstat(directory.descriptor)
    if status.st_uid != os.geteuid():
        raise _foreign(directory.path, f"belongs to the user with the number {status.st_uid}")
    if stat.S_IMODE(status.st_mode) != _MODE:
        os.fchmod(directory.descriptor, _MODE)


def _foreign(path: Path, why: str) -> OperatorError:
    return OperatorError(
        f"{path} {why}, so it is no staging directory of ours; nothing in it was touched. Run the command as its "
        "owner, or look what it is and move it away"
    )


def _leave(parents: tuple[Directory, ...], directory: Directory, names: tuple[str, ...]) -> None:
    """Remove the directory, the lock last: nobody enters during the removal. Then remove the ones above, if empty."""
    with suppress(OSError):  # a rest, or a directory entered again, is left to the next run
        _empty(directory)
        directory.unlink(_LOCK)
        for parent, name in zip(reversed(parents), reversed(names), strict=True):
            parent.remove_directory(name)


def _clear(directory: Directory) -> int:
    size = sum(directory.disk_usage(name) for name in directory.names() if name != _LOCK)
    _empty(directory)
    return size


def _empty(directory: Directory) -> None:
    for name in directory.names():
        if name != _LOCK:
            directory.remove(name)
