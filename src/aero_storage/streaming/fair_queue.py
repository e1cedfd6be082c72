"""The reactor's time for files, shared: all streams together send so much of them in one of its turns.

A reactor calls every connection that can be written to before it asks the kernel for news. If each of 16 streams sent
a mebibyte then, a request that came meanwhile would wait for all 16, and for twice as many if it came at the wrong
moment: 5 ms for files in the page cache, 10 ms beside threads that read. So streams wait in a line of their own, and
after every turn's worth of bytes, whoever sent them, the reactor looks for requests.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

import attrs
from twisted.internet.interfaces import IReactorTime

TURN_BYTES = 1024 * 1024
"""A turn's worth; no stream so sends more of a file while others wait."""

SHORT_TURN_BYTES = 128 * 1024
"""The same while small answers are asked for: sent within 50 µs. Streams lose a quarter of their speed."""

SHORT_TURNS = 256
"""How many turns are short after a small answer; about 40 ms."""


class QueuedStream(Protocol):
    """Whoever stands in line."""

    def take_turn(self) -> None:
        """Send, as much as is `left` at the most; or do nothing, if there is nothing to send any more."""
        ...


@attrs.define(eq=False)
class FairQueue:
    """The line of one reactor. Whoever finds nothing `left` waits; what was sent is told by `spend`."""

    _reactor: IReactorTime
    left: int = attrs.field(init=False, default=TURN_BYTES)
    """Bytes of files that may still be sent in this turn; not above 0 if nothing may."""
    _line: deque[QueuedStream] = attrs.field(init=False, factory=deque)
    _short: int = attrs.field(init=False, default=0)
    _ordered: bool = attrs.field(init=False, default=False)

    def spend(self, count: int) -> None:
        """So many bytes of a file were sent."""
        self.left -= count
        self._order()

    def wait(self, stream: QueuedStream) -> None:
        """Call `take_turn`, once, after those that stand in line already."""
        self._line.append(stream)
        self._order()

    def hurry(self) -> None:
        """A small answer was sent, and where one was asked for there will be more: keep the next turns short."""
        self._short = SHORT_TURNS

    def _order(self) -> None:
        if not self._ordered:
            self._ordered = True
            self._reactor.callLater(0, self._begin)

    def _begin(self) -> None:
        """The reactor has looked for requests."""
        self._ordered = False
        self.left = SHORT_TURN_BYTES if self._short else TURN_BYTES
        self._short = max(self._short - 1, 0)
        try:
            while self._line and self.left > 0:
                self._line.popleft().take_turn()
        finally:
            if self._line:
                self._order()
