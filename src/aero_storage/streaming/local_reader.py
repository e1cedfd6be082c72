"""The program at the other end of a connection, if it runs on this machine: how far it has read (http.md §5).

Its system acknowledges bytes that it has not read, and those that `sendfile` has sent are still the file's: no reset
takes them back.
"""

from __future__ import annotations

import ipaddress
import socket
from enum import Enum
from typing import Protocol

import attrs

from aero_storage.linux.sock_diag import PeerSocket
from aero_storage.streaming.look_times import Pauses


class PeerSockets(Protocol):
    """Knows the sockets of this machine, as `linux.sock_diag.SockDiag` does."""

    def start(self) -> None:
        """Begin to answer."""
        ...

    def stop(self) -> None:
        """End."""
        ...

    def find_peer(self, connection: socket.socket) -> PeerSocket | None:
        """Return the socket at the other end; None if this machine has none. Raises OSError if that is unknown."""
        ...

    def look_at(self, peer: PeerSocket) -> PeerSocket | None:
        """Return `peer` as it is now; None if its program has closed it. Raises OSError if that is unknown."""
        ...


class Reader(Protocol):
    """The program at the other end of a connection."""

    pauses: Pauses

    def unread(self) -> int:
        """Return how much of what was sent it has not read. Raises OSError if that is unknown."""
        ...


class Connection(Protocol):
    """Our end of a connection."""

    socket: socket.socket
    connected: int
    taken: int
    """Bytes that were ever sent."""
    reader: Reader | Unseen | None
    """The program at the other end, once it matters which it is."""


class Unseen(Enum):
    """A peer of which nobody tells what its program has read."""

    REMOTE = "on another machine, or in another network namespace"
    LOCAL = "on this machine, but the kernel does not tell of its sockets"


@attrs.define(eq=False)
class LocalReader:
    """A program on this machine that reads what is sent over a connection."""

    _connection: Connection
    _peer: PeerSocket
    _sockets: PeerSockets
    pauses: Pauses = attrs.field(init=False, factory=Pauses)

    def unread(self) -> int:
        """Return how many of the bytes that were sent it has not read, none once it has closed the connection.

        Raises OSError if the kernel does not tell.
        """
        sent, before = self._connection.taken, self._peer
        now = self._sockets.look_at(before)
        if now is None:
            return 0
        self._peer = now
        if before.received < sent <= now.received:  # the last may have come after its queue was looked at
            return self.unread()
        return max(sent - before.received, 0) + now.unread


def find_reader(connection: Connection, sockets: PeerSockets) -> LocalReader | Unseen:
    """Return the program at the other end of a TCP connection, or why nobody tells what it has read."""
    try:
        peer = sockets.find_peer(connection.socket)
    except OSError:
        peer = None
    if peer is not None:
        # Else the end of a body, which is no full packet, waits up to 40 ms for an acknowledgement (Nagle).
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return LocalReader(connection, peer, sockets)
    return Unseen.LOCAL if _has_local_addresses(connection.socket) else Unseen.REMOTE


def _has_local_addresses(connection: socket.socket) -> bool:
    """Return whether the addresses of a connection show that its other end is on this machine."""
    try:
        own, peer = connection.getsockname()[0], connection.getpeername()[0]
    except OSError:  # no longer connected
        return False
    return bool(own == peer) or _is_loopback(peer)


def _is_loopback(text: str) -> bool:
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
