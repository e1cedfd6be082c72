"""Knowing what has left: server transports that tell when their buffers are with the kernel.

Twisted reports a response as finished while its last bytes still wait in the transport, and says nothing of a reset
after that. These transports count what is unsent and call back when it is nothing.
"""

from __future__ import annotations

from typing import Protocol, cast

from twisted.internet import tcp, unix
from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred


class Outlet(Protocol):
    """The end of a connection from which bytes go to the kernel."""

    @property
    def unsent(self) -> int:
        """Bytes that were written and are not with the kernel yet."""
        ...

    def when_drained(self) -> Deferred[None]:
        """Fires once nothing is unsent; never, if the connection is lost first: cancel it then."""
        ...


class _Draining(FileDescriptor):
    """A mixin for socket transports."""

    _drained: Deferred[None] | None = None

    @property
    def unsent(self) -> int:
        return len(self.dataBuffer) - self.offset + self._tempDataLen

    def when_drained(self) -> Deferred[None]:
        drained: Deferred[None] = Deferred(lambda _: setattr(self, "_drained", None))
        if self.unsent:
            self._drained = drained
        else:
            drained.callback(None)
        return drained

    def doWrite(self) -> object:
        result: object = super().doWrite()
        drained = self._drained
        if drained is not None and not self.unsent:
            self._drained = None
            drained.callback(None)
        return result


class DrainingTCPServer(_Draining, tcp.Server):  # type: ignore[misc]
    """A TCP connection that is an Outlet."""


class DrainingUNIXServer(_Draining, unix.Server):  # type: ignore[misc]
    """A UNIX stream connection that is an Outlet."""


def install(port: object) -> None:
    """Make the connections of a listening port Outlets, where its kind is known (TCP, TLS over TCP, UNIX)."""
    if isinstance(port, unix.Port):
        port.transport = DrainingUNIXServer
    elif isinstance(port, tcp.Port):
        port.transport = DrainingTCPServer


def outlet_of(transport: object) -> Outlet | None:
    """The Outlet at the bottom of a stack of transports (TLS above TCP), or None."""
    while transport is not None:
        if isinstance(transport, _Draining):
            return cast("Outlet", transport)
        transport = getattr(transport, "transport", None)
    return None
