"""Reading with one buffer for all: each connection gets its own bytes, and hears of the end."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.protocol import Protocol
from twisted.internet.testing import MemoryReactorClock

from aero_storage.streaming.receive_buffer import SharedReceiveBuffer

if TYPE_CHECKING:
    from collections.abc import Iterator


class Kept(Protocol):
    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def dataReceived(self, data: bytes) -> None:
        self.pieces.append(data)


class Pair:
    """A connection, and its client."""

    def __init__(self, listening: socket.socket) -> None:
        self.client = socket.create_connection(listening.getsockname())
        self.protocol, self.ours = Kept(), listening.accept()[0]
        reactor: Any = MemoryReactorClock()
        self.connection = SharedReceiveBuffer(self.ours, self.protocol, reactor)

    def close(self) -> None:
        self.client.close()
        self.ours.close()


@pytest.fixture
def pairs() -> Iterator[tuple[Pair, Pair]]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        both = Pair(listening), Pair(listening)
        yield both
        for pair in both:
            pair.close()


def test_each_has_its_own(pairs: tuple[Pair, Pair]) -> None:
    """What one has read stays what it was when another reads; nothing more is read than has come."""
    first, second = pairs
    for pair, data in ((first, b"of the first"), (second, b"2nd"), (first, b"!")):
        pair.client.sendall(data)
        assert pair.connection.doRead() is None
    assert first.protocol.pieces == [b"of the first", b"!"]
    assert second.protocol.pieces == [b"2nd"]
    assert {type(piece) for piece in first.protocol.pieces} == {bytes}


def test_nothing_there(pairs: tuple[Pair, Pair]) -> None:
    """A read too many is no end."""
    assert pairs[0].connection.doRead() is None
    assert pairs[0].protocol.pieces == []


def test_ends(pairs: tuple[Pair, Pair]) -> None:
    """A client that closes, and one that resets."""
    closing, resetting = pairs
    closing.client.close()
    assert closing.connection.doRead() is CONNECTION_DONE
    resetting.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    resetting.client.close()
    assert resetting.connection.doRead() is CONNECTION_LOST
