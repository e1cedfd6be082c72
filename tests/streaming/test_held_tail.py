"""The end of a large body is held back until a program on this machine has read all before it."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Any, cast

import attrs
import pytest
from tests.streaming.tcp_pair import KIB, MIB, ConnectionPair, FakeFile, pattern, result_of
from twisted.internet.error import ConnectionAborted
from twisted.internet.task import Clock

from aero_storage.errors import FileChangedError
from aero_storage.linux.sock_diag import PeerSocket
from aero_storage.streaming.file_segment import COPIED_BYTES, CopiedSegment, FileSegment
from aero_storage.streaming.held_tail import TAIL_BYTES, HeldTailSegment
from aero_storage.streaming.local_reader import LocalReader, Unseen, find_reader
from aero_storage.streaming.look_times import LEAST_WAIT, MOST_WAIT, Looks, Pauses
from aero_storage.streaming.segment_kinds import SegmentKinds

if TYPE_CHECKING:
    from collections.abc import Callable

    from aero_storage.linux.short_timers import Timer

LENGTH = 512 * KIB
QUIET_TURNS = 20


@attrs.define(eq=False)
class FakePeers:
    """The sockets of this machine: one. It has received all that was sent, unless it is said to lag."""

    connection: Any = None
    read: int = 0
    lag: int = 0
    late: int = 0
    """Bytes that come between the look at the queue and the one at what was received."""
    failure: OSError | None = None
    is_closed: bool = False
    is_here: bool = True
    looks: int = 0

    def start(self) -> None:
        """Nothing has to be opened."""

    def stop(self) -> None:
        """Nothing has to be closed."""

    def find_peer(self, connection: socket.socket) -> PeerSocket | None:
        del connection
        return self._now() if self.is_here else None

    def look_at(self, peer: PeerSocket) -> PeerSocket | None:
        del peer
        self.looks += 1
        return None if self.is_closed else self._now()

    def _now(self) -> PeerSocket:
        if self.failure is not None:
            raise self.failure
        late, self.late = self.late, 0
        received = (self.connection.taken if self.connection else 0) - self.lag
        return PeerSocket(b"", b"", received - late - self.read, received)


@attrs.define(eq=False)
class FakeTimers:
    """Timers on a clock that stands still until it is advanced."""

    clock: Clock = attrs.field(factory=Clock)

    def start(self) -> None:
        """Nothing has to be opened."""

    def stop(self) -> None:
        """Nothing has to be closed."""

    def seconds(self) -> float:
        return self.clock.seconds()

    def call_later(self, delay: float, call: Callable[[], object]) -> Timer:
        return self.clock.callLater(delay, call)


@attrs.define(eq=False)
class Held:
    """A connection to a program on this machine, which reads when `read` says so."""

    pair: ConnectionPair
    peers: FakePeers
    timers: FakeTimers

    def settle(self) -> None:
        """Turn and read until nothing comes any more."""
        quiet = 0
        while quiet < QUIET_TURNS:
            self.pair.turn()
            quiet = 0 if self.pair.take() else quiet + 1

    def let_read(self, unread: int = 0) -> None:
        """Have the program read all that was sent, but for `unread` bytes."""
        self.pair.take()
        self.peers.read = self.pair.server.taken - unread

    def look(self, seconds: float = MOST_WAIT) -> None:
        self.timers.clock.advance(seconds)
        self.settle()


@pytest.fixture
def held(make_pair: Callable[..., ConnectionPair]) -> Held:
    """A connection to a program that has read nothing yet."""
    peers, timers = FakePeers(), FakeTimers()
    pair = make_pair(kinds=SegmentKinds(peers, timers))
    peers.connection = pair.server
    return Held(pair, peers, timers)


def test_held_until_read(held: Held, file: FakeFile) -> None:
    """All but the tail comes; the tail when all before has been read, though its system has acknowledged all."""
    seen = result_of(held.pair.server.send_file(file, 3, LENGTH, b"head"))
    held.settle()
    assert held.pair.taken == b"head" + pattern(LENGTH - TAIL_BYTES, 3)
    for _ in range(20):
        held.look()
    assert held.pair.server.unsent == TAIL_BYTES
    assert not seen
    held.let_read(unread=1)
    held.look()
    assert held.pair.server.unsent == TAIL_BYTES
    held.let_read()
    held.look()
    assert held.pair.taken == b"head" + pattern(LENGTH, 3)
    assert seen == [None]


def test_what_is_behind(held: Held, file: FakeFile) -> None:
    """What was written behind a held tail comes after it."""
    server = held.pair.server
    server.send_file(file, 0, LENGTH)
    server.write(b"next")
    held.settle()
    assert len(held.pair.taken) == LENGTH - TAIL_BYTES
    held.let_read()
    held.look()
    assert held.pair.taken == pattern(LENGTH) + b"next"


@pytest.mark.parametrize("when", ["held", "released"])
def test_change(held: Held, file: FakeFile, when: str) -> None:
    """A change while the tail is held, or just before it is copied, is a reset: the tail never comes."""
    seen = result_of(held.pair.server.send_file(file, 0, LENGTH))
    held.settle()
    file.failure = FileChangedError("disk.img")
    if when == "held":
        assert held.pair.server.in_flight.changed(file, held.pair.server)
    else:
        held.let_read()
        held.look()
    held.settle()
    assert held.pair.was_reset
    assert len(held.pair.taken) == LENGTH - TAIL_BYTES
    assert when == "held" or [type(error) for error in seen] == [ConnectionAborted]
    assert not held.timers.clock.getDelayedCalls()


def test_watched_to_the_end(held: Held, file: FakeFile) -> None:
    """The file is watched while the tail is held, and not for a moment longer: what was shared has been read."""
    held.pair.server.send_file(file, 0, LENGTH)
    held.settle()
    assert held.pair.server.in_flight.has(held.pair.server)
    assert file.holders == 1
    held.let_read()
    held.look()
    assert not held.pair.server.in_flight.has(held.pair.server)
    assert file.holders == 0


def test_lost(held: Held, file: FakeFile) -> None:
    """A connection that is lost leaves no timer."""
    seen = result_of(held.pair.server.send_file(file, 0, LENGTH))
    held.settle()
    held.pair.reset()
    held.pair.turn(QUIET_TURNS)
    assert len(seen) == 1
    assert not held.timers.clock.getDelayedCalls()
    assert file.holders == 0


def test_progress(held: Held, file: FakeFile) -> None:
    """Progress is what the program has read, so that one which reads nothing counts as stalled."""
    server = held.pair.server
    server.send_file(file, 0, LENGTH)
    held.settle()
    assert server.progress() == 0
    held.let_read(unread=1000)
    assert server.progress() == LENGTH - TAIL_BYTES - 1000
    held.peers.failure = OSError(errno.ENOBUFS, "")
    assert server.progress() == LENGTH - TAIL_BYTES - 1000
    held.peers.failure = None
    held.let_read()
    assert server.progress() is None


def test_kernel_that_does_not_tell(held: Held, file: FakeFile) -> None:
    """While the kernel does not tell, the tail is held, and the client counts as stalled."""
    held.pair.server.send_file(file, 0, LENGTH)
    held.peers.failure = OSError(errno.ENOBUFS, "")
    held.settle()
    held.let_read()
    held.look()
    assert held.pair.server.unsent == TAIL_BYTES
    assert held.pair.server.progress() is not None
    held.peers.failure = None
    held.look()
    assert held.pair.taken == pattern(LENGTH)


def test_closed_peer(held: Held, file: FakeFile) -> None:
    """For a program that has closed nothing is held."""
    held.pair.server.send_file(file, 0, LENGTH)
    held.settle()
    held.peers.is_closed = True
    held.look()
    assert not held.pair.server.unsent


@pytest.mark.parametrize(("sent", "lag", "read", "unread"), [(100, 0, 100, 0), (100, 0, 30, 70), (100, 40, 60, 40)])
def test_unread(sent: int, lag: int, read: int, unread: int) -> None:
    """Unread is what has not come, and what has come and was not read."""
    connection = cast("Any", type("Connection", (), {"taken": sent}))
    peers = FakePeers(connection, read, lag)
    reader = LocalReader(connection, PeerSocket(b"", b"", 0, sent - lag), peers)
    assert reader.unread() == unread


def test_bytes_that_come_during_a_look() -> None:
    """Bytes that come after the queue was looked at are not taken for read."""
    connection = cast("Any", type("Connection", (), {"taken": 100}))
    peers = FakePeers(connection, 0, late=100)
    reader = LocalReader(connection, PeerSocket(b"", b"", 0, 0), peers)
    assert reader.unread() == 100
    assert peers.looks == 2


def kind(peers: FakePeers, connection: Any, length: int = MIB, *, is_watched: bool = True) -> object:
    source = cast("Any", type("Source", (), {"is_watched": is_watched}))
    made = SegmentKinds(peers, FakeTimers()).choose(source, length, connection)
    return getattr(made, "func", made)


def end(own: str, peer: str) -> Any:
    """Our end of a connection between two addresses."""

    class Socket:
        def getsockname(self) -> tuple[str, int]:
            return own, 80

        def getpeername(self) -> tuple[str, int]:
            return peer, 40000

        def setsockopt(self, *_: object) -> None:
            """Nothing is set."""

    return type("Connection", (), {"socket": Socket(), "taken": 0, "connected": 1, "reader": None})()


@pytest.mark.parametrize(
    ("own", "peer", "unseen"),
    [
        ("192.0.2.1", "192.0.2.9", FileSegment),
        ("192.0.2.1", "192.0.2.1", CopiedSegment),
        ("127.0.0.1", "127.0.0.1", CopiedSegment),
        ("127.0.0.1", "127.0.0.2", CopiedSegment),
        ("::1", "::1", CopiedSegment),
        ("::ffff:127.0.0.1", "::ffff:127.0.0.3", CopiedSegment),
        ("fe80::1%eth0", "fe80::2%eth0", FileSegment),
    ],
)
def test_kinds(own: str, peer: str, unseen: object) -> None:
    """A program that is seen has the tail held. One that is not gets copies, if its address is of this machine."""
    assert kind(FakePeers(), end(own, peer)) is HeldTailSegment
    assert kind(FakePeers(is_here=False), end(own, peer)) is unseen
    assert kind(FakePeers(failure=OSError(errno.EPERM, "")), end(own, peer)) is unseen
    assert kind(FakePeers(), end(own, peer), COPIED_BYTES) is CopiedSegment
    assert kind(FakePeers(), end(own, peer), is_watched=False) is FileSegment


def test_a_lost_connection_has_no_reader() -> None:
    """Nobody asks about a connection that is lost."""
    connection = end("127.0.0.1", "127.0.0.1")
    connection.connected = 0
    assert kind(FakePeers(), connection) is FileSegment
    assert connection.reader is None
    assert find_reader(end("192.0.2.1", "192.0.2.2"), FakePeers(is_here=False)) is Unseen.REMOTE


def test_looks_at_one_that_pauses() -> None:
    """A program that pauses is looked at less and less often, and its pause is hardly lengthened."""
    looks, now, times = Looks(Pauses(), 0.0), 0.0, []
    while now < 10:
        delay = looks.next(1000, now)
        assert LEAST_WAIT <= delay <= max(now / 8, MOST_WAIT / 100)
        now += delay
        times.append(delay)
    assert times[-1] == MOST_WAIT
    assert len(times) < 150


def test_looks_at_one_that_reads() -> None:
    """A program that reads at an even speed is looked at a few times, and soon after its end."""
    looks, now, count = Looks(Pauses(), 0.0), 100e-6, 0
    while delay := looks.next(max(8_000_000 - int(now * 2e9), 0), now):
        now += delay
        count += 1
    assert count < 6
    assert now - 0.004 < 0.0005


def test_first_look_is_learned() -> None:
    """The first look comes after as long a pause as the last was, and a little earlier each time that it fits."""
    pauses = Pauses()
    looks = Looks(pauses, 0.0)
    looks.next(1000, 0.001)
    looks.next(0, 0.002)
    assert Looks(pauses, 0.0).first() == pytest.approx(0.002)
    Looks(pauses, 0.0).next(0, 0.002)
    assert Looks(pauses, 0.0).first() == pytest.approx(0.0012)
    late = Looks(pauses, 0.0)
    late.next(1000, 1.0)
    late.next(0, 60.0)
    assert late.first() < 0.01
