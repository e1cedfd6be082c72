"""Limits of one client: of its connections, or of its requests under way behind a trusted proxy."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from aero_storage.http.client_address import UNIX, client_of


@attrs.define(eq=False)
class ClientLimiter:
    """Counts the connections or requests of each client, which is identified by its address or network.

    `limit` is the most of one client, 0 for any number. `is_exempt` returns whether a host is a proxy, to which the
    limit does not apply.
    """

    _limit: int
    _is_exempt: Callable[[str], bool]
    _taken: dict[str, int] = attrs.field(init=False, factory=dict)

    def take(self, host: str | None) -> Callable[[], None] | None:
        """Count one more for a client and return a function to be called at its end; None if the limit is reached."""
        if not self._limit or host is None or host == UNIX or self._is_exempt(host):
            return _not_counted
        client = client_of(host)
        count = self._taken.get(client, 0)
        if count >= self._limit:
            return None
        self._taken[client] = count + 1
        return lambda: self._release(client)

    def _release(self, client: str) -> None:
        left = self._taken.pop(client) - 1
        if left:
            self._taken[client] = left


def _not_counted() -> None:
    pass
