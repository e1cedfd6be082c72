"""A fair queue of streams: all streams together send at most TURN_BYTES of files in one turn of the reactor.

A reactor calls every writable connection before it polls the kernel again. If each of 16 streams sent 1 MiB then, a
request that arrived meanwhile would wait for all 16, or for twice as many in the worst case: 5 ms for files in the
page cache, 10 ms beside reading threads. So streams wait in a queue of their own, and the reactor polls for requests
after each TURN_BYTES.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

import attrs
from twisted.internet.interfaces import IReactorTime

TURN_BYTES = 1024 * 1024
"""Bytes of files that all streams together send in one turn, and so the most that one stream sends at a time."""

SHORT_TURN_BYTES = 128 * 1024
"""The same after a small response: sent within 50 µs. Streams lose a quarter of their speed."""

SHORT_TURNS = 256
"""Number of short turns after a small response; about 40 ms."""


class QueuedStream(Protocol):
    """A stream that waits in the queue."""

    __slots__ = ()

    def take_turn(self) -> None:
        """Send at most `left` bytes; do nothing if there is nothing left to send."""
        ...


@attrs.define(eq=False)
class FairQueue:
    """The queue of one reactor. A stream calls `spend` after it has sent, and `wait` when nothing is `left`."""

    _reactor: IReactorTime
    left: int = attrs.field(init=False, default=TURN_BYTES)
    """Bytes of files that may still be sent in this turn; 0 or less if none."""
    _streams: deque[QueuedStream] = attrs.field(init=False, factory=deque)
    _short_turns: int = attrs.field(init=False, default=0)
    _scheduled: bool = attrs.field(init=False, default=False)

    def spend(self, count: int) -> None:
        """Subtract `count` sent bytes from this turn."""
        self.left -= count
        self._schedule()

    def wait(self, stream: QueuedStream) -> None:
        """Append a stream: its `take_turn` is called once, after those of the streams before it."""
        self._streams.append(stream)
        self._schedule()

    def shorten_turns(self) -> None:
        """Keep the next SHORT_TURNS turns short: after one small response, more requests for small ones follow."""
        self._short_turns = SHORT_TURNS

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._reactor.callLater(0, self._begin_turn)

    def _begin_turn(self) -> None:
        """Begin a turn: the reactor has polled for requests."""
        self._scheduled = False
        self.left = SHORT_TURN_BYTES if self._short_turns else TURN_BYTES
        self._short_turns = max(self._short_turns - 1, 0)
        try:
            while self._streams and self.left > 0:
                self._streams.popleft().take_turn()
        finally:
            if self._streams:
                self._schedule()
