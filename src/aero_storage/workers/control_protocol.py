"""The control protocol between parent and workers: messages, and the channel that carries them."""

from __future__ import annotations

import enum
import json
import os
import socket
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IFileDescriptorReceiver, IReactorSocket
from twisted.internet.protocol import Factory
from twisted.protocols.basic import Int32StringReceiver
from twisted.python.failure import Failure
from typing_extensions import override
from zope.interface import implementer

from aero_storage.metrics import Counts
from aero_storage.metrics.counts import HISTOGRAMS, TALLIES

_MOST_BYTES = 16 * 1024 * 1024
"""Limit of one message; counts take a few hundred bytes for each route, method, status and image."""


class Kind(enum.Enum):
    """The kind of a message."""

    STOP = "stop"
    """To a worker: stop."""
    RELOAD = "reload"
    """To a worker: read the catalog again; the payload has the certificates to present from now on."""
    COUNT = "count"
    """To a worker: send your counts, under this number."""
    COUNTS = "counts"
    """From a worker: its counts; the number is that of the question, or 0 if they were not asked for."""
    READY = "ready"
    """From a worker: it serves, or has read the catalog again on command."""
    SUM = "sum"
    """From a worker, with its counts: send me the total of all, under this number."""
    TOTAL = "total"
    """To a worker: the total."""
    ALIVE = "alive"
    """From a worker: its reactor runs. Sent where there is nothing else to send."""
    STOPPING = "stopping"
    """From a worker: it has begun to stop, and will soon accept no more connections."""
    TAKE_OVER = "take_over"
    """To a worker: accept also at the sockets of the worker of this number; its descriptors are theirs."""
    GIVE_BACK = "give_back"
    """To a worker: leave the sockets of the worker of this number."""


@attrs.frozen
class Message:
    """One message, in either direction."""

    kind: Kind
    number: int = 0
    counts: Counts | None = None
    descriptors: int = 0
    """Number of descriptors that belong to it."""
    payload: bytes = attrs.field(default=b"", repr=False)
    """Data of the kind. Secrets may be in it."""


def encode(message: Message) -> bytes:
    """Return a message as bytes."""
    counts = None if message.counts is None else to_document(message.counts)
    payload = b64encode(message.payload).decode("ascii")
    return json.dumps([message.kind.value, message.number, counts, message.descriptors, payload]).encode("ascii")


def decode(data: bytes) -> Message:
    """Return the message of some bytes; raises an exception if they are none."""
    kind, number, counts, descriptors, payload = json.loads(data)
    found = None if counts is None else from_document(counts)
    return Message(Kind(kind), number, found, descriptors, b64decode(payload))


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


@implementer(IFileDescriptorReceiver)
class ControlChannel(Int32StringReceiver):
    """One end of the channel. A malformed message is a bug of ours: log it and close."""

    MAX_LENGTH = _MOST_BYTES

    def __init__(self, received: Callable[[Message], object]) -> None:
        self._received = received
        self._descriptors: list[int] = []
        self.lost: Deferred[None] = Deferred()
        """Fires when the channel is lost."""

    def send(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Send a message and its descriptors; it is lost if the other end is gone."""
        transport = self.transport
        if descriptors:
            message = attrs.evolve(message, descriptors=len(descriptors))
            for descriptor in descriptors if getattr(transport, "connected", False) else ():
                transport.sendFileDescriptor(descriptor)  # type: ignore[union-attr]
        self.sendString(encode(message).ljust(len(descriptors)))  # Twisted sends a byte with each descriptor

    def take_descriptors(self, count: int) -> list[int]:
        """Return the next `count` descriptors, which are the caller's now; fewer if the kernel could not pass all.

        Twisted sends all descriptors that wait with the first bytes that wait. So they arrive in their order and no
        later than their message, but those of several messages may arrive before the first of these.
        """
        taken, self._descriptors = self._descriptors[:count], self._descriptors[count:]
        return taken

    def fileDescriptorReceived(self, descriptor: int) -> None:
        """Keep a descriptor for the message to which it belongs."""
        self._descriptors.append(descriptor)

    @override
    def stringReceived(self, string: bytes) -> None:
        self._received(decode(string))

    @override
    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        for descriptor in self.take_descriptors(len(self._descriptors)):
            os.close(descriptor)
        self.lost.callback(None)


class _OneProtocolFactory(Factory):
    """Builds one given channel."""

    noisy = False

    def __init__(self, channel: ControlChannel) -> None:
        self._channel = channel

    def buildProtocol(self, addr: IAddress | None) -> ControlChannel:  # noqa: ARG002
        return self._channel


def open_channel(reactor: IReactorSocket, end: socket.socket, channel: ControlChannel) -> None:
    """Connect a channel to one end of a socket pair; the reactor takes a copy of the descriptor."""
    with end:
        end.settimeout(0)
        reactor.adoptStreamConnection(end.fileno(), socket.AF_UNIX, _OneProtocolFactory(channel))  # type: ignore[arg-type]
