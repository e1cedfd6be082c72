"""A large body for a program on this machine: its end is held back until all before has been read (http.md §5).

`sendfile` gives such a program pages of the file, and a change in place reaches those that it has not read. Nobody
can take them back, but the body does not end: the last TAIL_BYTES are held until every shared byte has been read, and
copied from a file that is verified once more. Meanwhile the file is watched, and a change resets the connection.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Protocol

import attrs
from typing_extensions import override

from aero_storage.linux.short_timers import Timer
from aero_storage.open_file import OpenFile
from aero_storage.streaming.file_segment import COPIED_BYTES, CopiedSegment, FileSegment
from aero_storage.streaming.local_reader import Connection, LocalReader, PeerSockets, Unseen, find_reader
from aero_storage.streaming.look_times import Looks

TAIL_BYTES = 16 * 1024
"""Bytes that are held back: copying them takes 3 µs."""


class Timers(Protocol):
    """A clock with timers of less than a millisecond, as `linux.short_timers.ShortTimers` is."""

    def start(self) -> None:
        """Begin to make calls."""
        ...

    def stop(self) -> None:
        """Make no more calls."""
        ...

    def seconds(self) -> float:
        """Return the time."""
        ...

    def call_later(self, delay: float, call: Callable[[], object]) -> Timer:
        """Make a call in so many seconds."""
        ...


@attrs.define(eq=False)
class HeldTailSegment(FileSegment):
    """A segment that is shared but for its last TAIL_BYTES, which wait until `reader` has read all before them."""

    _reader: LocalReader = attrs.field(kw_only=True)
    _timers: Timers = attrs.field(kw_only=True)
    _looks: Looks | None = attrs.field(init=False, default=None)
    _look: Timer | None = attrs.field(init=False, default=None)
    _unread: int = attrs.field(init=False, default=1)
    """By the last look, of those that the kernel has answered."""
    _released: bool = attrs.field(init=False, default=False)

    @property
    @override
    def is_shared(self) -> bool:  # all that was shared has been read when the tail is released
        return not self._released

    @override
    def ready(self) -> int:
        shared = self.left - TAIL_BYTES
        if shared > 0:
            return min(super().ready(), shared)
        if not self._released:
            self._hold()
            return 0
        return super().ready()

    @override
    def _transfer(self, descriptor: int, most: int) -> int:
        return self._copy(descriptor, most) if self._released else self._share(descriptor, most)

    @override
    def unread(self) -> int:
        with suppress(OSError):  # then it is looked at again, until the stall detector ends that
            self._unread = self._reader.unread()
        return self._unread

    def _hold(self) -> None:
        if self._look is None:
            self._looks = Looks(self._reader.pauses, self._timers.seconds())
            self._look = self._timers.call_later(self._looks.first(), self._look_now)

    def _look_now(self) -> None:
        assert self._looks is not None  # noqa: S101
        delay = self._looks.next(self.unread(), self._timers.seconds())
        if delay:
            self._look = self._timers.call_later(delay, self._look_now)
        else:
            self._look, self._released = None, True
            self._on_read(self, None)

    @override
    def drop(self) -> None:
        look, self._look = self._look, None
        if look is not None:
            look.cancel()
        super().drop()


@attrs.frozen(eq=False)
class SegmentKinds:
    """Chooses how the bytes of a file are sent: copied, shared, or shared but for their end."""

    _peer_sockets: PeerSockets
    _timers: Timers

    def start(self) -> None:
        """Begin to know the sockets of this machine."""
        self._peer_sockets.start()
        self._timers.start()

    def stop(self) -> None:
        """End that: no connection is left."""
        self._timers.stop()
        self._peer_sockets.stop()

    def choose(self, source: OpenFile, length: int, connection: Connection) -> Callable[..., FileSegment]:
        """Return what makes the segment of a body of `length` bytes."""
        if length <= COPIED_BYTES:
            return CopiedSegment
        if not source.is_watched:
            return FileSegment
        if connection.reader is None and connection.connected:
            connection.reader = find_reader(connection, self._peer_sockets)
        if isinstance(connection.reader, LocalReader):
            return partial(HeldTailSegment, reader=connection.reader, timers=self._timers)
        return CopiedSegment if connection.reader is Unseen.LOCAL else FileSegment
