"""Lock files: of their owner alone, because everybody who can read one could lock it, and never give it back."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs

from aero_storage.atomic_files.directory import Directory
from aero_storage.errors import BusyError, OperatorError

LOCK_TIMEOUT = 30.0
"""Seconds that a command waits for the lock of another one, by default."""

_MODE = 0o600
_POLL_SECONDS = 0.05


def _nobody_listens(_remark: str) -> None:
    pass


@attrs.frozen
class Waiting:
    """How long to wait for a lock, in seconds; `say` is told at once that there is something to wait for."""

    timeout: float = LOCK_TIMEOUT
    say: Callable[[str], None] = _nobody_listens


_BY_DEFAULT = Waiting()


@contextmanager
def locked(path: Path, waiting: Waiting = _BY_DEFAULT, *, keeps_file: bool = True) -> Iterator[None]:
    """Hold the lock file `path`, created if it is missing, for a with block; then remove it, unless it is kept.

    Raises BusyError if another process holds it for too long, and OperatorError if the file is not ours.
    """
    with Directory.opened(path.parent) as directory, ExitStack() as held:
        held.callback(os.close, lock_in(directory, path.name, waiting))
        if not keeps_file:
            held.callback(directory.unlink, path.name)
        yield


def lock_in(directory: Directory, name: str, waiting: Waiting) -> int:
    """Lock the file `name` in an open directory, and return its descriptor; the lock ends when that is closed.

    Raises the same errors as `locked`.
    """
    deadline = time.monotonic() + waiting.timeout
    while True:
        descriptor = _open(directory, name)
        try:
            _wait(directory.path / name, descriptor, waiting, deadline)
            if _is_same_file(directory, name, descriptor):  # its last holder may have removed it in the meantime
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def is_locked(directory: Directory, name: str) -> bool:
    """Return whether another process holds the lock file `name`, or another user's one that nobody else can open."""
    try:
        descriptor = directory.open_file(name, os.O_RDONLY)
    except PermissionError:
        return True
    except (OSError, OperatorError):  # missing, or no lock file
        return False
    try:
        return not _is_taken(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def _wait(path: Path, descriptor: int, waiting: Waiting, deadline: float) -> None:
    if _is_taken(descriptor):
        return
    time.sleep(_POLL_SECONDS)  # `is_locked` holds it for a moment
    if _is_taken(descriptor):
        return
    if waiting.timeout:
        waiting.say(f"Another process holds {path}; waiting for it, {waiting.timeout:g} seconds at the most.")
    while time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
        if _is_taken(descriptor):
            return
    held = f" ({path} is locked; `fuser -v` on it shows by which)"
    raise BusyError(f"another process is at work in {path.parent}; wait for its end{held}")


def _is_taken(descriptor: int, kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _open(directory: Directory, name: str) -> int:
    """Open a lock file that nobody else can open; one that others could is closed to them."""
    path = directory.path / name
    try:
        descriptor = directory.open_file(name, os.O_RDWR | os.O_CREAT, _MODE)
    except PermissionError:
        if (status := directory.status(name)) is not None:
            _require_ours(path, status)
        raise
    except OSError as error:
        if error.errno not in (errno.EISDIR, errno.ENXIO):  # ENXIO: a socket
            raise
        raise _foreign(path, "is no regular file") from error
    try:
        status = os.fstat(descriptor)
        _require_ours(path, status)
        if stat.S_IMODE(status.st_mode) != _MODE:
            os.fchmod(descriptor, _MODE)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _require_ours(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise _foreign(path, "is no regular file")
    if status.st_uid != os.geteuid():
        raise _foreign(path, f"belongs to the user with the number {status.st_uid}")
    if status.st_nlink > 1:  # its mode would be that of another file; 0: it has just been removed
        raise _foreign(path, "is another file too, by a hard link")


def _foreign(path: Path, why: str) -> OperatorError:
    return OperatorError(
        f"{path} {why}, so it is no lock file of ours; run the command as its owner, or, when no other command is at "
        f"work, remove it"
    )


def _is_same_file(directory: Directory, name: str, descriptor: int) -> bool:
    status = directory.status(name)
    return status is not None and os.path.samestat(status, os.fstat(descriptor))
