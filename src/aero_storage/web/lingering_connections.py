"""The connections that linger, and which of them is reset when others need its descriptor."""

from __future__ import annotations

from typing import Protocol

import attrs
from twisted.internet.interfaces import IReactorTime

STALLED_SECONDS = 1.0
"""A client that has taken nothing for so long may be reset for others; it keeps all that it has acknowledged."""


class LingeringConnection(Protocol):
    """A connection whose response is complete, and whose client may not have taken all of it."""

    def acknowledged(self) -> int:
        """Bytes that the client has acknowledged."""
        ...

    def reset(self) -> None:
        """Reset it."""
        ...


@attrs.define
class _Progress:
    acknowledged: int
    since: float
    """When the client was found to have acknowledged so much."""


@attrs.define(eq=False)
class LingeringConnections:
    """All of them, the first to linger first."""

    _clock: IReactorTime
    _connections: dict[LingeringConnection, _Progress] = attrs.field(init=False, factory=dict)

    def __len__(self) -> int:
        """How many they are."""
        return len(self._connections)

    def add(self, connection: LingeringConnection) -> None:
        """It begins to linger."""
        self._connections[connection] = _Progress(connection.acknowledged(), self._clock.seconds())

    def discard(self, connection: LingeringConnection) -> None:
        """It is lost, or reset."""
        self._connections.pop(connection, None)

    def reset_stalled(self) -> bool:
        """Reset the one whose client has taken nothing for longest, for STALLED_SECONDS at least; else false."""
        since, stalled = min(
            ((self._since(connection), connection) for connection in self._connections),
            key=lambda entry: entry[0],
            default=(0.0, None),
        )
        if stalled is None or self._clock.seconds() - since < STALLED_SECONDS:
            return False
        self.discard(stalled)
        stalled.reset()
        return True

    def _since(self, connection: LingeringConnection) -> float:
        progress, acknowledged = self._connections[connection], connection.acknowledged()
        if acknowledged != progress.acknowledged:
            progress.acknowledged, progress.since = acknowledged, self._clock.seconds()
        return progress.since
