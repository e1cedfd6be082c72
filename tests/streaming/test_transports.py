"""Transports that know what has left, over real sockets."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_twisted
from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.internet.testing import StringTransport
from twisted.internet.threads import deferToThread

from aero_storage.streaming.transports import TrackedTransport, tracked_transport, use_tracked_transports

MUCH = bytes(range(256)) * 65536  # 16 MiB: more than socket buffers take
reactor: Any = installed


class Peer(Protocol):
    """The server's end of a connection."""

    def __init__(self) -> None:
        self.lost: Deferred[None] = Deferred()

    def connectionLost(self, reason: Any = None) -> None:  # noqa: ARG002
        self.lost.callback(None)


@asynccontextmanager
async def connected(description: str) -> AsyncIterator[tuple[Peer, socket.socket]]:
    """Yield the server's protocol and the client's socket of a connection to an endpoint."""
    arrived: Deferred[Peer] = Deferred()

    class Arriving(Factory):
        def buildProtocol(self, addr: object) -> Peer:  # noqa: ARG002
            peer = Peer()
            reactor.callLater(0, arrived.callback, peer)
            return peer

    port = await serverFromString(reactor, description).listen(Arriving())
    use_tracked_transports(port)
    address = port.getHost()
    name = getattr(address, "name", None)
    with socket.socket(socket.AF_UNIX if name else socket.AF_INET) as client:
        await deferToThread(client.connect, name or ("127.0.0.1", address.port))
        peer = await arrived
        try:
            yield peer, client
        finally:
            if not peer.lost.called:
                cast("Any", peer.transport).abortConnection()
                await peer.lost
            await port.stopListening()


def read(client: socket.socket, size: int) -> Deferred[bytes]:
    """Read `size` bytes in a thread."""

    def read_all() -> bytes:
        data = bytearray()
        while len(data) < size and (more := client.recv(1 << 20)):
            data += more
        return bytes(data)

    return deferToThread(read_all)


def tracked(peer: Peer) -> TrackedTransport:
    found = tracked_transport(peer.transport)
    assert found is not None
    return found


def on_tcp_and_unix(test: Callable[[str], Awaitable[None]]) -> Any:
    @pytest.mark.parametrize("kind", ["tcp", "unix"])
    @pytest_twisted.ensureDeferred
    async def run(kind: str, tmp_path: Path) -> None:
        await test("tcp:0:interface=127.0.0.1" if kind == "tcp" else f"unix:{tmp_path}/socket")

    run.__doc__ = test.__doc__
    return run


@on_tcp_and_unix
async def test_nothing_unsent_is_drained_at_once(description: str) -> None:
    """A transport with nothing to send is drained already."""
    async with connected(description) as (peer, _):
        assert tracked(peer).unsent == 0
        assert tracked(peer).when_drained().called


@on_tcp_and_unix
async def test_drained_when_the_kernel_has_all(description: str) -> None:
    """Drained means that all was sent: not while a slow client keeps megabytes waiting."""
    async with connected(description) as (peer, client):
        assert peer.transport is not None
        peer.transport.write(MUCH)
        assert tracked(peer).unsent == len(MUCH)
        drained = tracked(peer).when_drained()
        while tracked(peer).unsent == len(MUCH):
            await deferLater(reactor, 0, lambda: None)  # a turn of the reactor
        assert not drained.called
        assert 0 < tracked(peer).unsent < len(MUCH)
        data = await read(client, len(MUCH))
        await drained
        assert data == MUCH
        assert tracked(peer).unsent == 0


@on_tcp_and_unix
async def test_lost_connection_never_drains(description: str) -> None:
    """A client that resets leaves the rest unsent, for the byte count, and the wait can be cancelled."""
    async with connected(description) as (peer, client):
        assert peer.transport is not None
        found = tracked(peer)
        peer.transport.write(MUCH)
        drained = found.when_drained()
        client.close()
        await peer.lost
        assert not drained.called
        assert found.unsent > 0
        outcome: list[object] = []
        drained.addErrback(outcome.append)
        drained.cancel()
        assert len(outcome) == 1


@on_tcp_and_unix
async def test_writing_again_from_the_drained_callback(description: str) -> None:
    """What is written on being drained is sent like anything else."""
    async with connected(description) as (peer, client):
        transport = peer.transport
        assert transport is not None
        transport.write(b"one")
        tracked(peer).when_drained().addCallback(lambda _: transport.write(b"two"))
        assert await read(client, 6) == b"onetwo"


def test_unknown_transports_have_no_outlet() -> None:
    """A transport of another kind is none, and whoever asks has to do without."""
    assert tracked_transport(StringTransport()) is None
    assert tracked_transport(None) is None
