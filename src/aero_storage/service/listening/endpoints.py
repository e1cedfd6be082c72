"""Listening endpoints: the default address, or the endpoints that replace it (http.md §10)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import attrs
from twisted.internet.address import IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    SSL4ServerEndpoint,
    TCP4ServerEndpoint,
    TCP6ServerEndpoint,
    UNIXServerEndpoint,
    serverFromString,
)
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.internet.posixbase import PosixReactorBase

from aero_storage.errors import ListenError, SettingsError
from aero_storage.service.listening.inherited_sockets import PASSED, adopt, passed_socket
from aero_storage.service.listening.served_certificate import ServedCertificate
from aero_storage.service.listening.tls_files import TLSFiles
from aero_storage.service.listening.tls_material import TLSMaterial, free_tls_at_end
from aero_storage.settings import ListenAddress, Resolved
from aero_storage.streaming.transports import Sending, use_tracked_transports

BACKLOG = 1024
"""Length of the accept queue (Linux: at most `net.core.somaxconn`)."""

_BACKLOG_GIVEN = re.compile(r"(?<!\\):backlog=")


@attrs.frozen
class Address:
    """An address that is listened at, as `address_text` writes it."""

    text: str
    is_secure: bool
    """Whether it speaks TLS."""


@attrs.frozen
class Listening:
    """The ports of all addresses, and the certificates that they present; None without TLS."""

    ports: tuple[IListeningPort, ...] = ()
    presented: tuple[ServedCertificate | None, ...] = ()

    @property
    def certificates(self) -> tuple[ServedCertificate, ...]:
        """The certificates of the ports with TLS."""
        return tuple(served for served in self.presented if served is not None)

    @property
    def addresses(self) -> tuple[Address, ...]:
        """The addresses of all ports."""
        pairs = zip(self.ports, self.presented, strict=True)
        return tuple(Address(address_text(port.getHost()), served is not None) for port, served in pairs)


def listen(reactor: PosixReactorBase, factory: IProtocolFactory, resolved: Resolved, sending: Sending) -> Listening:
    """Bind all addresses of the settings now; connections that send files share `sending`.

    Raises SettingsError with one line if an address cannot be used: a daemon that does not listen must not start.
    """
    endpoints = tuple(endpoints_of(reactor, resolved))
    ports = tuple(_port(reactor, *endpoint, factory) for endpoint in endpoints)
    for port in ports:
        use_tracked_transports(port, sending)
        free_tls_at_end(port)
    return Listening(ports, tuple(certificate_of(endpoint) for endpoint, _, _ in endpoints))


def _port(
    reactor: PosixReactorBase, endpoint: IStreamServerEndpoint, text: str, origin: str, factory: IProtocolFactory
) -> IListeningPort:
    passed = passed_socket(endpoint, text, origin)
    if passed is None:
        return bind(endpoint, text, origin, factory)
    return adopt(reactor, passed.detach(), endpoint.addressFamily, factory)  # type: ignore[attr-defined]


def endpoints_of(reactor: PosixReactorBase, resolved: Resolved) -> Iterator[tuple[IStreamServerEndpoint, str, str]]:
    """Yield each endpoint with its text and the origin of that text; raises SettingsError."""
    settings, origins = resolved.settings, resolved.origins
    if not settings.endpoint:
        yield _default_endpoint(reactor, settings.listen_addr), str(settings.listen_addr), origins["listen_addr"]
    for text in settings.endpoint:
        yield _parse(reactor, text, origins["endpoint"]), text, origins["endpoint"]


def _default_endpoint(reactor: PosixReactorBase, address: ListenAddress) -> IStreamServerEndpoint:
    kind = TCP6ServerEndpoint if ":" in address.host else TCP4ServerEndpoint
    return kind(reactor, address.port, backlog=BACKLOG, interface=address.host)


_NONE_PASSED = (
    "no such socket was passed (LISTEN_FDS, LISTEN_FDNAMES): have a .socket unit start us,"
    " or systemd-socket-activate --fdname=http"
)


def _parse(reactor: PosixReactorBase, text: str, origin: str) -> IStreamServerEndpoint:
    try:
        endpoint: IStreamServerEndpoint = serverFromString(reactor, text)
        _make_renewable(endpoint, text)
    # The parser of an endpoint plugin may raise anything: a bad number, a missing key file, no TLS. So may OpenSSL.
    except Exception as error:
        missing = text.startswith(PASSED) and isinstance(error, LookupError)
        reason = _NONE_PASSED if missing else _one_line(error)
        raise SettingsError(f"{origin}: {text!r} is no usable endpoint: {reason}") from error
    if isinstance(endpoint, UNIXServerEndpoint):
        # The socket file is removed at the end, after --rundir has changed the working directory.
        endpoint._address = os.path.abspath(endpoint._address)  # noqa: PTH100, SLF001
    if not _BACKLOG_GIVEN.search(text):
        _lengthen_queue(endpoint)
    return endpoint


def _innermost(endpoint: IStreamServerEndpoint) -> IStreamServerEndpoint:
    """Return the endpoint that an endpoint wraps, or itself."""
    while (wrapped := getattr(endpoint, "_wrappedEndpoint", None)) is not None:
        endpoint = wrapped
    return endpoint


def _lengthen_queue(endpoint: IStreamServerEndpoint) -> None:
    """Set the backlog of an endpoint, or of the one that it wraps, to BACKLOG instead of Twisted's 50."""
    endpoint = _innermost(endpoint)
    if hasattr(endpoint, "_backlog"):
        endpoint._backlog = BACKLOG  # noqa: SLF001


def _make_renewable(endpoint: IStreamServerEndpoint, text: str) -> None:
    """Have an `ssl:` endpoint present a certificate that can be replaced; raises an exception if it is of no use."""
    endpoint = _innermost(endpoint)
    if isinstance(endpoint, SSL4ServerEndpoint):
        material = TLSMaterial.of(endpoint._sslContextFactory)  # noqa: SLF001
        endpoint._sslContextFactory = served = ServedCertificate(material, TLSFiles.of(text))  # noqa: SLF001
        served.getContext()


def certificate_of(endpoint: IStreamServerEndpoint) -> ServedCertificate | None:
    """Return the certificate that an endpoint presents; None without TLS."""
    served = getattr(_innermost(endpoint), "_sslContextFactory", None)
    return served if isinstance(served, ServedCertificate) else None


def bind(endpoint: IStreamServerEndpoint, text: str, origin: str, factory: IProtocolFactory) -> IListeningPort:
    """Listen at an endpoint now; raises SettingsError."""
    bound: list[IListeningPort] = []
    failures: list[BaseException] = []
    result: Deferred[IListeningPort] = endpoint.listen(factory)
    result.addCallbacks(bound.append, lambda failure: failures.append(failure.value))
    if failures:
        raise cannot_listen(text, origin, failures[0]) from failures[0]
    if not bound:
        raise SettingsError(f"{origin}: {text!r} does not bind at once, as this daemon has to know")
    return bound[0]


def cannot_listen(text: str, origin: str, error: BaseException) -> ListenError:
    """Return a ListenError with one line about an address that cannot be used."""
    cause = error.socketError if isinstance(error, CannotListenError) else error
    reason = cause.strerror if isinstance(cause, OSError) else None
    return ListenError(f"{origin}: cannot listen at {text}: {reason or _one_line(error)}")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def address_text(address: IAddress) -> str:
    """Return an address as an operator writes it: `host:port`, `[v6]:port` or `unix:/path`."""
    if isinstance(address, UNIXAddress):
        name = address.name or b""
        return f"unix:{name.decode(errors='replace')}"
    host, port = getattr(address, "host", "?"), getattr(address, "port", 0)
    return f"[{host}]:{port}" if isinstance(address, IPv6Address) else f"{host}:{port}"
