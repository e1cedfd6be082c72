"""The push producer: order, backpressure, bounded read-ahead, one teardown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.streaming.tcp_pair import ManualDisk
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IConsumer
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from aero_storage.disk import Disk
from aero_storage.errors import ShortReadError
from aero_storage.streaming.large_pieces import SMALL_PIECE_BYTES, LargePieces
from aero_storage.streaming.producer import READ_AHEAD, WRITE_BYTES, SegmentProducer
from aero_storage.streaming.stream_place import StreamPlace
from aero_storage.streaming.throttle import BURST_SECONDS, TICK_SECONDS, Pace, Throttle

T = TypeVar("T")
READ_BYTES = 128 * 1024


@attrs.define(eq=False)
class Source:
    data: bytes
    reads: list[tuple[int, int]] = attrs.field(factory=list)
    failure: Exception | None = None
    lane: int = 0
    piece_bytes: int = READ_BYTES

    def read(self, offset: int, length: int) -> bytes:
        self.reads.append((offset, length))
        if self.failure is not None:
            raise self.failure
        return self.data[offset : offset + length]

    def read_later(self, disk: Disk, offset: int, length: int, *, background: bool) -> Deferred[bytes]:
        return disk.run(lambda: self.read(offset, length), lane=self.lane, background=background)


@implementer(IConsumer)
@attrs.define(eq=False)
class Consumer:
    """Takes what comes, and pauses its producer after each write while `picky`."""

    picky: bool = False
    written: list[bytes] = attrs.field(factory=list)
    producer: SegmentProducer | None = None

    def registerProducer(self, producer: Any, streaming: bool) -> None:  # noqa: FBT001
        assert streaming
        assert self.producer is None
        self.producer = producer

    def unregisterProducer(self) -> None:
        assert self.producer is not None
        self.producer = None

    def write(self, data: bytes) -> None:
        assert self.producer is not None
        self.written.append(data)
        if self.picky:
            self.producer.pauseProducing()


@attrs.define(eq=False)
class Stream:
    """A producer between a source of `size` bytes and a consumer."""

    size: int = 5 * READ_BYTES + 7
    picky: bool = False
    pace: Pace | None = None
    place: StreamPlace | None = None
    piece_bytes: int = READ_BYTES
    large: LargePieces = attrs.field(factory=lambda: LargePieces(0))
    disk: ManualDisk = attrs.field(factory=ManualDisk)
    source: Source = attrs.field(init=False)
    consumer: Consumer = attrs.field(init=False)
    producer: SegmentProducer = attrs.field(init=False)
    results: list[object] = attrs.field(factory=list)
    done: Deferred[None] = attrs.field(init=False)

    def start(self, offset: int = 0, length: int | None = None) -> Stream:
        self.source = Source((bytes(range(251)) * (self.size // 251 + 1))[: self.size], piece_bytes=self.piece_bytes)
        self.consumer = Consumer(self.picky)
        length = self.size - offset if length is None else length
        consumer = cast("Any", self.consumer)
        self.producer = SegmentProducer(
            self.disk, self.source, consumer, offset, length, self.pace, self.place, self.large
        )
        self.done = self.producer.start()
        self.done.addBoth(self.results.append)
        return self

    def run(self) -> None:
        while self.disk.jobs:
            self.disk.step()

    @property
    def failed_with(self) -> type[BaseException] | None:
        (result,) = self.results
        return result.type if isinstance(result, Failure) else None


@given(size=st.integers(1, 3 * READ_BYTES), data=st.data())
def test_every_byte_in_order(size: int, data: st.DataObject) -> None:
    """Any segment arrives whole and in order, and nothing beyond it is read."""
    offset = data.draw(st.integers(0, size - 1))
    length = data.draw(st.integers(1, size - offset))
    stream = Stream(size).start(offset, length)
    stream.run()
    assert b"".join(stream.consumer.written) == stream.source.data[offset : offset + length]
    assert stream.results == [None]
    assert stream.consumer.producer is None
    assert sum(read for _, read in stream.source.reads) == length


def test_nothing_to_send() -> None:
    """An empty segment is done at once, without a read."""
    stream = Stream(10).start(3, 0)
    assert stream.results == [None]
    assert stream.consumer.producer is None
    assert not stream.disk.jobs


def test_one_read_at_a_time() -> None:
    """There is never more than one read under way."""
    stream = Stream().start()
    stream.run()
    assert stream.disk.most == 1
    assert max(length for _, length in stream.source.reads) == READ_BYTES


def test_paused_stream_holds_what_is_read_ahead_and_no_more() -> None:
    """While the consumer is full, reads stop after the read-ahead: no thread waits for a slow client."""
    stream = Stream(picky=True).start()
    stream.run()
    assert len(stream.consumer.written) == 1
    assert len(stream.source.reads) == 1 + READ_AHEAD
    assert not stream.disk.jobs


def test_resumed_stream_goes_on_where_it_was() -> None:
    """Pause and resume, in any place, lose and repeat nothing."""
    stream = Stream(picky=True).start()
    for _ in range(20):
        stream.run()
        if stream.consumer.producer is not None:
            stream.producer.resumeProducing()
    assert b"".join(stream.consumer.written) == stream.source.data
    assert stream.results == [None]


def test_resume_without_pause_changes_nothing() -> None:
    """A resume that was not asked for neither doubles reads nor bytes."""
    stream = Stream().start()
    for _ in range(3):
        stream.producer.resumeProducing()
    stream.run()
    assert stream.disk.most == 1
    assert b"".join(stream.consumer.written) == stream.source.data


@pytest.mark.parametrize("error", [ShortReadError("short"), OSError(5, "Input/output error")])
@pytest.mark.parametrize("after", [0, 2])
def test_failed_read_ends_the_stream(error: Exception, after: int) -> None:
    """What a read raises is what the stream fails with; nothing follows."""
    stream = Stream().start()
    for _ in range(after):
        stream.disk.step()
    stream.source.failure = error
    stream.run()
    assert stream.failed_with is type(error)
    assert stream.consumer.producer is None
    assert b"".join(stream.consumer.written) == stream.source.data[: after * READ_BYTES]


@pytest.mark.parametrize("after", [0, 1, 3])
@pytest.mark.parametrize("how", ["stop", "cancel"])
def test_stopped_stream_is_silent(how: str, after: int) -> None:
    """Once the consumer is gone or the wait is cancelled, no read begins and nothing is written."""
    stream = Stream().start()
    for _ in range(after):
        stream.disk.step()
    if how == "stop":
        stream.producer.stopProducing()
    else:
        stream.done.cancel()
    assert stream.failed_with is CancelledError
    assert stream.consumer.producer is None
    assert not stream.disk.jobs
    written = len(stream.consumer.written)
    stream.producer.resumeProducing()
    stream.producer.stopProducing()
    assert len(stream.consumer.written) == written
    assert len(stream.results) == 1


def test_stop_inside_a_write() -> None:
    """A consumer may lose its connection inside `write`, and hears no more."""
    stream = Stream()

    class Fragile(Consumer):
        def write(self, data: bytes) -> None:
            super().write(data)
            assert self.producer is not None
            self.producer.stopProducing()

    stream.source, stream.consumer = Source(bytes(stream.size)), Fragile()
    stream.producer = SegmentProducer(stream.disk, stream.source, cast("Any", stream.consumer), 0, stream.size)
    stream.producer.start().addBoth(stream.results.append)
    stream.run()
    assert len(stream.consumer.written) == 1
    assert stream.failed_with is CancelledError


@pytest.mark.parametrize("picky", [False, True])
def test_no_faster_than_it_may(picky: bool) -> None:  # noqa: FBT001
    """With a limit bytes come in pieces as they are allowed, in order; reads stay bounded while it is held back."""
    clock = Clock()
    stream = Stream(picky=picky, pace=Throttle(clock, 4 * READ_BYTES, 0).pace()).start()
    stream.run()
    assert sum(map(len, stream.consumer.written)) == int(4 * READ_BYTES * BURST_SECONDS)
    assert len(stream.source.reads) <= 1 + READ_AHEAD
    assert not stream.disk.jobs
    for tick in range(1, 40):
        if stream.consumer.producer is not None:
            stream.producer.resumeProducing()
        clock.advance(TICK_SECONDS)
        stream.run()
        assert sum(map(len, stream.consumer.written)) <= 4 * READ_BYTES * (BURST_SECONDS + TICK_SECONDS * tick)
    assert b"".join(stream.consumer.written) == stream.source.data
    assert stream.results == [None]
    assert not clock.getDelayedCalls()


def test_stopped_while_held_back() -> None:
    """A stream that is stopped while it is held back writes nothing more, and is forgotten."""
    clock = Clock()
    stream = Stream(pace=Throttle(clock, 4 * READ_BYTES, 0).pace()).start()
    stream.run()
    written = len(stream.consumer.written)
    stream.done.cancel()
    clock.pump([TICK_SECONDS] * 10)
    assert len(stream.consumer.written) == written
    assert not stream.disk.jobs
    assert not clock.getDelayedCalls()


@attrs.define(eq=False)
class Place:
    is_held: bool = True
    on_given_up: Callable[[], object] | None = None

    def give_up(self) -> None:
        self.is_held = False
        assert self.on_given_up is not None
        self.on_given_up()


def resume_to_the_end(stream: Stream) -> None:
    while stream.consumer.producer is not None:
        stream.consumer.producer.resumeProducing()
        stream.run()


def test_a_stream_that_has_lost_its_place() -> None:
    """It goes on to its end, with small reads that go after those of others, and nothing read ahead."""
    place = Place()
    stream = Stream(picky=True, place=place).start()
    stream.run()
    assert stream.disk.background == [False, False]
    place.give_up()
    while stream.consumer.producer is not None:
        stream.consumer.producer.resumeProducing()
        stream.run()
        assert held_by(stream) <= SMALL_PIECE_BYTES
    assert stream.disk.background[2:] == [True] * (len(stream.disk.background) - 2)
    assert {length for _, length in stream.source.reads[2:-1]} == {SMALL_PIECE_BYTES}
    assert b"".join(stream.consumer.written) == stream.source.data
    assert stream.results == [None]


LARGE = 1 << 20


def held_by(stream: Stream) -> int:
    producer = stream.producer
    return len(producer._writing) + sum(map(len, producer._ready))  # noqa: SLF001 - what is in memory


def test_large_pieces_are_written_bit_by_bit() -> None:
    """A transport, which copies what it keeps, gets no more of a large piece than of others; one piece is ahead."""
    stream = Stream(5 * LARGE + 7, picky=True, piece_bytes=LARGE).start()
    stream.run()
    assert [length for _, length in stream.source.reads] == [LARGE] * (1 + READ_AHEAD)
    resume_to_the_end(stream)
    assert max(map(len, stream.consumer.written)) == WRITE_BYTES
    assert b"".join(stream.consumer.written) == stream.source.data


def test_large_pieces_without_a_place() -> None:
    """Where each read is a request, a stream that has lost its place has pieces of its source, one at a time."""
    place, large = Place(), LargePieces(64 * LARGE)
    stream = Stream(8 * LARGE, picky=True, place=place, piece_bytes=LARGE, large=large).start()
    stream.run()
    place.give_up()
    assert held_by(stream) == 2 * LARGE - WRITE_BYTES == large.taken  # what is there is kept while there is room
    while stream.consumer.producer is not None:
        stream.consumer.producer.resumeProducing()
        stream.run()
        assert held_by(stream) <= large.taken
    assert [length for _, length in stream.source.reads] == [LARGE] * 8
    assert stream.disk.background == [False, False, *[True] * 6]
    assert b"".join(stream.consumer.written) == stream.source.data
    assert large.taken == 0


@pytest.mark.parametrize("in_flight", [False, True])
def test_many_streams_without_a_place(in_flight: bool) -> None:  # noqa: FBT001
    """However many lose their places, what all of them hold is bounded; all bytes arrive in order all the same."""
    large = LargePieces(8 * LARGE)
    streams, places = [], []
    for _ in range(64):
        places.append(place := Place())
        streams.append(stream := Stream(4 * LARGE, picky=True, place=place, piece_bytes=LARGE, large=large).start())
        stream.disk.step()
        if not in_flight:
            stream.run()
    for place in places:
        place.give_up()
    for stream in streams:
        stream.run()
    assert sum(map(held_by, streams)) <= 8 * LARGE + 64 * SMALL_PIECE_BYTES
    assert large.taken <= 8 * LARGE
    for stream in streams:
        resume_to_the_end(stream)
        assert b"".join(stream.consumer.written) == stream.source.data
        assert stream.results == [None]
    assert large.taken == 0


def test_what_was_granted_is_given_back() -> None:
    """A stream without a place that is stopped gives back what it was granted; its place is its own no more."""
    place, large = Place(), LargePieces(64 * LARGE)
    stream = Stream(8 * LARGE, picky=True, place=place, piece_bytes=LARGE, large=large).start()
    stream.run()
    place.give_up()
    stream.producer.stopProducing()
    assert (large.taken, place.on_given_up) == (0, None)
