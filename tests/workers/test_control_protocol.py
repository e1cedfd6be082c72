"""What parent and workers say to each other."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from twisted.internet.testing import StringTransport

from aero_storage.metrics import Counts
from aero_storage.workers.control_protocol import ControlChannel, Kind, Message, decode, encode, open_channel

MESSAGES = [Message(kind, number) for kind in Kind for number in (0, 7)]
MESSAGES += [Message(Kind.TAKE_OVER, 2, descriptors=3)]
MESSAGES += [Message(Kind.RELOAD, payload=bytes(range(256)))]
MESSAGES += [Message(Kind.SUM, 3, Counts(bytes={("ä\n",): 2**60}, process={"process_open_fds": 5.0}))]


@pytest.mark.parametrize("message", MESSAGES, ids=str)
def test_round_trip(message: Message) -> None:
    """A message arrives as it was sent."""
    assert decode(encode(message)) == message


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_channel(size: int) -> None:
    """Messages are told apart however the bytes are cut on their way."""
    sender, sent = ControlChannel(lambda _: None), StringTransport()
    sender.makeConnection(sent)
    for message in MESSAGES:
        sender.send(message)
    heard: list[Message] = []
    receiver = ControlChannel(heard.append)
    receiver.makeConnection(StringTransport())
    data = sent.value()
    for start in range(0, len(data), size):
        receiver.dataReceived(data[start : start + size])
    assert heard == MESSAGES


def test_a_message_without_end() -> None:
    """A message that announces more than any of ours takes ends the channel before it is read."""
    channel, transport = ControlChannel(lambda _: None), StringTransport()
    channel.makeConnection(transport)
    channel.dataReceived(b"\xff\xff\xff\xff" + b"x" * 1000)
    assert transport.disconnecting


def test_nonsense() -> None:
    """What is no message raises, which ends a real connection; no half of it is taken for one."""
    heard: list[Message] = []
    channel = ControlChannel(heard.append)
    channel.makeConnection(StringTransport())
    for nonsense in (b"[]", b"{", b'["dance", 0, null, 0]', b'["counts", 0, {}, 0]'):
        with pytest.raises((ValueError, KeyError)):
            channel.dataReceived(len(nonsense).to_bytes(4, "big") + nonsense)
    assert heard == []


class Reactor:
    """Adopts connections."""

    def __init__(self) -> None:
        self.adopted: list[tuple[int, int, Any]] = []

    def adoptStreamConnection(self, descriptor: int, family: int, factory: Any) -> None:
        self.adopted.append((socket.dup(descriptor), family, factory.buildProtocol(None)))


def test_open_channel() -> None:
    """A channel speaks through a copy of the socket that does not block; the original is closed."""
    reactor: Any = Reactor()
    one, other = socket.socketpair()
    channel = ControlChannel(lambda _: None)
    open_channel(reactor, one, channel)
    ((descriptor, family, protocol),) = reactor.adopted
    assert (family, protocol) == (socket.AF_UNIX, channel)
    assert one.fileno() == -1
    with other, socket.socket(fileno=descriptor) as copy, pytest.raises(BlockingIOError):
        copy.recv(1)


def test_lost() -> None:
    """The end of the connection is told."""
    channel = ControlChannel(lambda _: None)
    gone: list[None] = []
    channel.lost.addCallback(gone.append)
    channel.makeConnection(StringTransport())
    channel.connectionLost(None)  # type: ignore[arg-type]
    assert gone == [None]
