"""A segment of a file to be sent: tracks what of it is sendable, and has the source bring in the rest."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import attrs
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure
from typing_extensions import override

from aero_storage.disk import Disk
from aero_storage.open_file import OpenFile
from aero_storage.streaming.stream_place import StreamPlace, has_no_place
from aero_storage.streaming.write_queue import QueuedSegment

WINDOW_BYTES = 1024 * 1024
"""Bytes of a file that are asked for, or brought in, at a time."""

_LEAST_WINDOW = 128 * 1024

COPIED_BYTES = 256 * 1024
"""Bodies up to this many bytes are copied. A client on this machine may hold so many that it has acknowledged and not
read: those of `sendfile` would still be the file's, and no reset takes them back."""

_PIECE = memoryview(bytearray(256 * 1024))
"""Where bytes are copied to, a piece at a time that stays in the processor's cache; for the reactor's thread only."""

RESIDENT_SECONDS = 0.1
"""Bytes that the source called sendable count as such for this long."""


@attrs.define(eq=False)
class FileSegment(QueuedSegment):
    """`left` bytes of a file from `offset` on, and the data written behind them.

    At most one read is under way: for the next window, or, once the stream had to wait for a read, for the window
    after the one that is being sent. A read begins only when the transport calls `ready` or `send`.
    """

    source: OpenFile
    offset: int
    left: int
    _disk: Disk
    _on_read: Callable[[FileSegment, Failure | None], object]
    _on_cancel: Callable[[], object]
    _clock: Callable[[], float] = time.monotonic
    _place: StreamPlace | None = None
    done: Deferred[None] | None = attrs.field(init=False)
    """Fires at the end; dropped then, to break a reference cycle."""
    behind: list[bytes] = attrs.field(init=False, factory=list)
    is_paced: bool = attrs.field(init=False, default=True)
    _ready_to: int = attrs.field(init=False, default=0)
    _checked_at: float = attrs.field(init=False, default=0.0)
    _window: int = attrs.field(init=False, default=WINDOW_BYTES)
    _cold: bool = attrs.field(init=False, default=False)
    _reading: Deferred[None] | None = attrs.field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        self.done = Deferred(self._cancelled)

    @property
    @override
    def is_shared(self) -> bool:
        return True

    @property
    @override
    def file(self) -> OpenFile | None:
        return self.source if self.source.is_watched else None

    @override
    def unread(self) -> int | None:
        return None

    @override
    def ready(self) -> int:
        """Return how many bytes can be sent now; 0 if a thread is reading them: `on_read` is called after the read.

        Raises the exceptions of `source`.
        """
        ready = self._ready_to - self.offset
        if ready > 0 and self._clock() - self._checked_at < RESIDENT_SECONDS:
            return ready
        if self._reading is None:
            self._probe(stale=ready > 0)
        return 0 if self._reading is not None else self._ready_to - self.offset

    @override
    def send(self, socket: int, most: int) -> int:
        """Send up to `most` > 0 ready bytes and return how many were sent; `left` is exact even after an exception.

        0: they are ready no more. Raises BlockingIOError if the socket is full, OSError of the connection, and the
        exceptions of `source`.
        """
        sent = self._transfer(socket, most)
        if not sent:
            self._ready_to = self.offset
            return 0
        if self._cold and self.left and self._reading is None:
            self._read_ahead()
        return sent

    def _transfer(self, socket: int, most: int) -> int:
        return self._share(socket, most)

    def _share(self, socket: int, most: int) -> int:
        """Send by `sendfile`. Bytes in the socket are still the file's, so the file is verified after it."""
        sent = self._advance(self.source.transmit(socket, self.offset, most))
        self.source.verify()
        return sent

    def _copy(self, socket: int, most: int) -> int:
        """Read, verify and write: none of these bytes changes any more once the kernel has them.

        The rest that a full socket does not take is read again.
        """
        piece = _PIECE[:most]
        count = self.source.read_sendable_into(self.offset, piece)
        return self._advance(os.write(socket, piece[:count])) if count else 0

    def _advance(self, sent: int) -> int:
        self.offset += sent
        self.left -= sent
        return sent

    @override
    def finish(self, failure: Failure | None) -> None:
        """Drop the rest and fire `done`; a second call does nothing."""
        done, self.done = self.done, None
        if done is not None:
            self.drop()
            done.errback(failure) if failure else done.callback(None)

    def drop(self) -> None:
        """Cancel the read: a read that has not begun is not made; the result of one that has is discarded."""
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.cancel()

    def _cancelled(self, _done: Deferred[None]) -> None:
        self.done = None
        self.drop()
        self._on_cancel()

    def _probe(self, *, stale: bool) -> None:
        """Ask whether the next window is sendable; it shrinks for a client too slow to take the last one in time."""
        self._window = max(self._window // 2, _LEAST_WINDOW) if stale else min(self._window * 2, WINDOW_BYTES)
        self.source.verify()
        length = min(self.left, self._window)
        if self.source.is_sendable(self.offset, length):
            self._mark_ready(self.offset + length)
        else:
            self._cold = True
            self._read(self.offset, length)

    def _read_ahead(self) -> None:
        length = min(self.offset + self.left - self._ready_to, self._window)
        if length <= 0 or self._ready_to - self.offset > self._window:
            return
        self._cold = not self.source.is_sendable(self._ready_to, length)
        if self._cold:
            self._read(self._ready_to, length)

    def _read(self, offset: int, length: int) -> None:
        self._ready_to = offset
        self._reading = reading = maybeDeferred(
            self.source.warm, self._disk, offset, length, background=has_no_place(self._place)
        )
        reading.addCallbacks(lambda _: self._on_success(offset + length), self._on_failure)

    def _on_success(self, end: int) -> None:
        self._reading = None
        self._mark_ready(end)
        self._on_read(self, None)

    def _on_failure(self, failure: Failure) -> None:
        if self._reading is not None:  # else it was dropped
            self._reading = None
            self._on_read(self, failure)

    def _mark_ready(self, end: int) -> None:
        self._ready_to, self._checked_at = end, self._clock()


class CopiedSegment(FileSegment):
    """A segment that is copied; the rest that a full socket does not take waits in the file."""

    @property
    @override
    def is_shared(self) -> bool:
        return False

    @override
    def ready(self) -> int:
        return min(super().ready(), len(_PIECE))

    @override
    def _transfer(self, socket: int, most: int) -> int:
        return self._copy(socket, most)
