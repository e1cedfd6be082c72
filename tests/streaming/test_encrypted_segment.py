"""Files that are encrypted on their way: every byte in order, little encrypted ahead, exact counts, good ends."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import attrs
import pytest
from tests.streaming.tcp_pair import KIB, MIB, ConnectionPair, FakeFile, pattern, result_of
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost

from aero_storage.streaming.encrypted_segment import CHUNK_BYTES, SMALL_CHUNK_BYTES, EncryptedSegment
from aero_storage.streaming.throttle import Pace

RECORD = 16 * KIB
OVERHEAD = 22


@attrs.define(eq=False)
class Sealer:
    """Makes records that can be taken apart: a number of 5 digits, so many bytes, and a tail."""

    chunks: list[int] = attrs.field(factory=list)
    """Bytes of each chunk, without its head."""
    records: int = 0
    """Bytes of all records."""
    failure: Exception | None = None

    def __call__(self, *pieces: bytes | memoryview) -> memoryview:
        if self.failure is not None:
            raise self.failure
        self.chunks.append(len(pieces[-1]))
        cut = [piece[at : at + RECORD] for piece in pieces for at in range(0, len(piece), RECORD)]
        sealed = b"".join(b"%05d%s%s" % (len(one), bytes(one), b"." * (OVERHEAD - 5)) for one in cut)
        self.records += len(sealed)
        return memoryview(bytearray(sealed))


def opened(wire: bytes) -> bytes:
    """What is in all whole records."""
    plain = []
    while len(wire) >= 5 and len(wire) >= (length := int(wire[:5])) + OVERHEAD:
        plain.append(wire[5 : 5 + length])
        wire = wire[length + OVERHEAD :]
    return b"".join(plain)


@attrs.define
class Place:
    """A place under the cap that is lost, or not."""

    is_held: bool
    on_given_up: Callable[[], object] | None = None


def count_overhead(pair: ConnectionPair, count: int) -> None:
    pair.server.taken += count


def send(
    pair: ConnectionPair, file: FakeFile, seal: Sealer, offset: int, length: int, place: Place | None = None
) -> Deferred[None]:
    kind = partial(EncryptedSegment, encrypt=seal, count_overhead=partial(count_overhead, pair), head=b"the head")
    return pair.server.send_segment(partial(kind, file, offset, length, place=place))


@pytest.mark.parametrize("length", [1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * MIB + 7])
def test_every_byte_in_order(pair: ConnectionPair, file: FakeFile, length: int) -> None:
    """Through small sockets come the head and all bytes; what the kernel has taken is the size of the records."""
    seal = Sealer()
    done = result_of(send(pair, file, seal, 5, length))
    pair.run()
    assert opened(bytes(pair.taken)) == b"the head" + pattern(length, 5)
    assert done == [None]
    assert (pair.server.unsent, pair.server.taken) == (0, len(pair.taken))


def test_little_is_encrypted_ahead(pair: ConnectionPair, file: FakeFile) -> None:
    """While the client reads nothing, no more than one chunk waits in memory; bytes on the wire count as sent."""
    seal = Sealer()
    done = result_of(send(pair, file, seal, 0, 4 * MIB))
    while not done:
        pair.stall()
        assert seal.records - pair.server.taken <= CHUNK_BYTES + (CHUNK_BYTES // RECORD + 1) * OVERHEAD
        assert len(opened(bytes(pair.taken))) <= len(b"the head") + 4 * MIB - pair.server.unsent
        pair.take(100 * KIB)
        pair.turn()
    assert set(seal.chunks) == {CHUNK_BYTES}


def test_less_without_a_place(pair: ConnectionPair, file: FakeFile) -> None:
    """A stream that has lost its place encrypts less at once: there may be thousands."""
    seal = Sealer()
    send(pair, file, seal, 0, MIB, Place(is_held=False))
    pair.run()
    assert opened(bytes(pair.taken)) == b"the head" + pattern(MIB)
    assert set(seal.chunks) == {SMALL_CHUNK_BYTES}


def test_uncached_bytes_are_read_by_a_thread(pair: ConnectionPair, file: FakeFile) -> None:
    """Bytes that are not in memory are brought in first, and nothing is encrypted meanwhile."""
    pair.cold.append((0, MIB))
    seal = Sealer()
    done = result_of(send(pair, file, seal, 0, 2 * MIB))
    pair.turn(5)
    assert (seal.chunks, len(pair.disk.jobs)) == ([], 1)
    pair.run()
    assert opened(bytes(pair.taken)) == b"the head" + pattern(2 * MIB)
    assert done == [None]


@pytest.mark.parametrize("source", ["file", "encryption"])
def test_failure_resets(pair: ConnectionPair, file: FakeFile, source: str) -> None:
    """A file that fails, or a connection that encrypts no more, ends in a reset behind right bytes."""
    seal, failure = Sealer(), ConnectionLost()
    done = result_of(send(pair, file, seal, 0, 4 * MIB))
    pair.stall()
    pair.take(200 * KIB)
    if source == "file":
        file.failure = failure
    else:
        seal.failure = failure
    pair.run()
    assert (pair.was_reset, done) == (True, [failure])
    body = opened(bytes(pair.taken)).removeprefix(b"the head")
    assert body == pattern(len(body))


def test_writes_go_behind(pair: ConnectionPair, file: FakeFile) -> None:
    """What is written while a part of a chunk waits leaves behind the last record."""
    seal = Sealer()
    send(pair, file, seal, 0, MIB)
    pair.server.write(b"00003end" + b"." * (OVERHEAD - 5))
    pair.run()
    assert opened(bytes(pair.taken)) == b"the head" + pattern(MIB) + b"end"


@attrs.define(eq=False)
class Tokens:
    """A pace with so many bytes left; streams wait until there are more."""

    left: int
    waiting: list[Any] = attrs.field(factory=list)

    def spend(self, count: int) -> None:
        self.left -= count

    def wait(self, stream: object) -> None:
        self.waiting.append(stream)


def test_no_faster_than_the_pace(pair: ConnectionPair, file: FakeFile) -> None:
    """No more is encrypted than the limit on the speed allows; the rest goes on when it does."""
    seal, tokens = Sealer(), Tokens(10 * KIB)
    pair.server.pace = cast("Pace", tokens)
    done = result_of(send(pair, file, seal, 0, 100 * KIB))
    pair.run()
    assert opened(bytes(pair.taken)) == b"the head" + pattern(10 * KIB)
    assert (tokens.left, seal.chunks, done) == (0, [10 * KIB], [])
    tokens.left = MIB
    tokens.waiting.pop().take_turn()
    pair.run()
    assert opened(bytes(pair.taken)) == b"the head" + pattern(100 * KIB)
    assert (done, tokens.left) == ([None], MIB - 90 * KIB)
