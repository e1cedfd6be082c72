"""At a UNIX socket files are sent by `sendfile`, and the end of a large body is held until the socket is empty."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import attrs
import pytest
from tests.streaming.tcp_pair import KIB, ConnectionPair, RecordingProtocol, closing, descriptors, pattern, result_of
from tests.streaming.test_held_tail import FakePeers, FakeTimers, kind
from tests.streaming.watched_files import sending
from twisted.internet.error import ConnectionLost
from twisted.internet.unix import Port

from aero_storage.errors import FileChangedError
from aero_storage.streaming.file_segment import COPIED_BYTES, CopiedSegment, FileSegment
from aero_storage.streaming.held_tail import TAIL_BYTES
from aero_storage.streaming.look_times import MOST_WAIT
from aero_storage.streaming.segment_kinds import SegmentKinds
from aero_storage.streaming.transports import use_tracked_transports
from aero_storage.streaming.unix_tail import SEND_BUFFER_BYTES, UNIXReader, UNIXTailSegment

if TYPE_CHECKING:
    from contextlib import ExitStack

    from tests.streaming.tcp_pair import FakeFile, ManualDisk, ManualReactor

PIECE = 64 * KIB
"""What `sendfile` puts into the socket at a time."""

LENGTH = 8 * PIECE
TURNS = 20


@attrs.define(eq=False)
class Held:
    """A connection over a UNIX socket whose program reads what `take` says, and timers that stand still."""

    pair: ConnectionPair
    timers: FakeTimers

    def take(self, most: int) -> None:
        """Have the program read `most` bytes, as they come."""
        left = most
        while left:
            self.pair.turn()
            taken = self.pair.take(left)
            assert taken or self.pair.server.unsent > TAIL_BYTES
            left -= taken
        self.pair.turn(TURNS)

    @property
    def looks(self) -> int:
        """Looks that are to come."""
        return len(self.timers.clock.getDelayedCalls())


@pytest.fixture
def held(reactor: ManualReactor, disk: ManualDisk, cold: list[tuple[int, int]], stack: ExitStack) -> Held:
    """A connection to a program that has read nothing yet."""
    timers = FakeTimers()
    port: Any = Port(b"socket", cast("Any", None), reactor=reactor)
    use_tracked_transports(port, sending(reactor, disk, None, SegmentKinds(FakePeers(is_here=False), timers)))
    ours, peer = socket.socketpair()
    ours.settimeout(0)
    peer.settimeout(0)
    protocol = RecordingProtocol()
    server = port.transport(ours, protocol, None, None, 0, reactor)
    protocol.makeConnection(server)
    pair = stack.enter_context(closing(ConnectionPair(reactor, server, protocol, peer, disk, cold)))
    return Held(pair, timers)


def test_held_until_read(held: Held, file: FakeFile) -> None:
    """The tail, and what is behind it, comes once all before has been read; no look is needed, and no turn before."""
    server = held.pair.server
    seen = result_of(server.send_file(file, 3, LENGTH, b"head"))
    server.write(b"next")
    held.take(4 + LENGTH - TAIL_BYTES - 1)
    assert server.unsent == TAIL_BYTES + len(b"next")
    assert not server.is_writable()
    assert not seen
    held.take(1)
    held.pair.take()
    assert held.pair.taken == b"head" + pattern(LENGTH, 3) + b"next"
    assert seen == [None]
    assert not held.looks


def test_small_last_piece(held: Held, file: FakeFile) -> None:
    """A last piece so small that the socket is writable with it is waited for by looks, not in every turn."""
    length = 5 * PIECE + 10 + TAIL_BYTES
    held.pair.server.send_file(file, 0, length)
    held.take(5 * PIECE)
    assert held.pair.server.is_writable()
    assert not held.pair.writes
    assert held.looks == 1
    held.timers.clock.advance(MOST_WAIT)
    assert held.pair.server.unsent == TAIL_BYTES
    held.take(10)
    held.timers.clock.advance(MOST_WAIT)
    held.pair.run()
    assert held.pair.taken == pattern(length)
    assert not held.looks


@pytest.mark.parametrize("when", ["held", "read"])
def test_change(held: Held, file: FakeFile, when: str) -> None:
    """A change while the tail is held, or just before it is copied, ends the connection: the tail never comes."""
    held.pair.server.send_file(file, 0, LENGTH)
    held.take(LENGTH - TAIL_BYTES - 1)
    file.failure = FileChangedError("disk.img")
    if when == "held":
        assert held.pair.server.in_flight.changed(file, held.pair.server)
    held.pair.run()
    assert held.pair.at_end
    assert len(held.pair.taken) == LENGTH - TAIL_BYTES
    assert file.holders == 0


def test_watched_to_the_end(held: Held, file: FakeFile) -> None:
    """The file is watched while the tail is held, and not for a moment longer: what was shared has been read."""
    server = held.pair.server
    server.send_file(file, 0, LENGTH)
    held.take(LENGTH - TAIL_BYTES - 1)
    assert server.in_flight.has(server)
    assert file.holders == 1
    held.take(1)
    assert not server.unsent
    assert not server.in_flight.has(server)
    assert file.holders == 0


def test_progress(held: Held, file: FakeFile) -> None:
    """Progress is what the program has read, by whole pieces, so that one which reads nothing counts as stalled."""
    server = held.pair.server
    server.send_file(file, 0, LENGTH)
    held.take(LENGTH - TAIL_BYTES - PIECE)
    before = server.progress()
    assert before is not None
    assert server.progress() == before
    held.take(PIECE - 1)
    moved = server.progress()
    assert moved is not None
    assert before < moved < LENGTH - TAIL_BYTES
    held.take(1)
    held.pair.take()
    assert server.progress() is None


def test_room_for_the_next_body(held: Held, file: FakeFile) -> None:
    """When the tail goes out the socket takes as much as before."""
    for _ in range(3):
        held.pair.server.send_file(file, 0, LENGTH)
        held.pair.run()
        assert held.pair.server.socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == SEND_BUFFER_BYTES
    assert held.pair.taken == pattern(LENGTH) * 3


@pytest.mark.parametrize("unread", [PIECE, 10])
def test_lost(held: Held, file: FakeFile, unread: int) -> None:
    """A program that closes while the tail is held leaves no timer, and no file open."""
    seen = result_of(held.pair.server.send_file(file, 0, 5 * PIECE + 10 + TAIL_BYTES))
    held.take(5 * PIECE + 10 - unread)
    held.pair.peer.close()
    held.pair.turn(TURNS)
    held.timers.clock.advance(MOST_WAIT)
    held.pair.turn(TURNS)
    assert [type(error) for error in seen] == [ConnectionLost]
    assert len(held.pair.protocol.lost) == 1
    assert not held.looks
    assert file.holders == 0


def test_kinds(held: Held) -> None:
    """Small bodies are copied, large ones held; a file that cannot change in place is shared to its end."""
    server = held.pair.server
    assert isinstance(server.reader, UNIXReader)
    assert kind(FakePeers(is_here=False), server, COPIED_BYTES) is CopiedSegment
    assert kind(FakePeers(is_here=False), server) is UNIXTailSegment
    assert kind(FakePeers(is_here=False), server, is_watched=False) is FileSegment


def test_descriptors_that_are_sent_to_us(held: Held) -> None:
    """Descriptors that a program passes are dropped; the bytes beside them are read."""
    before = descriptors()
    with Path(os.devnull).open("rb") as passed:
        socket.send_fds(held.pair.peer, [b"GET"], [passed.fileno()])
    held.pair.turn(TURNS)
    assert held.pair.protocol.received == b"GET"
    assert descriptors() == before
