"""What parent and workers say to each other, and the channel on which they do."""

from __future__ import annotations

import enum
import json
import socket
from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorSocket
from twisted.internet.protocol import Factory
from twisted.protocols.basic import Int32StringReceiver
from twisted.python.failure import Failure

from aero_storage.metrics import Counts
from aero_storage.metrics.counts import HISTOGRAMS, TALLIES

_MOST_BYTES = 16 * 1024 * 1024
"""Of one message: counts take some hundred bytes for each route, method, status and image."""


class Kind(enum.Enum):
    """What a message is about."""

    STOP = "stop"
    """To a worker: end."""
    RELOAD = "reload"
    """To a worker: read the catalog again."""
    COUNT = "count"
    """To a worker: tell what you have counted, under this number."""
    COUNTS = "counts"
    """From a worker: what it has counted; the number is that of the question, or 0 if nobody has asked."""
    READY = "ready"
    """From a worker: it serves, or has read the catalog again as it was told to."""
    SUM = "sum"
    """From a worker, with what it has counted: tell me the total of all, under this number."""
    TOTAL = "total"
    """To a worker: the answer."""


@attrs.frozen
class Message:
    """One message, in either direction."""

    kind: Kind
    number: int = 0
    counts: Counts | None = None


def encode(message: Message) -> bytes:
    """A message as it travels."""
    counts = None if message.counts is None else to_document(message.counts)
    return json.dumps([message.kind.value, message.number, counts]).encode("ascii")


def decode(data: bytes) -> Message:
    """The message again."""
    kind, number, counts = json.loads(data)
    return Message(Kind(kind), number, None if counts is None else from_document(counts))


def to_document(counts: Counts) -> dict[str, Any]:
    """A copy as JSON can hold it: an object's keys are no tuples, so there are lists of pairs instead."""
    tallies = {name: list(getattr(counts, name).items()) for name in TALLIES}
    histograms = {name: [(labels, list(row)) for labels, row in getattr(counts, name).items()] for name in HISTOGRAMS}
    rest = {"reloaded_at": counts.reloaded_at, "gauges": dict(counts.gauges), "process": dict(counts.process)}
    return {**tallies, **histograms, **rest}


def from_document(document: dict[str, Any]) -> Counts:
    """The counts again."""
    counts: dict[str, Any] = {name: document[name] for name in ("reloaded_at", "gauges", "process")}
    for name in (*TALLIES, *HISTOGRAMS):
        counts[name] = {tuple(labels): value for labels, value in document[name]}
    return Counts(**counts)


class ControlChannel(Int32StringReceiver):
    """One end of the channel. Nonsense from the other end, of our own making, is logged and ends it."""

    MAX_LENGTH = _MOST_BYTES

    def __init__(self, received: Callable[[Message], object]) -> None:
        self._received = received
        self.lost: Deferred[None] = Deferred()
        """Fires when the other end is gone."""

    def send(self, message: Message) -> None:
        """Say something; lost if the other end is gone."""
        self.sendString(encode(message))

    def stringReceived(self, string: bytes) -> None:
        """See Int32StringReceiver."""
        self._received(decode(string))

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # noqa: ARG002
        """See Protocol."""
        self.lost.callback(None)


class _OneProtocolFactory(Factory):
    """Gives its one channel."""

    noisy = False

    def __init__(self, channel: ControlChannel) -> None:
        self._channel = channel

    def buildProtocol(self, addr: IAddress | None) -> ControlChannel:  # noqa: ARG002
        return self._channel


def open_channel(reactor: IReactorSocket, end: socket.socket, channel: ControlChannel) -> None:
    """Let a channel speak through one end of a pair of sockets, which is taken over."""
    with end:
        end.settimeout(0)
        reactor.adoptStreamConnection(end.fileno(), socket.AF_UNIX, _OneProtocolFactory(channel))  # type: ignore[arg-type]
