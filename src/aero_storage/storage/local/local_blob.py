"""A regular file of a directory, open for reading: the page cache says which of its bytes may be sent now."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import NoReturn

import attrs
from twisted.internet.defer import Deferred
from typing_extensions import override

from aero_storage.disk import Disk
from aero_storage.errors import FileChangedError, ShortReadError
from aero_storage.linux.page_cache import is_resident, read_resident_into
from aero_storage.open_file import OpenFile
from aero_storage.storage.blob import Blob, BlobStatus
from aero_storage.storage.local.file_status import status_of

READ_BYTES = 128 * 1024
"""Bytes per read of a stream: one `send` of Twisted's transports takes as many."""

_CLOSED = -1
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
    identity: tuple[int, BlobStatus]
    """Device and status, which has inode and ctime: equal only for the same, unchanged file."""
    remote: bool
    """Whether it is on a network file system, where `fstat` and reads of resident pages may block."""
    _mtime_ns: int
    _name: str
    _descriptor: int
    _lock: threading.Lock = attrs.field(init=False, factory=threading.Lock)
    _holders: int = attrs.field(init=False, default=0)
    _closing: bool = attrs.field(init=False, default=False)

    @classmethod
    def of(cls, found: os.stat_result, descriptor: int, name: str, *, remote: bool) -> LocalBlob:
        """Return the blob of a descriptor whose `fstat` has `found` this; the blob closes it."""
        status = status_of(found)
        return cls(status, (found.st_dev, status), remote, found.st_mtime_ns, name, descriptor)

    @property
    @override
    def lane(self) -> int:
        return self.identity[0]

    @property
    @override
    def piece_bytes(self) -> int:
        return READ_BYTES

    @property
    @override
    def is_watched(self) -> bool:
        return True

    @property
    def size(self) -> int:
        """Its size when it was opened, in bytes."""
        return self.status.size

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
    def read_later(self, disk: Disk, offset: int, length: int, *, background: bool) -> Deferred[bytes]:
        return disk.run(partial(self.read, offset, length), lane=self.lane, background=background)

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
    def is_sendable(self, offset: int, length: int) -> bool:
        return is_resident(self.fileno(), offset, length)

    @override
    def read_now_into(self, offset: int, target: memoryview) -> bool:
        if self._closing:
            raise ShortReadError(_IS_CLOSED)
        if not read_resident_into(self._descriptor, offset, target):
            return False
        if not self.is_current():
            raise FileChangedError(self._name)
        return True

    @override
    def read_sendable_into(self, offset: int, target: memoryview) -> int:
        count = os.preadv(self.fileno(), (target,), offset)
        if not self.is_current():
            raise FileChangedError(self._name)
        return count or _ended()

    @override
    def transmit(self, socket: int, offset: int, most: int) -> int:
        sent = os.sendfile(socket, self.fileno(), offset, most)
        if not sent:
            self.verify()
        return sent or _ended()

    @override
    def warm(self, disk: Disk, offset: int, length: int, *, background: bool) -> Deferred[None]:
        return disk.run(partial(self.populate, offset, length), lane=self.lane, background=background)

    def populate(self, offset: int, length: int) -> None:
        """Read bytes into the page cache. Waits for the disk: call it in a thread."""
        with self._kept_open():
            _populate(self._descriptor, offset, length)

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
        now = os.fstat(self._descriptor)
        return now.st_size == self.status.size and now.st_mtime_ns == self._mtime_ns

    def is_untouched(self) -> bool:
        """Return whether ctime shows no change either: a writer may have set the mtime back. Blocks if `remote`."""
        return status_of(os.fstat(self._descriptor)) == self.status

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


def _ended() -> NoReturn:
    raise OSError(errno.ENODATA, "the file ends before its segment does")


def _populate(descriptor: int, offset: int, length: int) -> None:
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
