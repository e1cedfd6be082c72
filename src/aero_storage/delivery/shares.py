"""How many requests one client may have under way: behind a proxy, where its connections are the proxy's."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from aero_storage.protocol.clients import UNIX, client_of


@attrs.define(eq=False)
class Shares:
    """Counts the requests under way of each client, by what its addresses have in common.

    `limit`: the most of one client, at least 1. `speaks_for_many`: whether a host is a proxy, which has no limit of
    its own. `refused` is told of each request over the limit.
    """

    _limit: int
    _speaks_for_many: Callable[[str], bool]
    _refused: Callable[[], object]
    _under_way: dict[str, int] = attrs.field(init=False, factory=dict)

    def take(self, host: str | None) -> Callable[[], None] | None:
        """Count a request of a client; what is returned is to be called at its end. None: one too many."""
        if host is None or host == UNIX or self._speaks_for_many(host):
            return _nothing
        client = client_of(host)
        count = self._under_way.get(client, 0)
        if count >= self._limit:
            self._refused()
            return None
        self._under_way[client] = count + 1
        return lambda: self._give_back(client)

    def _give_back(self, client: str) -> None:
        left = self._under_way.pop(client) - 1
        if left:
            self._under_way[client] = left


def _nothing() -> None:
    pass
