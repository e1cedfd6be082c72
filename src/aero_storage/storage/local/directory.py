"""Opens files below a root directory (http.md §1, last rule).

A name is resolved first. Then the result is walked from the root, by one directory descriptor after the other,
without following symbolic links. So the checked file is the opened file, even if links change in the meantime.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath

import attrs
from typing_extensions import override

from aero_storage.errors import (
    BlobNotFoundError,
    BlobUnreadableError,
    DescriptorsError,
    FileChangedError,
    ShortReadError,
)
from aero_storage.http.conditional import Validators
from aero_storage.linux.network_filesystems import is_network_filesystem
from aero_storage.open_file import OpenFile
from aero_storage.storage.blob import Blob, BlobStatus

# With O_PATH, opening a directory does not need the permission to list it.
_DIRECTORY_FLAGS = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
_NO_LINKS = os.O_NOFOLLOW
# Without O_NONBLOCK the open of a FIFO would wait for a writer.
_FILE_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW
_NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO, errno.EINVAL})
_RAN_OUT = frozenset({errno.EMFILE, errno.ENFILE})
_CLOSED = -1
_OUTSIDE = "outside the images root"
_IS_CLOSED = "the blob is closed"

_NULL = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)

_SCRATCH = bytearray(128 * 1024)
"""Its content is never read, so all threads share it."""


@attrs.define(eq=False)
class LocalBlob(Blob, OpenFile):
    """A regular file, open for reading; it may be read and closed from any thread.

    The descriptor is closed after the last read has ended and nobody holds it: closed during a read, its number could
    already be that of another file.
    """

    status: BlobStatus
    identity: tuple[int, int, Validators]
    """Device, inode, and the file's validators: equal only for the same, unchanged file."""
    remote: bool
    """Whether it is on a network file system, where `fstat` and reads of resident pages may block."""
    _name: str
    _descriptor: int
    _lock: threading.Lock = attrs.field(init=False, factory=threading.Lock)
    _holders: int = attrs.field(init=False, default=0)
    _closing: bool = attrs.field(init=False, default=False)

    @property
    @override
    def device(self) -> int:
        return self.identity[0]

    @property
    @override
    def name(self) -> str:
        return self._name

    @property
    @override
    def file(self) -> LocalBlob | None:
        return None if self.remote else self

    @override
    def read(self, offset: int, length: int) -> bytes:
        # A changed size or mtime means another version of the file: ShortReadError.
        with self._kept_open():
            return self._read(offset, length)

    @override
    def fileno(self) -> int:
        if self._closing:
            raise ShortReadError(_IS_CLOSED)
        return self._descriptor

    @override
    def verify(self) -> None:
        self.fileno()
        if not self.is_current():
            raise FileChangedError(self._name)

    @override
    def warm(self, offset: int, length: int) -> None:
        with self._kept_open():
            _warm(self._descriptor, offset, length)

    @contextmanager
    def _kept_open(self) -> Iterator[None]:
        self.hold()
        try:
            yield
        finally:
            self.release()

    @override
    def hold(self) -> None:
        with self._lock:
            if self._closing:
                raise ShortReadError(_IS_CLOSED)
            self._holders += 1

    @override
    def release(self) -> None:
        with self._lock:
            self._holders -= 1
            self._close_if_idle()

    @override
    def is_current(self) -> bool:
        # By size and mtime; blocks only if `remote`.
        now, then = os.fstat(self._descriptor), self.status
        return now.st_size == then.size and now.st_mtime_ns == then.mtime_ns

    @override
    def close(self) -> None:
        with self._lock:
            self._closing = True
            self._close_if_idle()

    def _close_if_idle(self) -> None:
        if self._closing and not self._holders and self._descriptor != _CLOSED:
            descriptor, self._descriptor = self._descriptor, _CLOSED
            with suppress(
                OSError
            ):  # the descriptor is closed anyway (close(2)), and a file that was only read lost nothing
                os.close(descriptor)

    def _read(self, offset: int, length: int) -> bytes:
        data = os.pread(self._descriptor, length, offset)
        while 0 < len(data) < length and (more := os.pread(self._descriptor, length - len(data), offset + len(data))):
            data += more
        if not self.is_current():
            raise FileChangedError(self._name)
        if len(data) < length:
            raise ShortReadError(f"{len(data)} of {length} bytes at {offset}")
        return data


@attrs.frozen
class ImageDirectory:
    """Regular files below `root`, with symbolic links resolved. All methods may wait for a disk."""

    root: Path

    def open(self, name: str, *, follow_links: bool = True) -> LocalBlob:
        """Open the file `name`, a path relative to the root.

        Raises BlobNotFoundError if it is not a regular file below the root, BlobUnreadableError if it cannot be read,
        DescriptorsError if there is no descriptor left.
        """
        try:
            return _adopt(self._walk(name, follow_links=follow_links), name)
        except OSError as error:
            raise _as_ours(error, name) from error

    def status(self, name: str, *, follow_links: bool = True) -> BlobStatus:
        """Return size and mtime of the file `name`; raises the same errors as `open`."""
        blob = self.open(name, follow_links=follow_links)
        blob.close()
        return blob.status

    def _walk(self, name: str, *, follow_links: bool) -> int:
        *parents, last = self._parts(name, follow_links=follow_links)
        directory = os.open(self.root, _DIRECTORY_FLAGS)
        for part in parents:
            directory = _step(directory, part, _DIRECTORY_FLAGS | _NO_LINKS)
        return _step(directory, last, _FILE_FLAGS)

    def _parts(self, name: str, *, follow_links: bool) -> tuple[str, ...]:
        if not follow_links:
            return _plain_parts(name)
        root = os.path.realpath(self.root)
        resolved = os.path.realpath(os.path.join(root, name))  # noqa: PTH118 - realpath works on text
        inside = PurePath(resolved).is_relative_to(root) and resolved != root
        if not inside:
            raise OSError(errno.ENOENT, _OUTSIDE)
        return PurePath(resolved).relative_to(root).parts


def _warm(descriptor: int, offset: int, length: int) -> None:
    """Read bytes into the page cache; posix_fadvise first, so that the kernel makes few long requests to the disk."""
    end = offset + length
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, offset, length, os.POSIX_FADV_WILLNEED)
    while offset < end and (came := _pass_by(descriptor, offset, end - offset)):
        offset += came


def _pass_by(descriptor: int, offset: int, length: int) -> int:
    """Wait until some of the bytes are resident; return how many. Raises OSError if the disk fails.

    `sendfile` to the null device copies nothing on Linux: with sixteen reading threads it takes 245 µs of CPU a MiB
    instead of 417, which the reactor's thread may need. Without that the bytes are read.
    """
    try:
        return os.sendfile(_NULL, descriptor, offset, length)
    except (AttributeError, OSError):  # a failing disk fails again in the read below
        return os.preadv(descriptor, (memoryview(_SCRATCH)[:length],), offset)


def _plain_parts(name: str) -> tuple[str, ...]:
    path = PurePath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise OSError(errno.ENOENT, _OUTSIDE)
    return path.parts


def _step(directory: int, part: str, flags: int) -> int:
    """Open `part` in the directory descriptor `directory`, and close the latter."""
    try:
        return os.open(part, flags, dir_fd=directory)
    finally:
        os.close(directory)


def _adopt(descriptor: int, name: str) -> LocalBlob:
    try:
        status = os.fstat(descriptor)
        found = _regular(status, name)
        identity = (status.st_dev, status.st_ino, found.validators)
        return LocalBlob(found, identity, is_network_filesystem(descriptor), name, descriptor)
    except BaseException:
        os.close(descriptor)
        raise


def _regular(status: os.stat_result, name: str) -> BlobStatus:
    if not stat.S_ISREG(status.st_mode):
        raise BlobNotFoundError(f"{name}: not a regular file")
    return _status(status)


def _status(status: os.stat_result) -> BlobStatus:
    return BlobStatus(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def _as_ours(error: OSError, name: str) -> BlobNotFoundError | BlobUnreadableError:
    if error.errno in _RAN_OUT:
        return DescriptorsError(f"{name}: {error.strerror}")
    kind = BlobNotFoundError if error.errno in _NOT_THERE else BlobUnreadableError
    return kind(f"{name}: {error.strerror}")
