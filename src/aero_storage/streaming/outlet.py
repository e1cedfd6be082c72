"""Server transports that tell when their bytes are with the kernel, and those among them that send files.

Twisted reports a response as finished while its last bytes still wait in the transport, and says nothing of a reset
after that. These transports count what is unsent and call back when it is nothing.
"""

from __future__ import annotations

import os
from typing import Protocol, cast

from twisted.internet import tcp, unix
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from aero_storage.disk import Disk
from aero_storage.streaming import caution
from aero_storage.streaming.draining import Draining
from aero_storage.streaming.reading import Reading
from aero_storage.streaming.sendfile import SendfileServer
from aero_storage.streaming.turns import Turns


class Outlet(Protocol):
    """The end of a connection from which bytes go to the kernel."""

    taken: int
    """Bytes that the kernel has taken."""

    @property
    def unsent(self) -> int:
        """Bytes that were written and are not with the kernel yet; a lost connection leaves them so."""
        ...

    def when_drained(self) -> Deferred[None]:
        """Fires once nothing is unsent; never, if the connection is lost first: cancel it then."""
        ...

    def mark_unfinished(self) -> None:
        """See to it that the connection is reset if this process is killed before `mark_finished`."""
        ...

    def mark_finished(self) -> None:
        """What was begun is whole."""
        ...

    def progress(self) -> int | None:
        """How many bytes the peer has taken; None if it has all that the kernel was given."""
        ...

    def unseen(self) -> int:
        """How many more it may have read without our seeing it; 0 if its system does not answer."""
        ...


class DrainingTCPServer(Draining, Reading, tcp.Server):  # type: ignore[misc]
    """A TCP connection that is an Outlet."""


class DrainingUNIXServer(Draining, unix.Server):  # type: ignore[misc]
    """A UNIX stream connection that is an Outlet."""


def install(port: object, disk: Disk | None = None, turns: Turns | None = None) -> None:
    """Make the connections of a listening port Outlets, where its kind is known (TCP, TLS over TCP, UNIX).

    Given threads that may wait for a disk, TCP connections send files as well, and take turns: ports of one reactor
    should share them.
    """
    if isinstance(port, unix.Port):
        port.transport = DrainingUNIXServer
    elif isinstance(port, tcp.Port) and disk is not None and hasattr(os, "sendfile"):
        port.transport = _sending(disk, turns or Turns(cast("IReactorTime", port.reactor)))
        caution.limit(port.socket)
    elif isinstance(port, tcp.Port):
        port.transport = DrainingTCPServer


def _sending(given: Disk, line: Turns) -> type[SendfileServer]:
    class Sending(SendfileServer):
        disk = given
        turns = line

    return Sending


def outlet_of(transport: object) -> Outlet | None:
    """The Outlet at the bottom of a stack of transports (TLS above TCP), or None."""
    while transport is not None:
        if isinstance(transport, Draining):
            return cast("Outlet", transport)
        transport = getattr(transport, "transport", None)
    return None


def sender_of(transport: object) -> SendfileServer | None:
    """The transport itself, if bytes of a file can go out by it as they are: not from under TLS or a wrapper."""
    return transport if isinstance(transport, SendfileServer) and not transport.TLS else None
