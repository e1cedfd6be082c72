"""A limit on the memory of bodies that the daemon has made and that wait for their clients (http.md §2).

A list of images, metrics or an error is one object in memory, which all connections share that send it. It is counted
once, from the first of them whose socket was full to the last. A connection that cannot share, below TLS,
holds a copy of one piece, which is counted for itself. So the count is what the process holds.

Over the limit, connections are closed: first the one that has waited longest without a byte taken. The last one that
waits is never closed, so that a body that is over the limit by itself can be sent.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import attrs


@attrs.define(eq=False)
class WaitingBody:
    """A body of which a rest waits for one client."""

    _owner: WaitingBodies
    body: bytes
    copied: int
    """Bytes that this connection holds for itself."""
    close: Callable[[], object]

    def taken(self) -> None:
        """A byte was taken: from now on it waits anew."""
        self._owner.moved(self)

    def leave(self) -> None:
        """It does not wait any more; a second call does nothing."""
        self._owner.remove(self)


@attrs.define(eq=False)
class WaitingBodies:
    """The bodies of one process that wait. `limit` is in bytes, 0 for none; `closed` hears of each that is closed."""

    _limit: int
    _closed: Callable[[], object]
    held: int = attrs.field(init=False, default=0)
    """Bytes in memory."""
    _waiting: OrderedDict[WaitingBody, None] = attrs.field(init=False, factory=OrderedDict)
    """The one that has waited longest comes first."""
    _sharing: dict[int, int] = attrs.field(init=False, factory=dict)
    """How many share a body, by its identity: while they do, no other object can have it."""

    def add(self, body: bytes, copied: int, close: Callable[[], object]) -> WaitingBody:
        """Count a body of which a rest waits; `close` ends its connection, if it is to make room for others."""
        waiting = WaitingBody(self, body, copied, close)
        sharing = self._sharing.get(id(body), 0)
        self._sharing[id(body)] = sharing + 1
        self._waiting[waiting] = None
        more = copied + (0 if sharing else len(body))
        if more:  # to close others of those that share it would free nothing
            self.held += more
            self._make_room()
        return waiting

    def moved(self, waiting: WaitingBody) -> None:
        """A byte of it was taken."""
        if waiting in self._waiting:
            self._waiting.move_to_end(waiting)

    def remove(self, waiting: WaitingBody) -> None:
        """It does not wait any more."""
        if waiting not in self._waiting:
            return
        del self._waiting[waiting]
        self.held -= waiting.copied
        sharing = self._sharing.pop(id(waiting.body)) - 1
        if sharing:
            self._sharing[id(waiting.body)] = sharing
        else:
            self.held -= len(waiting.body)

    def _make_room(self) -> None:
        while self._limit and self.held > self._limit and len(self._waiting) > 1:
            longest = next(iter(self._waiting))
            self.remove(longest)
            self._closed()
            longest.close()
