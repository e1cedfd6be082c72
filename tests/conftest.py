"""The whole stack of one daemon in memory: real wiring, a fake reactor, a disk that answers when it is told to."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import attrs
import hypothesis
import pytest
from tests.stores.fixtures import azurite, ceph, seaweedfs
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure

from aero_storage.delivery.handler import Total
from aero_storage.disk import DiskThreads
from aero_storage.logs.json_log import EventLog
from aero_storage.service.composition import Parts, compose
from aero_storage.service.disk_pools import DiskPools
from aero_storage.settings import resolve
from aero_storage.web.connection import HTTPConnection

__all__ = ["azurite", "ceph", "seaweedfs"]  # fixtures of every room

Pairs = list[tuple[str, str]]
Part = bytes | int

# How long things take says more about what else the machine does.
hypothesis.settings.register_profile(
    "timeless", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("timeless")


class Reactor(MemoryReactorClock):
    """A reactor whose threads are the caller's."""

    def callFromThread(self, work: Callable[..., object], *args: object) -> None:
        work(*args)


@attrs.define(eq=False)
class Pool:
    """A thread pool that works at once, or, while `held`, when `step` says so."""

    held: bool = False
    jobs: deque[Callable[[], object]] = attrs.field(factory=deque)
    stops: int = 0

    def callInThread(self, work: Callable[..., object], *args: object) -> None:
        self.jobs.append(lambda: work(*args))
        if not self.held:
            self.release()

    def step(self) -> None:
        self.jobs.popleft()()

    def open(self) -> None:
        """Open the image of a request, and look whether it has a boot profile."""
        for _ in range(2):
            self.step()

    def release(self) -> None:
        self.held = False
        while self.jobs:
            self.step()

    def start(self) -> None:
        pass

    def stop(self) -> None:
        self.stops += 1


@attrs.define(eq=False)
class Log:
    """Keeps events."""

    events: list[tuple[str, str, dict[str, Any]]] = attrs.field(factory=list)

    def event(self, level: str, message: str, fields: Mapping[str, object] = {}) -> None:
        self.events.append((level, message, dict(fields)))

    @property
    def requests(self) -> list[dict[str, Any]]:
        return [fields for _, message, fields in self.events if message == "request complete"]


@attrs.frozen
class Response:
    status: int
    headers: Pairs
    body: bytes

    def __getitem__(self, name: str) -> str:
        (value,) = [value for key, value in self.headers if key.lower() == name.lower()]
        return value

    def __contains__(self, name: str) -> bool:
        return any(key.lower() == name.lower() for key, _ in self.headers)


class Transport(StringTransport):
    """A transport that tells resets from closes, and can be full."""

    def __init__(self) -> None:
        super().__init__(peerAddress=IPv4Address("TCP", "192.0.2.1", 4711))
        self.aborted = False

    def abortConnection(self) -> None:
        self.aborted = True
        super().abortConnection()


@attrs.define(eq=False)
class Connection:
    channel: HTTPConnection
    transport: Transport
    reactor: Reactor

    def send(self, data: bytes) -> None:
        self.channel.dataReceived(data)

    def get(self, target: str, *headers: tuple[str, str], method: str = "GET") -> None:
        lines = [f"{method} {target} HTTP/1.1", "Host: test", *(f"{name}: {value}" for name, value in headers)]
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def taken(self) -> bytes:
        self.reactor.advance(0)  # what is pipelined goes on in the next turn
        data: bytes = self.transport.value()
        self.transport.clear()
        return data

    def response(self, *, head: bool = False) -> Response:
        (response,) = self.responses(head=head)
        return response

    def responses(self, *, head: bool = False) -> list[Response]:
        """All responses so far, by their Content-Length."""
        data, found = self.taken(), []
        while data:
            top, _, data = data.partition(b"\r\n\r\n")
            status, *lines = top.decode("latin-1").split("\r\n")
            pairs = [cast("tuple[str, str]", tuple(line.split(": ", 1))) for line in lines]
            length = 0 if head else int(dict(pairs).get("Content-Length", "0"))
            found.append(Response(int(status.split()[1]), pairs, data[:length]))
            data = data[length:]
        return found

    def lose(self) -> None:
        self.channel.connectionLost(Failure(ConnectionDone()))


@attrs.define(eq=False)
class Stack:
    root: Path
    reactor: Reactor
    pool: Pool
    log: Log
    parts: Parts

    def connect(self) -> Connection:
        channel = self.parts.site.buildProtocol(IPv4Address("TCP", "192.0.2.1", 4711))
        assert channel is not None
        transport = Transport()
        channel.makeConnection(transport)
        return Connection(channel, transport, self.reactor)

    def ask(self, target: str, *headers: tuple[str, str], method: str = "GET") -> Response:
        connection = self.connect()
        connection.get(target, *headers, method=method)
        response = connection.response(head=method == "HEAD")
        connection.lose()
        return response

    def metric(self, sample: str) -> float:
        """The value of one sample, as `/metrics` writes its name and labels."""
        lines = self.ask("/metrics").body.decode().splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{sample} ")), 0.0)


IMAGE = bytes(range(256)) * 4096


@pytest.fixture
def make_stack(tmp_path: Path) -> Callable[..., Stack]:
    """Make a daemon in memory; settings as keywords, over an images root with one image, `disk.img`."""

    def make(log: EventLog | None = None, total: Total | None = None, **given: str) -> Stack:
        root = tmp_path / "images"
        root.mkdir(exist_ok=True)
        (root / "disk.img").write_bytes(IMAGE)
        texts = {name: [text] for name, text in given.items()}
        settings = resolve({"images_root": [str(root)], **texts}, {}, tmp_path).settings
        reactor, pool, kept = Reactor(), Pool(), Log()
        fakes = cast("Any", reactor), cast("Any", reactor), cast("Any", pool), 8, math.inf
        threads = DiskPools(DiskThreads(*fakes), DiskThreads(*fakes), DiskThreads(*fakes))
        parts = compose(settings, cast("Any", reactor), threads, log or kept, {}, total=total)
        return Stack(root, reactor, pool, kept, parts)

    return make


@pytest.fixture
def stack(make_stack: Callable[..., Stack]) -> Stack:
    """A daemon with default settings."""
    return make_stack()


@pytest.fixture
def make_image(tmp_path: Path) -> Callable[..., Path]:
    """Give a function that makes an image of parts: bytes are data, a number is a hole of so many bytes."""

    def make(*parts: Part, name: str = "image.img") -> Path:
        path = tmp_path / name
        with path.open("wb") as file:
            for part in parts:
                if isinstance(part, int):
                    file.seek(part, os.SEEK_CUR)
                else:
                    file.write(part)
            file.truncate(file.tell())
        return path

    return make
