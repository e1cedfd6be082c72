"""Listening at inherited sockets: those of the parent process, and those that systemd passes.

They are not bound, not shut down (that would affect every process with a copy), and their files are not changed or
removed.
"""

from __future__ import annotations

import os
import socket

from twisted.internet import tcp, unix
from twisted.internet.endpoints import AdoptedStreamServerEndpoint
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.internet.posixbase import PosixReactorBase
from twisted.python.failure import Failure

from aero_storage.errors import SettingsError

PASSED = "systemd:"
"""Prefix of endpoints for sockets passed by a service manager (`LISTEN_FDS`)."""


class _SharedUNIXPort(unix.Port):
    """A port of a UNIX socket at which other processes listen too."""

    _shouldShutdown = False

    def startListening(self) -> None:
        """Accept connections."""
        assert self.factory is not None  # noqa: S101
        assert self._preexistingSocket is not None  # noqa: S101
        self.factory.doStart()
        self.socket, self._preexistingSocket = self._preexistingSocket, None
        self.fileno = self.socket.fileno  # type: ignore[method-assign]
        self.connected = True
        self.numberAccepts = 100
        self.startReading()

    def connectionLost(self, reason: Failure) -> None:
        """Close this process's copy of the socket, and leave its file."""
        tcp.Port.connectionLost(self, reason)


def adopt(reactor: PosixReactorBase, descriptor: int, family: int, factory: IProtocolFactory) -> IListeningPort:
    """Listen at a non-blocking listening socket; closes the descriptor, also on failure: the port has a copy."""
    try:
        if family == socket.AF_UNIX:
            port: tcp.Port = _SharedUNIXPort._fromListeningDescriptor(reactor, descriptor, factory)  # noqa: SLF001
            port.startListening()
        else:
            port = reactor.adoptStreamPort(descriptor, family, factory)
    finally:
        os.close(descriptor)
    return port


def passed_socket(endpoint: IStreamServerEndpoint, text: str, origin: str) -> socket.socket | None:
    """Return the socket passed for an endpoint, now the caller's; None for an endpoint of another kind.

    Raises SettingsError if there is no such socket, or it is not a listening one.
    """
    if not isinstance(endpoint, AdoptedStreamServerEndpoint):
        return None
    try:
        passed = socket.socket(fileno=endpoint.fileno)
    except OSError as error:
        raise SettingsError(
            f"{origin}: {text!r}: descriptor {endpoint.fileno} is no socket: {error.strerror}"
        ) from error
    fault = _fault_of(passed, endpoint.addressFamily)
    if fault:
        passed.detach()
        raise SettingsError(f"{origin}: {text!r}: the socket that was passed {fault}")
    passed.settimeout(0)
    passed.set_inheritable(False)
    return passed


def _fault_of(passed: socket.socket, family: int) -> str:
    if passed.family != family:
        names = {socket.AF_INET: "INET", socket.AF_INET6: "INET6", socket.AF_UNIX: "UNIX"}
        return f"is of another kind: use domain={names.get(passed.family, '?')}, or change ListenStream="
    if passed.type != socket.SOCK_STREAM or not passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return "does not listen for connections: use ListenStream=, and Accept=no"
    return ""
