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
from aero_storage.linux import notsent_lowat
from aero_storage.streaming.fair_queue import FairQueue
from aero_storage.streaming.flush_tracking import FlushTracking
from aero_storage.streaming.receive_buffer import SharedReceiveBuffer
from aero_storage.streaming.sendfile import SendfileServer


class TrackedTransport(Protocol):
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

    def max_unacknowledged_read(self) -> int:
        """How many more it may have read without our seeing it; 0 if its system does not answer."""
        ...


class TrackedTCPServer(FlushTracking, SharedReceiveBuffer, tcp.Server):  # type: ignore[misc]
    """A TCP connection that is an TrackedTransport."""


class TrackedUNIXServer(FlushTracking, unix.Server):  # type: ignore[misc]
    """A UNIX stream connection that is an TrackedTransport."""


def use_tracked_transports(port: object, disk: Disk | None = None, fair_queue: FairQueue | None = None) -> None:
    """Make the connections of a listening port Outlets, where its kind is known (TCP, TLS over TCP, UNIX).

    Given threads that may wait for a disk, TCP connections send files as well, and take turns: ports of one reactor
    should share them.
    """
    if isinstance(port, unix.Port):
        port.transport = TrackedUNIXServer
    elif isinstance(port, tcp.Port) and disk is not None and hasattr(os, "sendfile"):
        port.transport = _sending(disk, fair_queue or FairQueue(cast("IReactorTime", port.reactor)))
        notsent_lowat.limit_unsent(port.socket)
    elif isinstance(port, tcp.Port):
        port.transport = TrackedTCPServer


def _sending(given: Disk, line: FairQueue) -> type[SendfileServer]:
    class Sending(SendfileServer):
        disk = given
        fair_queue = line

    return Sending


def tracked_transport(transport: object) -> TrackedTransport | None:
    """The TrackedTransport at the bottom of a stack of transports (TLS above TCP), or None."""
    while transport is not None:
        if isinstance(transport, FlushTracking):
            return cast("TrackedTransport", transport)
        transport = getattr(transport, "transport", None)
    return None


def sendfile_transport(transport: object) -> SendfileServer | None:
    """The transport itself, if bytes of a file can go out by it as they are: not from under TLS or a wrapper."""
    return transport if isinstance(transport, SendfileServer) and not transport.TLS else None
