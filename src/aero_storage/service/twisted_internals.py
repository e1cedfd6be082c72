"""The private names of Twisted that we build on: one table, asked at every start.

Twisted has no public way to what they give. A release may change them without a word, so its version has an upper
bound in `pyproject.toml`; docs/how-to/upgrade.md says how that is raised. Nothing in `web` needs a private name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any, cast

import attrs
from twisted.internet import endpoints, tcp, unix
from twisted.internet.abstract import FileDescriptor
from twisted.internet.endpoints import SSL4ServerEndpoint, TCP4ServerEndpoint, TCP6ServerEndpoint, UNIXServerEndpoint
from twisted.internet.protocol import Protocol
from twisted.python.threadpool import ThreadPool

from aero_storage.errors import SettingsError


@attrs.frozen
class Internal:
    """A private name: on what, which one, and what we do with it."""

    owner: str
    name: str
    use: str
    example: Callable[[], object]
    """Makes something that has it."""

    @property
    def is_there(self) -> bool:
        """Whether the installed Twisted has it."""
        try:
            return hasattr(self.example(), self.name)
        except ImportError:  # an extra that is not installed
            return True
        except Exception:  # noqa: BLE001 - whatever has changed, it is not as we know it
            return False


def _descriptor() -> object:
    return FileDescriptor()


def _epoll_reactor() -> object:
    """Return names alone: a reactor that is made here would open descriptors, and not close them."""
    from twisted.internet.epollreactor import EPollReactor  # noqa: PLC0415 - Linux alone

    return type("EPollReactorNames", (EPollReactor,), {"_selectables": None, "_poller": None})


def _tls_protocol() -> object:
    from twisted.protocols.tls import TLSMemoryBIOProtocol  # noqa: PLC0415 - an extra

    return TLSMemoryBIOProtocol


def _tls_transport() -> object:
    from twisted.protocols.tls import BufferingTLSTransport  # noqa: PLC0415 - an extra

    return BufferingTLSTransport(cast("Any", SimpleNamespace(_clock=None)), Protocol())


def _table(owner: str, example: Callable[[], object], **names: str) -> tuple[Internal, ...]:
    return tuple(Internal(owner, f"_{name}", use, example) for name, use in names.items())


_NOBODY = cast("Any", None)

INTERNALS: tuple[Internal, ...] = (
    *_table(
        "twisted.internet.abstract.FileDescriptor",
        _descriptor,
        tempDataBuffer="streaming.write_queue: bytes that were written last",
        tempDataLen="streaming: how many these are",
        isSendBufferFull="streaming.write_queue: files count as a full buffer",
        maybePauseProducer="streaming: producers wait for files, too",
        writeDisconnecting="streaming.sendfile: whether our half is being closed",
        writeDisconnected="streaming.sendfile: whether it is closed",
    ),
    *_table(
        "twisted.internet.tcp.Connection",
        lambda: tcp.Connection,
        aborting="streaming.sendfile: whether the connection is being reset",
    ),
    *_table(
        "twisted.internet.epollreactor.EPollReactor",
        _epoll_reactor,
        selectables="service.direct_reads: what is read from and written to",
        poller="service.direct_reads: waits for events",
        disconnectSelectable="service.direct_reads: ends a connection of which a read says so",
        doReadOrWrite="service.direct_reads: handles all other events",
    ),
    *_table(
        "twisted.internet.unix.Port",
        lambda: unix.Port,
        fromListeningDescriptor="service.listening.inherited_sockets: a socket that others share",
        preexistingSocket="service.listening.inherited_sockets: the same",
        shouldShutdown="service.listening: a shared socket is not shut down",
    ),
    *_table(
        "twisted.internet.endpoints",
        lambda: endpoints,
        parse="service.listening.tls_files: which files an endpoint names",
    ),
    *_table(
        "twisted.internet.endpoints.TCP4ServerEndpoint",
        lambda: TCP4ServerEndpoint(_NOBODY, 0),
        interface="service.listening.worker_sockets: where to bind one socket for each worker",
        port="service.listening.worker_sockets: the same",
        backlog="service.listening: how many connections may wait in the kernel",
    ),
    *_table(
        "twisted.internet.endpoints.TCP6ServerEndpoint",
        lambda: TCP6ServerEndpoint(_NOBODY, 0),
        interface="service.listening.worker_sockets: where to bind one socket for each worker",
        port="service.listening.worker_sockets: the same",
        backlog="service.listening: how many connections may wait in the kernel",
    ),
    *_table(
        "twisted.internet.endpoints.SSL4ServerEndpoint",
        lambda: SSL4ServerEndpoint(_NOBODY, 0, _NOBODY),
        sslContextFactory="service.listening.endpoints: the certificate, which can be replaced",
        interface="service.listening.worker_sockets: where to bind one socket for each worker",
        port="service.listening.worker_sockets: the same",
        backlog="service.listening: how many connections may wait in the kernel",
    ),
    *_table(
        "twisted.internet.endpoints.UNIXServerEndpoint",
        lambda: UNIXServerEndpoint(_NOBODY, "/nowhere"),
        address="service.listening.endpoints: an absolute path, before the directory changes",
        backlog="service.listening: how many connections may wait in the kernel",
    ),
    *_table(
        "twisted.protocols.tls.TLSMemoryBIOProtocol",
        _tls_protocol,
        tlsShutdownFinished="service.listening.tls_connection: the end of a TLS connection",
        producer="service.listening.tls_connection: let go of at that end",
        handshakeDone="service.listening.tls_connection: whether bytes can be encrypted",
        lostTLSConnection="service.listening.tls_connection: whether no more can be",
        aborted="service.listening.tls_connection: whether what comes is dropped",
        flushSendBIO="service.listening.tls_connection: sends what OpenSSL has to send",
        flushReceiveBIO="service.listening.tls_connection: hands over what was decrypted",
    ),
    *_table(
        "twisted.protocols.tls.BufferingTLSTransport",
        _tls_transport,
        aggregator="service.listening.tls_connection: small writes, which leave before a file",
    ),
    *_table(
        "twisted.python.threadpool.ThreadPool",
        lambda: ThreadPool(0, 0),
        team="service.disk_pools: which idle thread works next",
    ),
    *_table(
        "twisted._threads.Team",
        lambda: ThreadPool(0, 0)._team,  # noqa: SLF001 - that is the question
        idle="service.disk_pools: the same",
    ),
)


def check_internals(internals: Iterable[Internal] = INTERNALS) -> None:
    """Raise SettingsError with one line if the installed Twisted lacks a name that we build on."""
    missing = [f"{internal.owner}.{internal.name}" for internal in internals if not internal.is_there]
    if missing:
        raise SettingsError(
            f"this version of Twisted has no {', '.join(missing)}, which the daemon builds on: "
            "install one that pyproject.toml allows (pip install 'twisted>=26.10,<27')"
        )
