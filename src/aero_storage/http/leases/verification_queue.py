"""The time that verifying new tokens may take, and whose token is next.

A signature of Ed25519 takes 0.1 to 0.4 ms of the reactor's thread. A flood of guesses would take all of it. So new
tokens share a budget, and clients take turns: a client with one token waits for one turn of each other client.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Generic, TypeVar

import attrs

BUDGET_SECONDS = 0.05
"""The time of all verifications within any second."""

MAX_WAITING = 1000
"""Limit of the tokens that wait, of all clients."""

MAX_WAITING_OF_CLIENT = 16
"""Limit of the tokens of one client that wait."""

_SECOND = 1.0
_SLICE = 0.01
_CLEARLY_MORE = 2
W = TypeVar("W")
"""Work that waits, such as a callback."""


@attrs.define(eq=False)
class VerificationBudget:
    """Seconds that were spent within the last second, in slices of 10 ms. `now` is of a steady clock."""

    _most: float = BUDGET_SECONDS
    _slices: deque[tuple[float, float]] = attrs.field(init=False, factory=deque)
    """The beginning of each slice, and the time spent in it."""
    _spent: float = attrs.field(init=False, default=0.0)
    _expected: float = attrs.field(init=False, default=0.0)
    """The cost of the last verification; the next one may take as much."""

    def spend(self, cost: float, now: float) -> None:
        """Count a verification that took `cost` seconds and has ended now."""
        self._expected = min(cost, self._most)
        self._spent += cost
        if self._slices and now - self._slices[-1][0] < _SLICE:
            began, before = self._slices.pop()
            self._slices.append((began, before + cost))
        else:
            self._slices.append((now, cost))

    def wait(self, now: float) -> float:
        """Return the seconds until the next verification may begin: 0 if it may now."""
        self._forget(now)
        if self._may_begin():
            return 0.0
        spent = self._spent
        for began, cost in self._slices:
            spent -= cost
            if spent + self._expected <= self._most:
                return began + _SLICE + _SECOND - now
        return _SECOND

    def _may_begin(self) -> bool:
        return not self._slices or self._spent + self._expected <= self._most

    def _forget(self, now: float) -> None:
        """Leave out the slices that ended a second ago."""
        while self._slices and now - self._slices[0][0] >= _SECOND + _SLICE:
            self._spent -= self._slices.popleft()[1]
        if not self._slices:
            self._spent = 0.0  # rounding may have left some


@attrs.define(eq=False)
class VerificationQueue(Generic[W]):
    """Work that waits for the budget; clients take turns, and the work of one client goes in order."""

    _most: int = MAX_WAITING
    _most_of_client: int = MAX_WAITING_OF_CLIENT
    _clients: OrderedDict[str, OrderedDict[W, None]] = attrs.field(init=False, factory=OrderedDict)
    """The work of each client; the client whose turn is next comes first."""
    _by_count: dict[int, dict[str, None]] = attrs.field(init=False, factory=dict)
    """Clients by the number of their works that wait."""
    _waiting: int = attrs.field(init=False, default=0)

    def __len__(self) -> int:
        """Number of works that wait."""
        return self._waiting

    def add(self, client: str, work: W) -> W | None:
        """Let work wait, and return the work that is refused for it: None, or the given one, or another.

        Work is refused if its client has too much waiting. Where all places are taken, the client with the most work
        loses its last one to a client that has at least two less.
        """
        count = len(self._clients.get(client, ()))
        if count >= self._most_of_client:
            return work
        displaced = None
        if self._waiting >= self._most:
            most = max(self._by_count, default=0)
            if most < count + _CLEARLY_MORE:
                return work
            displaced = self._take_last(next(iter(self._by_count[most])))
        self._clients.setdefault(client, OrderedDict())[work] = None
        self._counted(client, count, count + 1)
        return displaced

    def next(self) -> W | None:
        """Take the work whose turn it is; None if none waits."""
        if not self._clients:
            return None
        client = next(iter(self._clients))
        mine = self._clients[client]
        self._clients.move_to_end(client)
        work, _ = mine.popitem(last=False)
        self._counted(client, len(mine) + 1, len(mine))
        return work

    def remove(self, client: str, work: W) -> bool:
        """Take out work of which nobody wants the result any more; False if it was not waiting."""
        mine = self._clients.get(client)
        if mine is None or work not in mine:
            return False
        del mine[work]
        self._counted(client, len(mine) + 1, len(mine))
        return True

    def _take_last(self, client: str) -> W:
        mine = self._clients[client]
        work, _ = mine.popitem()
        self._counted(client, len(mine) + 1, len(mine))
        return work

    def _counted(self, client: str, before: int, after: int) -> None:
        """The number of a client's works was `before` and is `after`; a client without any is not kept."""
        self._waiting += after - before
        if before:
            self._by_count[before].pop(client)
            if not self._by_count[before]:
                del self._by_count[before]
        if after:
            self._by_count.setdefault(after, {})[client] = None
        else:
            del self._clients[client]
