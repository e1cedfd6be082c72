"""Reads a file when it has changed. A file that is broken for less than a second may be half written."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Sized
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Generic, TypeVar

import attrs

from aero_storage.errors import LeaseDocumentError

D = TypeVar("D", bound=Sized)
"""The document that a file becomes."""

Parse = Callable[[BinaryIO, os.stat_result, float], D]
"""Makes the document of an open file, its status, and the wall-clock time. Raises LeaseDocumentError."""

_HALF_WRITTEN_SECONDS = 1.0
"""For this time a broken file, or none, is taken for one that is being written."""

_SETTLED_SECONDS = 2.0
"""A file younger than this may change again with the same times, which have the resolution of a kernel tick."""

_CLOCK_STEP_SECONDS = 1.0
_BLOCK_BYTES = 1 << 18
_Mark = tuple[int, ...]


@attrs.frozen
class Reading(Generic[D]):
    """A good document, or the error of reading it.

    `document` is None without an error if the file has the content of the last good reading.
    """

    document: D | None
    error: LeaseDocumentError | None = None


@attrs.define(eq=False)
class LeaseDocumentReader(Generic[D]):
    """Reads one file when it has changed; all methods may wait for a disk, and are called one at a time.

    `now` returns seconds since the epoch, `steady` those of a clock that is never set.
    """

    path: Path
    _parse: Parse[D]
    _now: Callable[[], float]
    _steady: Callable[[], float]
    _mark: _Mark | None = attrs.field(init=False, default=None)
    """The state of the file at the last reading; None if it may have changed since under the same state."""
    _digest: bytes | None = attrs.field(init=False, default=None)
    """That of the content of the last good reading."""
    _read_at: float = attrs.field(init=False, default=0.0)
    _broken_since: float | None = attrs.field(init=False, default=None)

    def read_first(self) -> D:
        """Read the file at the start. Raises LeaseDocumentError, with its name, at once if it is broken."""
        document = self._read()
        if document is None:
            raise AssertionError(self.path)  # no reading before this one had the same content
        return document

    def read_if_changed(self, *, force: bool = False) -> Reading[D] | None:
        """Return the file as it is now; None if it is certainly as it was read, or has been broken for a moment only.

        With `force` it is read even if it has not changed. The clock's way back has it read anew: the document may
        depend on the time.
        """
        if self._now() < self._read_at - _CLOCK_STEP_SECONDS:
            self._mark = self._digest = None
        seen = self._state()
        if not force and self._mark is not None and self._mark == seen:
            return None
        try:
            return Reading(self._read())
        except LeaseDocumentError as error:
            is_told = self._is_broken_for_long()
            self._mark = seen if is_told else None
            return Reading(None, error) if is_told else None

    def _is_broken_for_long(self) -> bool:
        now = self._steady()
        if self._broken_since is None:
            self._broken_since = now
        return now - self._broken_since >= _HALF_WRITTEN_SECONDS

    def _state(self) -> _Mark | None:
        """Return the state of the file; None if there is none, or if it may change under the same state."""
        try:
            return self._mark_of(self.path.stat())
        except OSError:
            return None

    def _mark_of(self, status: os.stat_result) -> _Mark | None:
        now = self._now()
        if any(abs(now - moment) <= _SETTLED_SECONDS for moment in (status.st_mtime, status.st_ctime)):
            return None
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns

    def _read(self) -> D | None:
        """Return the document, None if its content is that of the last good one. Raises LeaseDocumentError."""
        now = self._now()
        with self._opened() as file:
            status = os.fstat(file.fileno())
            digest = _digest(file) + bytes([_others_may_read(status)])
            document = None
            if digest != self._digest:
                file.seek(0)
                document = self._parse(file, status, now)
        self._digest, self._read_at, self._broken_since = digest, now, None
        self._mark = self._mark_of(status)
        return document

    @contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        """Open the file for a with block, in which errors become those of the document, with its name."""
        try:
            with open(self.path, "rb", opener=_open) as file:
                _require_regular(file.fileno())
                yield file
        except LeaseDocumentError as error:
            raise LeaseDocumentError(f"{self.path}: {error}") from error
        except OSError as error:
            raise LeaseDocumentError(f"{self.path}: {error.strerror}") from error


def _digest(file: BinaryIO) -> bytes:
    digest = hashlib.sha256()
    while block := file.read(_BLOCK_BYTES):
        digest.update(block)
    return digest.digest()


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK)  # a FIFO would wait for its writer


def _require_regular(descriptor: int) -> None:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise LeaseDocumentError("not a regular file")


def _others_may_read(status: os.stat_result) -> bool:
    return bool(status.st_mode & stat.S_IROTH)
