"""Server transports that report when the kernel has all their bytes; some of them send files.

Twisted reports a response as finished while its last bytes still wait in the transport, and does not report a reset
after that. These transports count unsent bytes and fire a Deferred when there are none.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Protocol, cast

import attrs
from twisted.internet import tcp, unix
from twisted.internet.defer import Deferred

from aero_storage.disk import Disk
from aero_storage.linux import notsent_lowat
from aero_storage.streaming.fair_queue import FairQueue
from aero_storage.streaming.files_in_flight import FilesInFlight
from aero_storage.streaming.flush_tracking import FlushTracking
from aero_storage.streaming.receive_buffer import SharedReceiveBuffer
from aero_storage.streaming.segment_kinds import SegmentKinds
from aero_storage.streaming.sendfile import SendfileServer
from aero_storage.streaming.unix_sendfile import UNIXSendfileServer

_HAS_SENDFILE = sys.platform == "linux" and hasattr(os, "sendfile")
"""Other systems have a `sendfile` with other rules, which nothing here was tried with."""


class TrackedTransport(Protocol):
    """The transport that writes to the socket, with counts of the bytes sent and unsent."""

    taken: int
    """Bytes that the kernel has accepted."""
    on_taken: Callable[[], object] | None
    """Called when the kernel has accepted some of what had to wait."""

    @property
    def unsent(self) -> int:
        """Bytes written that the kernel has not accepted yet; they stay unsent when the connection is lost."""
        ...

    def when_drained(self) -> Deferred[None]:
        """Return a Deferred that fires once nothing is unsent; cancel it if the connection is lost first."""
        ...

    def mark_unfinished(self) -> None:
        """Have the kernel reset the connection if this process is killed before `mark_finished`."""
        ...

    def mark_finished(self) -> None:
        """Have the kernel close with FIN again: the response is complete."""
        ...

    def progress(self) -> int | None:
        """Return how many bytes the peer has acknowledged; None if none are outstanding."""
        ...

    def acknowledged(self) -> int:
        """Return how many bytes the peer has acknowledged."""
        ...

    def max_unacknowledged_read(self) -> int:
        """Return an upper bound on the bytes read but not acknowledged; 0 if the peer's system does not answer."""
        ...

    def is_writable(self) -> bool:
        """Return whether the reactor would call `doWrite` now; a connection that is lost is, too."""
        ...

    def loseConnection(self) -> None:
        """Close, once all is sent."""
        ...


class TrackedTCPServer(FlushTracking, SharedReceiveBuffer, tcp.Server):  # type: ignore[misc]
    """A TCP connection as a TrackedTransport."""


class TrackedUNIXServer(FlushTracking, unix.Server):  # type: ignore[misc]
    """A UNIX stream connection as a TrackedTransport."""


@attrs.frozen
class Sending:
    """The parts that all file-sending connections of one reactor share."""

    disk: Disk
    """The threads that read into the page cache."""
    fair_queue: FairQueue
    in_flight: FilesInFlight
    segment_kinds: SegmentKinds

    def start(self) -> None:
        """Begin to watch files and peers."""
        self.in_flight.start()
        self.segment_kinds.start()

    def stop(self) -> None:
        """End that: no connection is left."""
        self.in_flight.stop()
        self.segment_kinds.stop()


def use_tracked_transports(port: object, sending: Sending | None = None) -> None:
    """Make the connections of a listening port TrackedTransports: TCP, TLS over TCP, and UNIX ports.

    With `sending`, connections without TLS also send files, on Linux.
    """
    if sending is None or not _HAS_SENDFILE:
        _use_plain(port)
    elif isinstance(port, unix.Port):
        port.transport = _sharing(UNIXSendfileServer, sending)  # type: ignore[assignment]
    elif isinstance(port, tcp.Port):
        port.transport = _sharing(SendfileServer, sending)
        notsent_lowat.limit_unsent(port.socket)


def _use_plain(port: object) -> None:
    if isinstance(port, unix.Port):
        port.transport = TrackedUNIXServer
    elif isinstance(port, tcp.Port):
        port.transport = TrackedTCPServer


def _sharing(kind: type[SendfileServer], sending: Sending) -> type[SendfileServer]:
    class SharingServer(kind):  # type: ignore[misc, valid-type]
        disk, fair_queue, in_flight = sending.disk, sending.fair_queue, sending.in_flight
        segment_kinds = sending.segment_kinds

    return SharingServer


def tracked_transport(transport: object) -> TrackedTransport | None:
    """Return the TrackedTransport at the bottom of a stack of transports (TLS above TCP), or None."""
    while transport is not None:
        if isinstance(transport, FlushTracking):
            return cast("TrackedTransport", transport)
        transport = getattr(transport, "transport", None)
    return None


def sendfile_transport(transport: object) -> SendfileServer | None:
    """Return the transport if it can send files: not below TLS or another wrapper. Else None."""
    return transport if isinstance(transport, SendfileServer) and not transport.TLS else None
