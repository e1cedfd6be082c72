"""Listening sockets of several workers; the parent opens and keeps them, so that none is lost with a worker.

Each worker has a TCP socket of its own for every address (SO_REUSEPORT: the kernel distributes new connections
evenly, while one shared socket gives most idle ones to one worker). While a worker does not accept, the others take
over its sockets. A UNIX address and an address bound by systemd have one socket for all workers.
"""

from __future__ import annotations

import os
import pickle
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import (
    SSL4ServerEndpoint,
    TCP4ServerEndpoint,
    TCP6ServerEndpoint,
    UNIXServerEndpoint,
)
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.protocol import Factory
from typing_extensions import override

from aero_storage.errors import SettingsError
from aero_storage.service.listening.endpoints import (
    Address,
    address_text,
    bind,
    cannot_listen,
    certificate_of,
    endpoints_of,
)
from aero_storage.service.listening.inherited_sockets import adopt, passed_socket
from aero_storage.service.listening.served_certificate import ServedCertificate
from aero_storage.service.listening.tls_material import free_tls_at_end
from aero_storage.settings import Resolved
from aero_storage.streaming.transports import Sending, use_tracked_transports
from aero_storage.workers.handover import OwnSockets

_TCP = (TCP4ServerEndpoint, TCP6ServerEndpoint, SSL4ServerEndpoint)


@attrs.frozen
class SharedAddress:
    """One address, with a listening socket for each worker in the order of their numbers."""

    sockets: tuple[socket.socket, ...]
    tls: ServedCertificate | None = None
    port: IListeningPort | None = None
    """The port of a UNIX address: it owns the socket and removes its file."""
    backlog: int | None = None
    """The backlog of sockets that each worker has to itself; None for one socket that all share."""

    @property
    def address(self) -> Address:
        """The address, as clients reach it."""
        if self.port is not None:
            return Address(address_text(self.port.getHost()), is_secure=False)
        host, port = self.sockets[0].getsockname()[:2]
        return Address(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", self.tls is not None)

    def close(self) -> Deferred[None]:
        """Close the sockets, and remove a UNIX socket's file."""
        if self.port is not None:
            return self.port.stopListening() or succeed(None)
        for one in self.sockets:
            one.close()
        return succeed(None)


@attrs.frozen
class WorkerSocket:
    """The listening socket of one worker for one address: an inherited descriptor and its protocol."""

    descriptor: int
    family: int
    tls: ServedCertificate | None
    """Has no files: the parent reads them."""
    is_own: bool
    """The worker has the socket to itself."""

    def open(self, reactor: PosixReactorBase, factory: IProtocolFactory, sending: Sending) -> IListeningPort:
        """Listen at the socket; connections that send files share `sending`.

        Closes the descriptor, also on failure: the port has a copy.
        """
        try:
            factory = self._with_tls(factory)
        except BaseException:
            os.close(self.descriptor)
            raise
        port = adopt(reactor, self.descriptor, self.family, factory)
        use_tracked_transports(port, sending)
        free_tls_at_end(port)
        return port

    def _with_tls(self, factory: IProtocolFactory) -> IProtocolFactory:
        if self.tls is None:
            return factory
        from twisted.protocols.tls import TLSMemoryBIOFactory  # noqa: PLC0415 - an extra

        self.tls.getContext()  # fails now if it cannot be used, not at the first connection
        return TLSMemoryBIOFactory(self.tls, False, factory)  # noqa: FBT003


def pack_certificates(addresses: Sequence[SharedAddress]) -> bytes:
    """Return what the addresses present now, for `present_certificates` in a worker: keys are in it."""
    return pickle.dumps([None if address.tls is None else address.tls.material for address in addresses])


def present_certificates(sockets: Sequence[WorkerSocket], packed: bytes) -> None:
    """Have the sockets of a worker present what the parent has packed for their addresses, in the same order."""
    materials = pickle.loads(packed)  # noqa: S301 - from our parent, through a private channel
    for one, material in zip(sockets, materials, strict=True):
        if one.tls is not None:
            one.tls.replace(material)


@attrs.frozen
class WorkerOwnSockets(OwnSockets):
    """The sockets that each worker has to itself, in the parent."""

    _addresses: tuple[SharedAddress, ...]

    def descriptors(self, number: int) -> list[int]:
        """Return the descriptors of a worker's own sockets, in the order of their addresses."""
        return [own.fileno() for own, _backlog in self._of(number)]

    @override
    def withdraw(self, number: int) -> None:
        for own, _backlog in self._of(number):
            own.shutdown(socket.SHUT_RD)  # the socket stays bound, but does not listen

    @override
    def restore(self, number: int) -> None:
        for own, backlog in self._of(number):
            own.listen(backlog)  # no new bind, which may need privileges

    def _of(self, number: int) -> list[tuple[socket.socket, int]]:
        return [
            (address.sockets[number - 1], address.backlog)
            for address in self._addresses
            if address.backlog is not None
        ]


class _NeverAccepts(Factory):
    """The factory of a port that accepts nothing."""

    noisy = False


def open_worker_sockets(reactor: PosixReactorBase, resolved: Resolved, workers: int) -> tuple[SharedAddress, ...]:
    """Bind all addresses of the settings for `workers` workers.

    Raises SettingsError with one line if an address cannot be used, or cannot be shared by workers.
    """
    with ExitStack() as opened:
        addresses = tuple(
            _open(endpoint, text, origin, workers, opened)
            for endpoint, text, origin in endpoints_of(reactor, resolved)
        )
        opened.pop_all()
        return addresses


def _open(endpoint: IStreamServerEndpoint, text: str, origin: str, workers: int, opened: ExitStack) -> SharedAddress:
    if isinstance(endpoint, UNIXServerEndpoint):
        port = bind(endpoint, text, origin, _NeverAccepts())
        opened.callback(port.stopListening)
        port.stopReading()  # type: ignore[attr-defined]
        port._shouldShutdown = False  # type: ignore[attr-defined]  # noqa: SLF001 - that would shut it for the workers
        return SharedAddress((port.socket,) * workers, port=port)  # type: ignore[attr-defined]
    passed = passed_socket(endpoint, text, origin)
    if passed is not None:
        return SharedAddress((opened.enter_context(passed),) * workers)
    if not isinstance(endpoint, _TCP):
        raise SettingsError(
            f"{origin}: {text!r} cannot be shared by workers: "
            "use tcp:, tcp6:, ssl:, unix: or systemd:, or --workers 1"
        )
    tls = certificate_of(endpoint)
    try:
        sockets = tuple(opened.enter_context(one) for one in _listening(endpoint, workers))
    except OSError as error:
        raise cannot_listen(text, origin, error) from error
    return SharedAddress(sockets, tls, backlog=endpoint._backlog)  # noqa: SLF001


def _listening(endpoint: IStreamServerEndpoint, workers: int) -> Iterator[socket.socket]:
    host, port, backlog = endpoint._interface, endpoint._port, endpoint._backlog  # type: ignore[attr-defined]  # noqa: SLF001
    # With SO_REUSEPORT a port in use by another daemon looks free: probe without it first. A free port is found by a
    # socket that is not kept: one bound to port 0 loses its port by shutdown(), one that names its port keeps it.
    with _bound(host, port, reuse_port=not port) as probe:
        if port:
            probe.close()
        else:
            port = probe.getsockname()[1]
        for _ in range(workers):
            listening = _bound(host, port, reuse_port=True)
            listening.listen(backlog)
            yield listening


def _bound(host: str, port: int, *, reuse_port: bool) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.settimeout(0)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind(_scoped(host, port) if ":" in host else (host, port))
    except OSError:
        made.close()
        raise
    return made


def _scoped(host: str, port: int) -> tuple[object, ...]:
    """Return an IPv6 address with its scope as a number: bind() ignores the interface of `fe80::1%eth0`."""
    numeric = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=numeric)[0][4]
