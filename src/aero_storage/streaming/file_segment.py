"""A piece of a file on its way to a socket: what of it may be sent now, and the reads that bring in the rest."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

import attrs
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure

from aero_storage.disk import Disk
from aero_storage.linux.page_cache import is_resident

WINDOW_BYTES = 1024 * 1024
"""How much of a file is asked about, or read into the page cache, at a time."""

_LEAST_WINDOW = 128 * 1024

TRUST_SECONDS = 0.1
"""How long what is known to be in the page cache is taken to be still there."""


class FileSource(Protocol):
    """An open regular file, of which whoever sends it keeps it open until its segments are done."""

    @property
    def device(self) -> int:
        """The disk that reads of it wait for: its st_dev."""
        ...

    def fileno(self) -> int:
        """The descriptor."""
        ...

    def verify(self) -> None:
        """Raise an exception if the file is not the version any more that was opened; must not wait for a disk."""
        ...

    def warm(self, offset: int, length: int) -> None:
        """Bring bytes into the page cache, waiting for the disk: for a thread."""
        ...


@attrs.define(eq=False)
class FileSegment:
    """`left` bytes of a file from `offset` on, and what was written behind them.

    At most one read is under way: for the window that is to be sent next, or, once the stream had to wait for one and
    sends it, for the window after. No read begins unless the transport asks what is ready or has sent something.
    """

    source: FileSource
    offset: int
    left: int
    _disk: Disk
    _on_read: Callable[[FileSegment, Failure | None], object]
    _on_cancel: Callable[[], object]
    _clock: Callable[[], float] = time.monotonic
    done: Deferred[None] | None = attrs.field(init=False)
    """What waits for the end; let go of once it is told, lest it and this keep each other alive."""
    behind: list[bytes] = attrs.field(init=False, factory=list)
    _ready_to: int = attrs.field(init=False, default=0)
    _known_at: float = attrs.field(init=False, default=0.0)
    _window: int = attrs.field(init=False, default=WINDOW_BYTES)
    _cold: bool = attrs.field(init=False, default=False)
    _reading: Deferred[None] | None = attrs.field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        self.done = Deferred(self._cancelled)

    def ready(self) -> int:
        """How many bytes can be sent now. 0: a thread reads, and `on_read` is called when it has.

        Raises what the file raises.
        """
        known = self._ready_to - self.offset
        if known > 0 and self._clock() - self._known_at < TRUST_SECONDS:
            return known
        if self._reading is None:
            self._ask(stale=known > 0)
        return 0 if self._reading is not None else self._ready_to - self.offset

    def send(self, socket: int, most: int) -> int:
        """Send up to `most` > 0 bytes that are ready; how many went. `left` is exact however it ends.

        Raises BlockingIOError if the socket is full, what the file raises, what the connection raises.
        """
        sent = os.sendfile(socket, self.source.fileno(), self.offset, most)
        self.offset += sent
        self.left -= sent
        self.source.verify()
        if not sent:
            raise OSError(errno.ENODATA, "the file ends before its segment does")
        if self._cold and self.left and self._reading is None:
            self._read_ahead()
        return sent

    def finish(self, failure: Failure | None) -> None:
        """Drop what is left and tell how it ended; a second call does nothing."""
        done, self.done = self.done, None
        if done is not None:
            self.drop()
            done.errback(failure) if failure else done.callback(None)

    def drop(self) -> None:
        """Let go of the thread: a read that has not begun never will, and nobody hears of one that has."""
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.cancel()

    def _cancelled(self, _done: Deferred[None]) -> None:
        self.done = None
        self.drop()
        self._on_cancel()

    def _ask(self, *, stale: bool) -> None:
        """Look at the next window, which is smaller for a client so slow that it let the last one go stale."""
        self._window = max(self._window // 2, _LEAST_WINDOW) if stale else min(self._window * 2, WINDOW_BYTES)
        self.source.verify()
        length = min(self.left, self._window)
        if is_resident(self.source.fileno(), self.offset, length):
            self._know(self.offset + length)
        else:
            self._cold = True
            self._read(self.offset, length)

    def _read_ahead(self) -> None:
        length = min(self.offset + self.left - self._ready_to, self._window)
        if length <= 0 or self._ready_to - self.offset > self._window:
            return
        self._cold = not is_resident(self.source.fileno(), self._ready_to, length)
        if self._cold:
            self._read(self._ready_to, length)

    def _read(self, offset: int, length: int) -> None:
        self._ready_to = offset
        warming = partial(self.source.warm, offset, length)
        self._reading = reading = maybeDeferred(self._disk.run, warming, lane=self.source.device)
        reading.addCallbacks(lambda _: self._have_read(offset + length), self._have_failed)

    def _have_read(self, end: int) -> None:
        self._reading = None
        self._know(end)
        self._on_read(self, None)

    def _have_failed(self, failure: Failure) -> None:
        if self._reading is not None:  # else it was dropped
            self._reading = None
            self._on_read(self, failure)

    def _know(self, end: int) -> None:
        self._ready_to, self._known_at = end, self._clock()
