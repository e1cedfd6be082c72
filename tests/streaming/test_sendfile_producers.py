"""The transport as a consumer: producers are held back while files are queued, and go on after."""

from __future__ import annotations

from typing import Any, cast

import attrs
import pytest
from tests.streaming.tcp_pair import KIB, MIB, ConnectionPair, FakeFile, pattern, result_of
from twisted.internet.interfaces import IPullProducer, IPushProducer
from zope.interface import implementer

from aero_storage.streaming.fair_queue import TURN_BYTES


@implementer(IPushProducer)
@attrs.define(eq=False)
class Pushing:
    """Notes what it is told."""

    told: list[str] = attrs.field(factory=list)

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")

    def stopProducing(self) -> None:
        self.told.append("stop")


@implementer(IPullProducer)
@attrs.define(eq=False)
class Pulling:
    """Writes one piece whenever it is asked, then leaves."""

    transport: Any
    pieces: list[bytes]

    def resumeProducing(self) -> None:
        self.transport.write(self.pieces.pop(0))
        if not self.pieces:
            self.transport.unregisterProducer()

    def stopProducing(self) -> None:
        self.pieces.clear()


def push(pair: ConnectionPair) -> Pushing:
    producer = Pushing()
    pair.server.registerProducer(cast("Any", producer), streaming=True)
    return producer


def test_paused_while_a_file_is_queued(pair: ConnectionPair, file: FakeFile) -> None:
    """A streaming producer is paused when a segment has to wait, and resumed once, when all has gone."""
    producer = push(pair)
    pair.server.send_file(file, 0, 4 * MIB)
    assert producer.told
    assert set(producer.told) == {"pause"}
    pair.stall()
    assert "resume" not in producer.told
    pair.run()
    assert producer.told.count("resume") == 1
    assert producer.told[-1] == "resume"
    assert pair.taken == pattern(4 * MIB)


def test_not_paused_by_what_goes_at_once(pair: ConnectionPair, file: FakeFile) -> None:
    """What the socket takes at once holds nobody back, and costs no turn of the reactor."""
    producer = push(pair)
    pair.server.send_file(file, 0, 10 * KIB, b"head")
    pair.server.write_through(b"through")
    assert producer.told == []
    assert not pair.writes


@pytest.mark.parametrize("last", ["turn", "thread"])
def test_resumed_in_the_turn_of_the_last_byte(pair: ConnectionPair, file: FakeFile, last: str) -> None:
    """When the last byte goes a producer is resumed at once: a close that comes next must not find it paused."""
    producer = push(pair)
    if last == "thread":
        pair.evict_everything()
    else:
        pair.server.fair_queue.spend(TURN_BYTES)
    pair.server.send_file(file, 0, 10 * KIB)
    told: list[list[str]] = []
    drained = pair.server.when_drained().addCallback(lambda _: told.append(list(producer.told)))
    pair.disk.step() if last == "thread" else pair.reactor.runUntilCurrent()  # no look at the sockets yet
    assert drained.called
    assert told == [["pause", "resume"]]
    assert not pair.writes
    pair.server.loseConnection()
    pair.server.unregisterProducer()
    pair.run()
    assert pair.at_end


def test_writing_behind_a_file_pauses(pair: ConnectionPair, file: FakeFile) -> None:
    """A producer that comes while a segment is queued is paused at its first write, however short."""
    pair.server.send_file(file, 0, 4 * MIB)
    producer = push(pair)
    pair.server.write(b"!")
    assert producer.told == ["pause"]
    pair.run()
    assert producer.told == ["pause", "resume"]
    assert pair.taken == pattern(4 * MIB) + b"!"


def test_resumed_after_a_read(pair: ConnectionPair, file: FakeFile) -> None:
    """A producer is paused while a thread reads, and resumed although the rest goes without the reactor's asking."""
    producer = push(pair)
    pair.evict_everything()
    pair.server.send_file(file, 0, 10 * KIB)
    assert producer.told == ["pause"]
    pair.run()
    assert producer.told == ["pause", "resume"]


def test_full_buffer_still_pauses(pair: ConnectionPair) -> None:
    """Without files the transport is Twisted's own: above 64 KiB it pauses, when all has gone it resumes."""
    producer = push(pair)
    pair.server.write(bytes(65536))
    assert producer.told == []
    pair.server.write(bytes(1))
    assert producer.told == ["pause"]
    pair.run()
    assert producer.told == ["pause", "resume"]


def test_pull_producer(pair: ConnectionPair, file: FakeFile) -> None:
    """A pull producer is asked for more each time that all has gone, files included."""
    pair.server.send_file(file, 0, 2 * MIB)
    producer = Pulling(pair.server, [b"one", b"two", b"three"])
    pair.server.registerProducer(cast("Any", producer), streaming=False)
    assert producer.pieces == [b"two", b"three"]
    pair.run()
    assert pair.taken == pattern(2 * MIB) + b"onetwothree"


def test_pull_producer_after_a_file_that_went_at_once(pair: ConnectionPair, file: FakeFile) -> None:
    """A pull producer is asked for more after a segment that was sent in the caller's turn."""
    producer = Pulling(pair.server, [b"one", b"two"])
    pair.server.registerProducer(cast("Any", producer), streaming=False)
    assert result_of(pair.server.send_file(file, 0, KIB)) == [None]
    pair.run()
    assert pair.taken == b"one" + pattern(KIB) + b"two"


def test_close_waits_for_the_producer(pair: ConnectionPair, file: FakeFile) -> None:
    """As in Twisted, a close comes when all is sent and the producer has left."""
    push(pair)
    pair.server.send_file(file, 0, 2 * MIB)
    pair.server.loseConnection()
    pair.run()
    assert not pair.at_end
    pair.server.write(b"last")
    pair.server.unregisterProducer()
    pair.run()
    assert pair.at_end
    assert pair.taken == pattern(2 * MIB) + b"last"


@pytest.mark.parametrize("how", ["reset", "abort"])
def test_stopped_when_the_connection_goes(pair: ConnectionPair, file: FakeFile, how: str) -> None:
    """A producer is stopped once when the connection is lost, and the segment fails."""
    producer = push(pair)
    seen = result_of(pair.server.send_file(file, 0, 4 * MIB))
    pair.reset() if how == "reset" else pair.server.abortConnection()
    pair.turn(4)
    assert producer.told.count("stop") == 1
    assert len(seen) == 1
