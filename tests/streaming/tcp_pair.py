"""Both ends of a real TCP connection: a server's transport, a real reactor turned by hand, a socket as the peer."""

from __future__ import annotations

import errno
import os
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast

import attrs
from tests.streaming.watched_files import sending
from twisted.internet.defer import Deferred
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.tcp import Port
from twisted.python.failure import Failure
from zope.interface import implementer

from aero_storage.disk import Disk
from aero_storage.linux.page_cache import count_pages, is_resident
from aero_storage.streaming.files_in_flight import FilesInFlight
from aero_storage.streaming.sendfile import SendfileServer
from aero_storage.streaming.transports import use_tracked_transports

T = TypeVar("T")
KIB = 1024
MIB = 1024 * KIB
_ATTEMPTS = 100
_TURNS_WITHOUT_NEWS = 40
_HANG_SECONDS = 10.0
_NO_REASON = Failure(ConnectionDone())
_DATA_SEGMENTS_IN = 152  # where `struct tcp_info` has tcpi_data_segs_in


_PATTERN = b"".join(number.to_bytes(4) for number in range(8 * MIB // 4 + 1024))


def pattern(length: int, first: int = 0) -> bytes:
    """Bytes of which no window looks like another."""
    return _PATTERN[first : first + length]


def evict_pages(descriptor: int, offset: int, length: int) -> bool:
    """Push bytes out of the page cache; the kernel keeps pages that are busy, so ask until they are gone."""
    for _ in range(_ATTEMPTS):
        os.posix_fadvise(descriptor, offset, length, os.POSIX_FADV_DONTNEED)
        # The other question, a read that may not wait, would make the kernel fetch what it is asked about.
        if not count_pages(descriptor, offset, length):
            return True
    return False


def descriptors() -> set[tuple[str, str]]:
    """Number and meaning of the open sockets and files; pipes and /dev/null belong to pytest's own reactor."""
    links = [(link.name, str(link.readlink())) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return {(number, what) for number, what in links if not what.startswith(("pipe:", "/dev/null"))}


@attrs.define(eq=False)
class ManualDisk:
    """Does what it is asked when `step` says so; `begin` and `end` are the halves of a step."""

    jobs: deque[tuple[Callable[[], Any], Deferred[Any]]] = attrs.field(factory=deque)
    most: int = 0
    asked: int = 0
    background: list[bool] = attrs.field(factory=list)
    """Of all that was asked, whether it may wait for others."""

    def later(self, work: Callable[[], object], lane: Hashable = None) -> None:
        self.run(work, lane=lane)

    def run(
        self,
        work: Callable[[], T],
        discard: Callable[[T], object] = lambda _: None,
        lane: Hashable = None,
        *,
        background: bool = False,
    ) -> Deferred[T]:
        del discard, lane
        self.background.append(background)
        deferred: Deferred[T] = Deferred(self._forget)
        self.jobs.append((work, deferred))
        self.asked += 1
        self.most = max(self.most, len(self.jobs))
        return deferred

    def _forget(self, deferred: Deferred[Any]) -> None:
        for job in tuple(self.jobs):
            if job[1] is deferred:
                self.jobs.remove(job)

    def begin(self) -> Callable[[], None]:
        """Do the first piece of work; what is returned tells of it, later."""
        work, deferred = self.jobs.popleft()
        try:
            result, failure = work(), None
        except Exception:  # noqa: BLE001
            result, failure = None, Failure()

        def end() -> None:
            if not deferred.called:
                deferred.errback(failure) if failure else deferred.callback(result)

        return end

    def step(self) -> None:
        self.begin()()


def _ended() -> NoReturn:
    raise OSError(errno.ENODATA, os.strerror(errno.ENODATA))


@attrs.define(eq=False)
class FakeFile:
    """An open file that notes what is asked of it; `failure` is what the file raises from now on."""

    path: Path
    descriptor: int = -1
    failure: Exception | None = None
    warmed: list[tuple[int, int]] = attrs.field(factory=list)
    checks: int = 0
    lane: int = 0
    is_watched: bool = True
    name: str = "disk.img"
    holders: int = 0

    def is_current(self) -> bool:
        return self.failure is None

    def hold(self) -> None:
        self.holders += 1

    def release(self) -> None:
        self.holders -= 1

    def fileno(self) -> int:
        return self.descriptor

    def verify(self) -> None:
        self.checks += 1
        if self.failure is not None:
            raise self.failure

    def is_sendable(self, offset: int, length: int) -> bool:
        return is_resident(self.descriptor, offset, length)

    def read_now_into(self, offset: int, target: memoryview) -> bool:
        raise AssertionError(f"the transport does not ask for {len(target)} bytes at {offset} at once")

    def read_sendable_into(self, offset: int, target: memoryview) -> int:
        count = os.preadv(self.descriptor, (target,), offset)
        self.verify()
        return count or _ended()

    def transmit(self, socket: int, offset: int, most: int) -> int:
        sent = os.sendfile(socket, self.descriptor, offset, most)
        if not sent:
            self.verify()
        return sent or _ended()

    def warm(self, disk: Disk, offset: int, length: int, *, background: bool) -> Deferred[None]:
        return disk.run(lambda: self.populate(offset, length), lane=self.lane, background=background)

    def populate(self, offset: int, length: int) -> None:
        self.warmed.append((offset, length))
        if self.failure is not None:
            raise self.failure


@implementer(IHalfCloseableProtocol)
class RecordingProtocol(Protocol):
    """The server's protocol: keeps what it gets and how it ended; `raises` over that end if told to."""

    def __init__(self) -> None:
        self.received = b""
        self.lost: list[Failure] = []
        self.half_lost: list[str] = []
        self.raises = False

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def readConnectionLost(self) -> None:
        self.half_lost.append("read")

    def writeConnectionLost(self) -> None:
        self.half_lost.append("write")

    def connectionLost(self, reason: Failure = _NO_REASON) -> None:
        self.lost.append(reason)
        if self.raises:
            raise RuntimeError("tripped")


class ManualReactor(EPollReactor):
    """A real reactor that turns when it is told to."""

    def turn(self, wait: float = 0.0) -> None:
        self.iterate(wait)

    def close(self) -> None:
        self.removeAll()
        for waker in tuple(self._internalReaders):
            self._internalReaders.discard(waker)
            waker.connectionLost(Failure(ConnectionAbortedError()))
        self._poller.close()


@attrs.define(eq=False)
class ConnectionPair:
    """One connection; `taken` is what the peer has read."""

    reactor: ManualReactor
    server: SendfileServer
    protocol: Any
    peer: socket.socket
    disk: Any
    cold: list[tuple[int, int]]
    """See the fixture of that name."""
    taken: bytearray = attrs.field(factory=bytearray)
    at_end: bool = False
    """Whether the peer has seen a clean end."""
    was_reset: bool = False

    def take(self, most: int = 1 << 30) -> int:
        """Read what is there, up to `most` bytes; how many came."""
        before = len(self.taken)
        while not (self.at_end or self.was_reset) and len(self.taken) - before < most:
            try:
                data = self.peer.recv(min(256 * KIB, most - len(self.taken) + before))
            except BlockingIOError:
                break
            except ConnectionError:
                self.was_reset = True
            else:
                self.at_end = not data
                self.taken += data
        return len(self.taken) - before

    def turn(self, times: int = 1) -> None:
        for _ in range(times):
            self.reactor.turn()

    def run(self, *, step: bool = True) -> None:
        """Turn, read and do the disk's work until nothing happens any more."""
        quiet, deadline = 0, time.monotonic() + _HANG_SECONDS
        while quiet < _TURNS_WITHOUT_NEWS or (self._is_under_way() and time.monotonic() < deadline):
            unsent = self.server.unsent
            self.reactor.turn(0.0 if quiet < _TURNS_WITHOUT_NEWS // 2 else 0.001)
            if step and isinstance(self.disk, ManualDisk) and self.disk.jobs:
                self.disk.step()
                quiet = 0
            quiet = quiet + 1 if not self.take() and self.server.unsent == unsent else 0

    def _is_under_way(self) -> bool:
        """Whether the kernel still has bytes for the peer: on a busy machine that takes its time."""
        reads = not (self.at_end or self.was_reset)
        return reads and bool(self.server.connected) and self.server.progress() is not None

    def stall(self) -> None:
        """Turn until the sockets are full and nothing moves; the peer does not read."""
        unsent = -1
        while unsent != self.server.unsent:
            unsent = self.server.unsent
            self.turn(20)

    def evict_everything(self) -> None:
        """No byte of any file is in the page cache any more, or ever will be."""
        self.cold.append((0, 1 << 60))

    def reset(self) -> None:
        """The peer breaks the connection off."""
        self.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.peer.close()

    @property
    def writes(self) -> bool:
        """Whether the reactor is asked to tell when the socket takes more."""
        return self.server in self.reactor.getWriters()

    @property
    def packets(self) -> int:
        """Segments with data that have come to the peer."""
        info = self.peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        (count,) = struct.unpack_from("=I", info, _DATA_SEGMENTS_IN)
        return int(count)


def _sockets(listener: socket.socket, buffers: int | None) -> tuple[socket.socket, socket.socket]:
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    peer = socket.socket()
    if buffers is not None:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffers)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffers)
    peer.connect(listener.getsockname())
    peer.settimeout(0)
    return listener.accept()[0], peer


def connect(
    reactor: ManualReactor,
    disk: Any,
    cold: list[tuple[int, int]],
    buffers: int | None = 64 * KIB,
    protocol: Any = None,
    like: ConnectionPair | None = None,
    in_flight: FilesInFlight | None = None,
    kinds: Any = None,
) -> ConnectionPair:
    """A connection whose sockets take about `buffers` bytes each, and of the same port as the one that it is like."""
    port: Any = Port(0, cast("Any", None), reactor=reactor)
    with socket.socket() as listener:
        port.socket = listener
        use_tracked_transports(port, sending(reactor, disk, in_flight, kinds))
        accepted, peer = _sockets(listener, buffers)
    accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    protocol = protocol or RecordingProtocol()
    kind = type(like.server) if like is not None else port.transport
    server = kind(accepted, protocol, ("127.0.0.1", 0), None, 0, reactor)
    protocol.makeConnection(server)
    return ConnectionPair(reactor, server, protocol, peer, disk, cold)


def result_of(deferred: Deferred[None]) -> list[object]:
    """The list that holds the result or the exception of a Deferred, once there is one."""
    seen: list[object] = []

    def fail(failure: Failure) -> None:
        seen.append(failure.value)

    deferred.addCallbacks(seen.append, fail)
    return seen


@contextmanager
def closing(pair: ConnectionPair) -> Iterator[ConnectionPair]:
    try:
        yield pair
    finally:
        pair.peer.close()
        pair.server.abortConnection()
        pair.turn(2)
