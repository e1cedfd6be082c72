"""A large body for a program on this machine: its end is held back until all before has been read (http.md §5).

`sendfile` gives such a program pages of the file, and a change in place reaches those that it has not read. Nobody
can take them back, but the body does not end: the last TAIL_BYTES are held until every shared byte has been read, and
copied from a file that is verified once more. Meanwhile the file is watched, and a change resets the connection.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

import attrs
from typing_extensions import override

from aero_storage.linux.short_timers import Timer
from aero_storage.streaming.file_segment import FileSegment
from aero_storage.streaming.local_reader import Reader
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

    _reader: Reader = attrs.field(kw_only=True)
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
        if not (self._released or self._may_release()):
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

    def _may_release(self) -> bool:
        """Return whether all has been read; if not, look at that until it has."""
        self._look_later()
        return False

    def _look_later(self) -> None:
        if self._look is None:
            self._looks = Looks(self._reader.pauses, self._timers.seconds())
            self._look = self._timers.call_later(self._looks.first(), self._look_now)

    def _look_now(self) -> None:
        assert self._looks is not None  # noqa: S101
        delay = self._looks.next(self.unread(), self._timers.seconds())
        if delay:
            self._look = self._timers.call_later(delay, self._look_now)
        else:
            self._look = None
            self._release()
            self._on_read(self, None)

    def _release(self) -> None:
        self._released = True

    @override
    def drop(self) -> None:
        look, self._look = self._look, None
        if look is not None:
            look.cancel()
        super().drop()
