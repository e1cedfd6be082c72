"""The directory of a block cache: the right to use it, its abilities, and its files.

`lock` is locked by the daemon; its bytes from _JOURNAL on serialize short work of the workers. `journal` says in
which order blocks came. `objects/` has two files for each object: `<digest>.data`, sparse, as long as the object,
and `<digest>.map`. All methods may wait for a disk.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs

from aero_storage.errors import BusyError, SettingsError
from aero_storage.linux.hole_punching import punch_hole
from aero_storage.linux.ofd_locks import lock_exclusive

_DAEMON, _JOURNAL, _FILES = 0, 1, 16
"""Bytes of the lock file: of the daemon, of the journal, and from which on those of single files begin."""

RUN_ID_BYTES = 16

_CACHED = re.compile(r"([0-9a-f]{32})\.(?:data|map)", re.ASCII)

_LOCK_SECONDS = 2.0
"""How long short work of another process is waited for: it takes milliseconds, but a process may be stopped in it."""

_POLL_SECONDS = 0.001
_PROBE_BYTES = 64 * 1024

Punch = Callable[[int, int, int], None]
"""Descriptor, offset, length: gives the space back, or raises OSError."""

Lock = Callable[[int, int, int], bool]
"""Descriptor, start, length: takes an exclusive lock, or returns False, or raises OSError."""


@attrs.frozen
class DirectoryClaim:
    """The right of one daemon to a cache directory; it ends when every copy of the descriptor is closed.

    A daemon of several processes passes the descriptor on to its workers: as long as one of them lives, no other
    daemon begins.
    """

    descriptor: int

    def close(self) -> None:
        """Give the right back."""
        os.close(self.descriptor)


@attrs.frozen
class CacheDirectory:
    """The files below a directory that holds a block cache."""

    path: Path

    @property
    def objects(self) -> Path:
        """Where the cached files are."""
        return self.path / "objects"

    @property
    def journal(self) -> Path:
        """The journal of arrivals and evictions."""
        return self.path / "journal"

    @property
    def _lock(self) -> Path:
        return self.path / "lock"

    def data(self, name: str) -> Path:
        """Return the place of the bytes of a cached file."""
        return self.objects / f"{name}.data"

    def map(self, name: str) -> Path:
        """Return the place of its map."""
        return self.objects / f"{name}.map"

    def names(self) -> Iterator[str]:
        """Yield the names of the cached files, also of those of which only one of the two files is there."""
        with os.scandir(self.objects) as entries:
            yield from {found[1] for entry in entries if (found := _CACHED.fullmatch(entry.name))}

    def allocated(self) -> int:
        """Return the allocated bytes of all below the directory."""
        return sum(map(_allocated_in, (self.path, self.objects))) + _allocated(self.path.lstat())

    def run_id(self) -> bytes:
        """Return what tells this run of the daemon from others."""
        return self._lock.read_bytes()[:RUN_ID_BYTES]

    @contextmanager
    def journal_locked(self) -> Iterator[None]:
        """Hold the lock of the journal for a with block. Raises BusyError if another process keeps it."""
        with self._locked(_JOURNAL):
            yield

    @contextmanager
    def file_locked(self, name: str) -> Iterator[None]:
        """Hold the lock under which the files of one object are made and removed. Raises BusyError."""
        with self._locked(_FILES + int(name[:14], 16)):
            yield

    @contextmanager
    def _locked(self, byte: int) -> Iterator[None]:
        descriptor = self._open_lock()
        try:
            _wait(descriptor, byte)
            yield
        finally:
            os.close(descriptor)

    def _open_lock(self) -> int:
        """Open the lock file; if all was removed under a daemon that runs, it is made anew."""
        try:
            return os.open(self._lock, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            self.objects.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.pwrite(descriptor, secrets.token_bytes(RUN_ID_BYTES), 0)
            return descriptor


def _wait(descriptor: int, byte: int) -> None:
    end = time.monotonic() + _LOCK_SECONDS
    while not lock_exclusive(descriptor, byte):
        if time.monotonic() > end:
            raise BusyError("another process keeps a lock of the cache directory")
        time.sleep(_POLL_SECONDS)


def _allocated_in(path: Path) -> int:
    try:
        with os.scandir(path) as entries:
            return sum(map(_allocated_of, entries))
    except FileNotFoundError:  # somebody has removed it
        return 0


def _allocated_of(entry: os.DirEntry[str]) -> int:
    try:
        return _allocated(entry.stat(follow_symlinks=False))
    except FileNotFoundError:
        return 0


def _allocated(status: os.stat_result) -> int:
    return status.st_blocks * 512


def claim_directory(path: Path, punch: Punch = punch_hole, lock: Lock = lock_exclusive) -> DirectoryClaim:
    """Make the directory if it is missing, check that its file system is fit for a cache, and take it for a daemon.

    Raises SettingsError, one line, if the directory is in use or cannot hold a cache.
    """
    try:
        (path / "objects").mkdir(mode=0o700, parents=True, exist_ok=True)
        _require_holes(path, punch)
        return _claimed(path, lock)
    except OSError as error:
        raise SettingsError(f"--cache-dir {path}: {error.strerror}; give a directory that can be written") from error


def _require_holes(path: Path, punch: Punch) -> None:
    """Raise SettingsError unless punching a hole gives space back."""
    with tempfile.TemporaryFile(dir=path) as file:
        descriptor = file.fileno()
        os.pwrite(descriptor, secrets.token_bytes(_PROBE_BYTES), 0)
        os.fsync(descriptor)
        before = os.fstat(descriptor).st_blocks
        try:
            punch(descriptor, 0, _PROBE_BYTES)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS):
                raise
            raise _no_holes(path) from error
        if os.fstat(descriptor).st_blocks >= before:
            raise _no_holes(path)


def _no_holes(path: Path) -> SettingsError:
    return SettingsError(
        f"--cache-dir {path}: its file system cannot punch holes into files; use Linux with ext4, xfs, btrfs or tmpfs"
    )


def _claimed(path: Path, lock: Lock) -> DirectoryClaim:
    descriptor = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _take(path, descriptor, lock)
        os.pwrite(descriptor, secrets.token_bytes(RUN_ID_BYTES), 0)
    except BaseException:
        os.close(descriptor)
        raise
    return DirectoryClaim(descriptor)


def _take(path: Path, descriptor: int, lock: Lock) -> None:
    """Lock the directory; raise SettingsError if another daemon has, or if locks of this kind do not work there."""
    try:
        if not lock(descriptor, _DAEMON, 1):
            raise SettingsError(
                f"--cache-dir {path}: another daemon uses it; give each daemon a directory of its own"
            )
        other = os.open(path / "lock", os.O_RDWR | os.O_CLOEXEC)
        try:
            works = not lock(other, _DAEMON, 1)
        finally:
            os.close(other)
    except OSError as error:
        raise _no_locks(path) from error
    if not works:
        raise _no_locks(path)


def _no_locks(path: Path) -> SettingsError:
    return SettingsError(
        f"--cache-dir {path}: no locks of open file descriptions there; they need Linux and a local file system"
    )


def remove_quietly(*paths: Path) -> None:
    """Remove files that may be missing, or may not be removable; an empty directory in place of one, too."""
    for path in paths:
        try:
            path.unlink()
        except OSError:
            with suppress(OSError):
                path.rmdir()
