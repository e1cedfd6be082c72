"""The push producer: order, backpressure, bounded read-ahead, one teardown."""

from __future__ import annotations

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
from aero_storage.streaming.producer import BACKGROUND_READ_BYTES, READ_AHEAD, SegmentProducer
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
    disk: ManualDisk = attrs.field(factory=ManualDisk)
    source: Source = attrs.field(init=False)
    consumer: Consumer = attrs.field(init=False)
    producer: SegmentProducer = attrs.field(init=False)
    results: list[object] = attrs.field(factory=list)
    done: Deferred[None] = attrs.field(init=False)

    def start(self, offset: int = 0, length: int | None = None) -> Stream:
        self.source = Source(bytes(index % 251 for index in range(self.size)))
        self.consumer = Consumer(self.picky)
        length = self.size - offset if length is None else length
        consumer = cast("Any", self.consumer)
        self.producer = SegmentProducer(self.disk, self.source, consumer, offset, length, self.pace, self.place)
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


def test_a_stream_that_has_lost_its_place() -> None:
    """It goes on to its end, with small reads that go after those of others, and nothing read ahead."""
    place = Place()
    stream = Stream(picky=True, place=place).start()
    stream.run()
    assert stream.disk.background == [False, False]
    place.is_held, kept = False, len(stream.consumer.written)
    while stream.consumer.producer is not None:
        stream.consumer.producer.resumeProducing()
        stream.run()
        assert len(stream.producer._ready) <= (0 if len(stream.consumer.written) > kept + 1 else 1)  # noqa: SLF001
    assert stream.disk.background[2:] == [True] * (len(stream.disk.background) - 2)
    assert {length for _, length in stream.source.reads[2:-1]} == {BACKGROUND_READ_BYTES}
    assert b"".join(stream.consumer.written) == stream.source.data
    assert stream.results == [None]
