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

Extend = Callable[[D, int, BinaryIO, float], D]
"""Makes the document of a file that begins like the last good one and has more lines: of the document and the number
of lines of that one, the open file at the first new line, and the wall-clock time. Raises LeaseDocumentError."""

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


@attrs.frozen
class _Content:
    """The content of a file; equal ones have the same bytes, and equal rights of others."""

    digest: bytes
    others_may_read: bool
    size: int = attrs.field(eq=False)
    lines: int = attrs.field(eq=False)
    ends_line: bool = attrs.field(eq=False)
    start: bytes = attrs.field(eq=False)
    """The digest of its first bytes, as many as the content before had."""

    def continues(self, before: _Content) -> bool:
        """Return whether it has the lines of `before`, and more."""
        return before.ends_line and self.size > before.size and self.start == before.digest


@attrs.define(eq=False)
class LeaseDocumentReader(Generic[D]):
    """Reads one file when it has changed; all methods may wait for a disk, and are called one at a time.

    `now` returns seconds since the epoch, `steady` those of a clock that is never set.
    """

    path: Path
    _parse: Parse[D]
    _now: Callable[[], float]
    _steady: Callable[[], float]
    _extend: Extend[D] | None = None
    _mark: _Mark | None = attrs.field(init=False, default=None)
    """The state of the file at the last reading; None if it may have changed since under the same state."""
    _good: tuple[_Content, D] | None = attrs.field(init=False, default=None)
    """The content of the last good reading, and its document."""
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
            self._mark = self._good = None
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
            before = None if self._good is None else self._good[0]
            content = _content(file, status, 0 if before is None else before.size)
            document = None if content == before else self._parsed(file, status, content, now)
        if document is not None:
            self._good = content, document
        self._read_at, self._broken_since = now, None
        self._mark = self._mark_of(status)
        return document

    def _parsed(self, file: BinaryIO, status: os.stat_result, content: _Content, now: float) -> D:
        if self._extend is not None and self._good is not None:
            before, document = self._good
            if content.continues(before):
                file.seek(before.size)
                return self._extend(document, before.lines, file, now)
        file.seek(0)
        return self._parse(file, status, now)

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


def _content(file: BinaryIO, status: os.stat_result, start: int) -> _Content:
    """Read a file to its end, and describe it; its first `start` bytes have a digest of their own."""
    digest, size, lines, last, start_digest = hashlib.sha256(), 0, 0, b"", b""
    for block in _blocks(file, start):
        digest.update(block)
        size, lines, last = size + len(block), lines + block.count(b"\n"), block
        if size == start:
            start_digest = digest.digest()
    return _Content(digest.digest(), _others_may_read(status), size, lines, last.endswith(b"\n"), start_digest)


def _blocks(file: BinaryIO, start: int) -> Iterator[bytes]:
    """Yield a file in blocks, of which one ends after `start` bytes."""
    left = start
    while block := file.read(min(_BLOCK_BYTES, left) if left else _BLOCK_BYTES):
        left = max(0, left - len(block))
        yield block


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK)  # a FIFO would wait for its writer


def _require_regular(descriptor: int) -> None:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise LeaseDocumentError("not a regular file")


def _others_may_read(status: os.stat_result) -> bool:
    return bool(status.st_mode & stat.S_IROTH)
