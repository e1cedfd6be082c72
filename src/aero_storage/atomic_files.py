"""Atomic and durable changes of files and directories: complete or not made, even if the process is killed.

Locks are `flock`s on files: the kernel releases them when their holder ends. All functions may wait for a disk.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs

from aero_storage.errors import BusyError

_LOCK = "lock"
_MODE = 0o644


def sync_directory(path: Path) -> None:
    """Make the entries created, renamed or removed in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: Path, data: bytes) -> None:
    """Replace a file by `data`, atomically and durably; mode and owner are kept, a symbolic link is followed.

    The caller holds a lock against other writers.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}~")
    temporary.unlink(missing_ok=True)  # left by an interrupted run
    try:
        with temporary.open("xb") as file:
            _copy_owner_and_mode(file.fileno(), target)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(target.parent)


def _copy_owner_and_mode(descriptor: int, like: Path) -> None:
    try:
        status = like.stat()
    except FileNotFoundError:
        os.fchmod(descriptor, _MODE)
        return
    with suppress(PermissionError):  # only members of a group may give files to it
        os.fchown(descriptor, -1, status.st_gid)
    with suppress(PermissionError):  # only root may change the owner
        os.fchown(descriptor, status.st_uid, -1)
    os.fchmod(descriptor, status.st_mode & 0o7777)


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock file `path`, created if it is missing, for a with block.

    Raises BusyError if another process holds it and `wait` is false.
    """
    descriptor = _lock(path, wait=wait)
    try:
        yield
    finally:
        os.close(descriptor)


def _lock(path: Path, *, wait: bool) -> int:
    while True:
        descriptor = _open_lock(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if _is_same_file(path, descriptor):  # its last holder may have removed it in the meantime
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            raise BusyError(f"another process is at work in {path.parent}; wait for its end") from None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _open_lock(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE)
    except PermissionError:  # another operator's file: read access is enough for a lock
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _is_same_file(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


@attrs.frozen
class StagingDirectory:
    """A working directory with one owner; `leftover` are the bytes on disk left there by an interrupted run."""

    path: Path
    leftover: int | None
    """None if the directory did not exist: every run that ends, even with an error, removes it."""


@contextmanager
def staging_directory(path: Path) -> Iterator[StagingDirectory]:
    """Own the directory `path` for a with block; it is emptied before and removed afterwards.

    The block moves its results elsewhere by a rename. Raises BusyError if another process works there.
    """
    descriptor, is_new = _lock_directory(path)
    try:
        leftover = _clear(path)
        yield StagingDirectory(path, None if is_new else leftover)
    finally:
        try:
            _remove_directory(path)
        finally:
            os.close(descriptor)


def _lock_directory(path: Path) -> tuple[int, bool]:
    """Return the descriptor of the lock, and whether the directory is new."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.mkdir()
            is_new = True
        except FileExistsError:
            is_new = False
        try:
            return _lock(path / _LOCK, wait=False), is_new
        except FileNotFoundError:  # removed by its last owner in the meantime
            continue


def _remove_directory(path: Path) -> None:
    """Remove the directory; the lock last, so that nobody enters during the removal."""
    with suppress(OSError):  # a rest, or a directory entered again, is left to the next run
        _empty(path)
        (path / _LOCK).unlink()
        path.rmdir()


def _clear(path: Path) -> int:
    size = sum(disk_usage(entry) for entry in path.iterdir() if entry.name != _LOCK)
    _empty(path)
    return size


def _empty(path: Path) -> None:
    for entry in [entry for entry in path.iterdir() if entry.name != _LOCK]:
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def disk_usage(path: Path) -> int:
    """Return the bytes that a file or a tree takes on disk, without holes; a file with several names counts once."""
    total, seen = 0, set[tuple[int, int]]()
    for status in _statuses(path):
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):  # other files cannot occur twice
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
        total += status.st_blocks * 512
    return total


def _statuses(path: Path) -> Iterator[os.stat_result]:
    """Yield the status of a file, or of every entry in a tree; entries removed in the meantime are left out."""
    with suppress(FileNotFoundError):
        status = path.lstat()
        yield status
        if stat.S_ISDIR(status.st_mode):
            for entry in path.iterdir():
                yield from _statuses(entry)
