"""What the web floor asks of the transports it runs on: TCP, UNIX, TLS."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IAddress


class Transport(Protocol):
    """The connection below a channel."""

    def loseConnection(self) -> None:
        """Close, once all is sent."""
        ...

    def abortConnection(self) -> None:
        """Reset: the peer cannot take it for a clean end."""
        ...

    def loseWriteConnection(self) -> None:
        """Close our half, once all is sent."""
        ...

    def unregisterProducer(self) -> None:
        """Nobody is left to be paused."""
        ...

    def pauseProducing(self) -> None:
        """Read no more for now."""
        ...

    def resumeProducing(self) -> None:
        """Read on."""
        ...

    def getPeer(self) -> IAddress:
        """The other end."""
        ...
