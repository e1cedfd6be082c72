"""Changes on disk that are there whole or not at all, whatever ends the process meanwhile.

Locks are `flock`s on files: the kernel gives them back however their holder ends. All functions may wait for a disk.
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
    """Make what was created, renamed or removed in a directory survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: Path, data: bytes) -> None:
    """Put `data` in the place of a file, atomically and durably; mode and owner stay, a link is followed.

    The caller holds a lock that keeps others from doing the same.
    """
    target = Path(os.path.realpath(path))
    fresh = target.with_name(f".{target.name}~")
    fresh.unlink(missing_ok=True)  # an interrupted run's
    try:
        with fresh.open("xb") as file:
            _dress(file.fileno(), target)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(target)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    sync_directory(target.parent)


def _dress(descriptor: int, like: Path) -> None:
    try:
        status = like.stat()
    except FileNotFoundError:
        os.fchmod(descriptor, _MODE)
        return
    with suppress(PermissionError):  # only members give files to a group
        os.fchown(descriptor, -1, status.st_gid)
    with suppress(PermissionError):  # only root gives them to others
        os.fchown(descriptor, status.st_uid, -1)
    os.fchmod(descriptor, status.st_mode & 0o7777)


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock file `path`, made if it is missing, for the length of a with block.

    Raises BusyError if another process holds it and we should not `wait`.
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
            if _is_still(path, descriptor):  # its last holder may have removed it while we waited
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
    except PermissionError:  # another operator's: to read it is enough for a lock
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


@attrs.frozen
class StagingDirectory:
    """A directory to work in, ours alone; `remains` are the bytes on disk that an interrupted run had left there."""

    path: Path
    remains: int | None
    """None if there was none: every run that comes to an end, good or bad, takes the directory away."""


@contextmanager
def workshop(path: Path) -> Iterator[StagingDirectory]:
    """Own the directory `path` for the length of a with block; it is emptied before and gone afterwards.

    What is done lies elsewhere by then, moved by a rename. Raises BusyError if another process works there.
    """
    descriptor, is_new = _enter(path)
    try:
        remains = _clear(path)
        yield StagingDirectory(path, None if is_new else remains)
    finally:
        try:
            _leave(path)
        finally:
            os.close(descriptor)


def _enter(path: Path) -> tuple[int, bool]:
    """The descriptor of the lock, and whether the directory is new."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.mkdir()
            is_new = True
        except FileExistsError:
            is_new = False
        try:
            return _lock(path / _LOCK, wait=False), is_new
        except FileNotFoundError:  # removed by its last owner in between
            continue


def _leave(path: Path) -> None:
    """Take the directory away; the lock last, so that nobody comes in while things still go."""
    with suppress(OSError):  # what cannot be removed now, or has been entered anew, is the next run's
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
    """Bytes that a file or a tree takes on disk; holes take none, and a file with several names counts once."""
    total, seen = 0, set[tuple[int, int]]()
    for status in _statuses(path):
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):  # the others need not be remembered
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
        total += status.st_blocks * 512
    return total


def _statuses(path: Path) -> Iterator[os.stat_result]:
    """The status of a file, or of everything in a tree that is not removed meanwhile."""
    with suppress(FileNotFoundError):
        status = path.lstat()
        yield status
        if stat.S_ISDIR(status.st_mode):
            for entry in path.iterdir():
                yield from _statuses(entry)
