"""Tells which request gets the next place, which client holds most places, and which has most requests that wait.

No operation looks at all clients: each takes O(log n) at most, over some calls on average.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Iterable
from itertools import count
from typing import Generic, TypeVar

import attrs

P = TypeVar("P")
"""A place."""
R = TypeVar("R")
"""A request that waits."""

_SPARE_ENTRIES = 64


@attrs.define(eq=False)
class _Client(Generic[P, R]):
    """The places of one client, oldest first, and its requests that wait, with numbers in the order of arrival."""

    name: str
    held: OrderedDict[P, None] = attrs.field(factory=OrderedDict)
    waiting: OrderedDict[R, int] = attrs.field(factory=OrderedDict)


@attrs.define(eq=False)
class _Ranking(Generic[P, R]):
    """Clients by a count that changes in steps of one; finds one with the highest count."""

    _ranks: list[dict[_Client[P, R], None]] = attrs.field(init=False, factory=list)

    def move(self, client: _Client[P, R], before: int, after: int) -> None:
        """The count of a client was `before` and is `after`; clients that count 0 are not kept."""
        ranks = self._ranks
        if before:
            del ranks[before][client]
        if after:
            ranks.extend({} for _ in range(len(ranks), after + 1))
            ranks[after][client] = None
        while ranks and not ranks[-1]:
            ranks.pop()

    def highest(self) -> _Client[P, R]:
        """Return the client that has had the highest count longest."""
        return next(iter(self._ranks[-1]))


@attrs.define(eq=False)
class ClientQueue(Generic[P, R]):
    """Places held and requests that wait, by client.

    The next request is one of the client that holds fewest places; between equals, the one that came first.
    """

    _clients: dict[str, _Client[P, R]] = attrs.field(init=False, factory=dict)
    _holders: dict[P, _Client[P, R]] = attrs.field(init=False, factory=dict)
    _waiting: int = attrs.field(init=False, default=0)
    _number: count[int] = attrs.field(init=False, factory=count)
    _line: list[tuple[int, int, str]] = attrs.field(init=False, factory=list)
    """A heap of places held, number of the oldest request, and client; entries that hold no more are skipped."""
    _by_held: _Ranking[P, R] = attrs.field(init=False, factory=_Ranking)
    _by_waiting: _Ranking[P, R] = attrs.field(init=False, factory=_Ranking)

    @classmethod
    def of(cls, held: Iterable[tuple[str, P]]) -> ClientQueue[P, R]:
        """Make it from clients and the places that they hold, oldest first."""
        queue = cls()
        for client, place in held:
            queue.hold(client, place)
        return queue

    def __len__(self) -> int:
        """Number of requests that wait."""
        return self._waiting

    @property
    def clients(self) -> int:
        """Number of clients that hold a place or wait for one."""
        return len(self._clients)

    def hold(self, name: str, place: P) -> None:
        """A client holds one place more."""
        client = self._client(name)
        client.held[place] = None
        self._holders[place] = client
        self._by_held.move(client, len(client.held) - 1, len(client.held))
        self._enter_line(client)

    def release(self, place: P) -> None:
        """A place is held no more."""
        client = self._holders.pop(place)
        del client.held[place]
        self._by_held.move(client, len(client.held) + 1, len(client.held))
        self._enter_line(client)
        self._drop_if_gone(client)

    def join(self, name: str, request: R) -> None:
        """A request begins to wait."""
        client = self._client(name)
        client.waiting[request] = next(self._number)
        self._waiting += 1
        self._by_waiting.move(client, len(client.waiting) - 1, len(client.waiting))
        if len(client.waiting) == 1:
            self._enter_line(client)

    def leave(self, name: str, request: R) -> None:
        """A request waits no more."""
        client = self._clients[name]
        del client.waiting[request]
        self._waiting -= 1
        self._by_waiting.move(client, len(client.waiting) + 1, len(client.waiting))
        self._enter_line(client)
        self._drop_if_gone(client)

    def next(self) -> tuple[R, int]:
        """Return the request that gets the next place, and how many its client holds. At least one request waits."""
        line = self._line
        while not self._holds(line[0]):
            heapq.heappop(line)
        held, _, name = line[0]
        return next(iter(self._clients[name].waiting)), held

    def richest(self) -> tuple[P, int]:
        """Return the oldest place of the client that holds most, and how many it holds. At least one is held."""
        client = self._by_held.highest()
        return next(iter(client.held)), len(client.held)

    def waiting_of(self, name: str) -> int:
        """Return how many requests of a client wait."""
        client = self._clients.get(name)
        return 0 if client is None else len(client.waiting)

    def longest(self) -> tuple[R, int]:
        """Return the newest request of the client of which most wait, and their number. At least one waits."""
        client = self._by_waiting.highest()
        return next(reversed(client.waiting)), len(client.waiting)

    def _client(self, name: str) -> _Client[P, R]:
        client = self._clients.get(name)
        if client is None:
            client = self._clients[name] = _Client(name)
        return client

    def _drop_if_gone(self, client: _Client[P, R]) -> None:
        if not (client.held or client.waiting):
            del self._clients[client.name]

    def _enter_line(self, client: _Client[P, R]) -> None:
        """Enter a client anew: its oldest request or the number of its places has changed."""
        if client.waiting:
            heapq.heappush(self._line, self._entry(client))
        if len(self._line) > 2 * len(self._clients) + _SPARE_ENTRIES:
            self._line = [entry for entry in map(self._entry, self._clients.values()) if entry[1] >= 0]
            heapq.heapify(self._line)

    def _entry(self, client: _Client[P, R]) -> tuple[int, int, str]:
        return len(client.held), next(iter(client.waiting.values()), -1), client.name

    def _holds(self, entry: tuple[int, int, str]) -> bool:
        client = self._clients.get(entry[2])
        return client is not None and bool(client.waiting) and self._entry(client) == entry
