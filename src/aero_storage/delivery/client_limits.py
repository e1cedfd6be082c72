"""How many connections one client may have, or requests under way, where its connections are a proxy's."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from aero_storage.http.client_address import UNIX, client_of


@attrs.define(eq=False)
class ClientLimiter:
    """Counts what each client has, by what its addresses have in common.

    `limit`: the most of one client, 0 for any number. `speaks_for_many`: whether a host is a proxy, which has no
    limit of its own.
    """

    _limit: int
    _speaks_for_many: Callable[[str], bool]
    _taken: dict[str, int] = attrs.field(init=False, factory=dict)

    def take(self, host: str | None) -> Callable[[], None] | None:
        """Count one more of a client; what is returned is to be called at its end. None: it is one too many."""
        if not self._limit or host is None or host == UNIX or self._speaks_for_many(host):
            return _nothing
        client = client_of(host)
        count = self._taken.get(client, 0)
        if count >= self._limit:
            return None
        self._taken[client] = count + 1
        return lambda: self._give_back(client)

    def _give_back(self, client: str) -> None:
        left = self._taken.pop(client) - 1
        if left:
            self._taken[client] = left


def _nothing() -> None:
    pass
