"""Descriptors arrive with the message that they belong to, over real UNIX sockets."""

from __future__ import annotations

import os
import select
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from twisted.internet import unix
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from aero_storage.metrics import Metrics, Registry
from aero_storage.workers.control_client import ControlClient
from aero_storage.workers.control_protocol import ControlChannel, Kind, Message, open_channel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


@attrs.define(eq=False)
class Reactor:
    """A reactor that runs when the test says so."""

    readers: list[Any] = attrs.field(factory=list)
    writers: list[Any] = attrs.field(factory=list)

    def adoptStreamConnection(self, descriptor: int, family: int, factory: Any) -> None:
        assert family == socket.AF_UNIX
        os.set_blocking(descriptor, False)
        unix.Server._fromConnectedSocket(descriptor, factory, self)  # noqa: SLF001

    def addReader(self, reader: Any) -> None:
        self.readers.append(reader)

    def addWriter(self, writer: Any) -> None:
        if writer not in self.writers:
            self.writers.append(writer)

    def removeReader(self, reader: Any) -> None:
        if reader in self.readers:
            self.readers.remove(reader)

    def removeWriter(self, writer: Any) -> None:
        if writer in self.writers:
            self.writers.remove(writer)

    def run(self) -> None:
        """Write all, then read all."""
        while self.writers:
            for writer in self.writers[:]:
                self._did(writer, writer.doWrite())
        while ready := select.select(self.readers, [], [], 0)[0]:
            for reader in ready:
                self._did(reader, reader.doRead())

    def _did(self, transport: Any, why: Any) -> None:
        if why:
            self.removeReader(transport)
            self.removeWriter(transport)
            transport.connectionLost(Failure(why))


@attrs.define(eq=False)
class Ends:
    """A parent's channel, and a worker that notes what it is told."""

    reactor: Any = attrs.field(factory=Reactor)
    parent: ControlChannel = attrs.field(factory=lambda: ControlChannel(lambda _: None))
    worker: ControlClient = attrs.field(init=False)
    orders: list[object] = attrs.field(factory=list)
    events: list[tuple[str, str, Mapping[str, object]]] = attrs.field(factory=list)
    failing: bool = False

    def __attrs_post_init__(self) -> None:
        self.worker = ControlClient(
            Metrics(Registry(), "1", 100, {}),
            lambda: self.orders.append("stop"),
            lambda _payload: None,
            lambda: self.orders.append("orphaned"),
            self,
            self,
        )
        ours, theirs = socket.socketpair()
        open_channel(self.reactor, ours, self.parent)
        open_channel(self.reactor, theirs, self.worker.channel)

    def event(self, level: str, message: str, fields: Mapping[str, object] = {}) -> None:
        self.events.append((level, message, fields))

    def take_over(self, number: int, descriptors: Sequence[int]) -> None:
        self.orders.append((number, inodes(descriptors)))
        for descriptor in descriptors:
            os.close(descriptor)
        if self.failing:
            raise OSError(22, "Invalid argument")

    def give_back(self, number: int) -> None:
        self.orders.append(f"give back {number}")

    def close(self) -> None:
        self.orders.append("close")

    def hang_up(self) -> None:
        for channel in (self.parent, self.worker.channel):
            if not channel.lost.called:
                channel.transport.connectionLost(Failure(ConnectionDone()))  # type: ignore[union-attr]

    def hand(self, number: int, descriptors: Sequence[int]) -> None:
        self.parent.send(Message(Kind.TAKE_OVER, number), descriptors)


def inodes(descriptors: Sequence[int]) -> list[int]:
    return [os.fstat(descriptor).st_ino for descriptor in descriptors]


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def ends() -> Iterator[Ends]:
    both = Ends()
    yield both
    both.hang_up()


@pytest.fixture
def sockets() -> Iterator[list[int]]:
    """Descriptors of forty sockets."""
    with ExitStack() as stack:
        yield [stack.enter_context(socket.socket()).fileno() for _ in range(40)]


def test_two_messages_at_once(ends: Ends, sockets: list[int]) -> None:
    """Of two messages that are sent in one turn of the reactor each has its own descriptors, in their order."""
    ends.hand(2, sockets[:3])
    ends.hand(3, sockets[3:5])
    ends.hand(4, [])
    ends.reactor.run()
    assert ends.orders == [(2, inodes(sockets[:3])), (3, inodes(sockets[3:5])), (4, [])]


def test_many_descriptors(ends: Ends, sockets: list[int]) -> None:
    """A message takes more descriptors than its text has characters: each is sent with a byte."""
    ends.hand(2, sockets)
    ends.reactor.run()
    assert ends.orders == [(2, inodes(sockets))]


def test_a_failure_ends_no_worker(ends: Ends, sockets: list[int]) -> None:
    """A worker that cannot listen at another's socket logs that, and obeys the next order."""
    ends.failing = True
    ends.hand(2, sockets[:1])
    ends.parent.send(Message(Kind.STOP))
    ends.reactor.run()
    assert ends.orders == [(2, inodes(sockets[:1])), "stop"]
    fields = {"child": 2, "reason": "OSError: [Errno 22] Invalid argument"}
    assert ends.events == [("error", "cannot accept for another worker", fields)]


def test_left_over(sockets: list[int]) -> None:
    """Descriptors for which no message comes are closed with the channel."""
    before = open_descriptors()
    ends = Ends()
    ends.parent.send(Message(Kind.ALIVE), sockets[:5])
    ends.reactor.run()
    assert open_descriptors() == before + 2 + 5
    ends.hang_up()
    assert open_descriptors() == before
