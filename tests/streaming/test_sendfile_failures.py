"""How segments end when they do not end well: resets at every moment, files that change, cancels, closes."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from tests.streaming.tcp_pair import KIB, MIB, ConnectionPair, FakeFile, pattern, result_of
from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from aero_storage.errors import ShortReadError


def kinds(seen: list[object]) -> list[type]:
    return [type(one) for one in seen]


# The peer resets


def before_anything(pair: ConnectionPair, _file: FakeFile) -> list[object]:
    pair.reset()
    return result_of(pair.server.send_file(_file, 0, 4 * MIB, b"head"))


def before_anything_and_unasked(pair: ConnectionPair, file: FakeFile) -> list[object]:
    pair.reset()
    pair.turn(2)
    return result_of(pair.server.send_file(file, 0, 4 * MIB, b"head"))


def in_the_head(pair: ConnectionPair, file: FakeFile) -> list[object]:
    pair.server.write(pattern(2 * MIB))
    seen = result_of(pair.server.send_file(file, 0, 4 * MIB))
    pair.stall()
    pair.reset()
    return seen


def after_the_head(pair: ConnectionPair, file: FakeFile) -> list[object]:
    pair.server.write_through(b"head")
    pair.reset()
    return result_of(pair.server.send_file(file, 0, 4 * MIB))


def after_the_first_bytes(pair: ConnectionPair, file: FakeFile) -> list[object]:
    seen = result_of(pair.server.send_file(file, 0, 4 * MIB, b"head"))
    pair.reset()
    return seen


def in_the_middle(pair: ConnectionPair, file: FakeFile) -> list[object]:
    seen = result_of(pair.server.send_file(file, 0, 4 * MIB, b"head"))
    while pair.server.unsent > 2 * MIB:
        pair.turn()
        pair.take(100 * KIB)
    pair.reset()
    return seen


def between_two_files(pair: ConnectionPair, file: FakeFile) -> list[object]:
    seen: list[object] = []

    def again(_: None) -> None:
        pair.reset()
        pair.server.send_file(file, 0, 4 * MIB, b"head").addErrback(lambda failure: seen.append(failure.value))

    pair.server.send_file(file, 0, 1000).addCallback(again)
    return seen


def while_a_thread_reads(pair: ConnectionPair, file: FakeFile) -> list[object]:
    pair.evict_everything()
    seen = result_of(pair.server.send_file(file, 0, 4 * MIB, b"head"))
    assert pair.disk.jobs
    pair.reset()
    return seen


def just_when_a_thread_has_read(pair: ConnectionPair, file: FakeFile) -> list[object]:
    pair.evict_everything()
    seen = result_of(pair.server.send_file(file, 0, 4 * MIB, b"head"))
    tell = pair.disk.begin()
    pair.reset()
    tell()
    return seen


MOMENTS = [
    before_anything,
    before_anything_and_unasked,
    in_the_head,
    after_the_head,
    after_the_first_bytes,
    in_the_middle,
    between_two_files,
    while_a_thread_reads,
    just_when_a_thread_has_read,
]
Moment = Callable[[ConnectionPair, FakeFile], list[object]]


@pytest.mark.parametrize("moment", MOMENTS)
def test_reset(pair: ConnectionPair, file: FakeFile, moment: Moment) -> None:
    """Whenever the peer resets, the segment fails once with ConnectionLost, the protocol is told, no read is left."""
    seen = moment(pair, file)
    pair.turn(5)
    assert kinds(seen) == [ConnectionLost]
    assert len(pair.protocol.lost) == 1
    assert pair.server.unsent > 0
    assert not pair.disk.jobs
    assert pair.server not in pair.reactor.getWriters() + pair.reactor.getReaders()


def note(order: list[int], number: int, _failure: Failure) -> None:
    order.append(number)


@pytest.mark.parametrize("moment", MOMENTS)
def test_reset_with_a_queue(pair: ConnectionPair, file: FakeFile, moment: Moment) -> None:
    """All that is queued fails, each once, in order."""
    order: list[int] = []
    first = moment(pair, file)
    for number in range(3):
        pair.server.write(b"between")
        pair.server.send_file(file, 0, MIB).addErrback(partial(note, order, number))
    pair.turn(5)
    assert kinds(first) == [ConnectionLost]
    assert order == [0, 1, 2]


def test_reset_after_the_last_byte(pair: ConnectionPair, file: FakeFile) -> None:
    """What the kernel has is sent, whatever becomes of it: a reset after that finds nothing to fail."""
    seen = result_of(pair.server.send_file(file, 0, KIB, b"head"))
    pair.reset()
    pair.turn(5)
    assert seen == [None]
    assert pair.server.unsent == 0
    assert len(pair.protocol.lost) == 1


@pytest.mark.parametrize("data", [b"some", pattern(MIB)])
def test_write_through_to_a_peer_that_has_reset(pair: ConnectionPair, data: bytes) -> None:
    """A write-through that meets a reset says nothing; the reactor finds the connection lost."""
    pair.reset()
    pair.server.write_through(data)
    pair.server.write_through(data)
    assert not pair.protocol.lost
    pair.turn(3)
    assert len(pair.protocol.lost) == 1
    assert pair.server.unsent == 2 * len(data)


def test_after_the_connection_is_lost(pair: ConnectionPair, file: FakeFile) -> None:
    """A segment for a connection that is lost fails at once and counts as never sent; writes are dropped."""
    pair.server.abortConnection()
    assert kinds(result_of(pair.server.send_file(file, 0, KIB))) == [ConnectionLost]
    pair.turn(2)
    assert kinds(result_of(pair.server.send_file(file, 0, KIB))) == [ConnectionLost]
    pair.server.write_through(b"more")
    assert pair.server.unsent == 2 * KIB


# The file


def truncate(file: FakeFile) -> None:
    os.truncate(file.path, 10)
    file.failure = ShortReadError("changed")


def change(file: FakeFile) -> None:
    file.failure = ShortReadError("changed")


def fail(file: FakeFile) -> None:
    file.failure = OSError(errno.ESTALE, "stale")


@pytest.mark.parametrize("how", [truncate, change, fail])
@pytest.mark.parametrize("when", ["before", "between", "in the middle"])
def test_file_that_changes(pair: ConnectionPair, file: FakeFile, how: Callable[[FakeFile], None], when: str) -> None:
    """A file that is not what it was fails its segment with what it raises, and the connection with it."""
    if when == "before":
        how(file)
    elif when == "between":
        pair.server.send_file(file, 0, KIB, b"head").addCallback(lambda _: how(file))
    seen = result_of(pair.server.send_file(file, KIB, 4 * MIB, b"head"))
    pair.server.write(b"behind")
    if when == "in the middle":
        pair.stall()
        how(file)
    pair.run()
    assert seen == [file.failure]
    assert pair.was_reset
    assert not pair.at_end
    assert len(pair.protocol.lost) == 1
    assert b"behind" not in pair.taken
    assert pair.server.unsent > 0


def test_file_that_shrinks_unseen(pair: ConnectionPair, file: FakeFile) -> None:
    """Where there are no more bytes the segment fails, even if the file claims to be what it was."""
    os.truncate(file.path, 3 * MIB)
    seen = result_of(pair.server.send_file(file, MIB, 4 * MIB, b"head"))
    pair.run()
    assert kinds(seen) == [OSError]
    assert pair.was_reset
    assert pair.taken == (b"head" + pattern(2 * MIB, MIB))[: len(pair.taken)]


def test_file_that_fails(pair: ConnectionPair, file: FakeFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the disk, in the middle, is the segment's, and no clean end."""
    real, left = os.sendfile, [True, True]

    def sendfile(*arguments: int) -> int:
        if not left:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        left.pop()
        return real(*arguments)

    monkeypatch.setattr(os, "sendfile", sendfile)
    seen: list[Any] = result_of(pair.server.send_file(file, 0, 4 * MIB))
    pair.run()
    assert [error.errno for error in seen] == [errno.EIO]
    assert pair.was_reset


@pytest.mark.parametrize("number", [errno.ETIMEDOUT, errno.EHOSTUNREACH])
@pytest.mark.parametrize("peer", ["there", "gone"])
def test_whose_error_it_is(
    pair: ConnectionPair, file: FakeFile, monkeypatch: pytest.MonkeyPatch, number: int, peer: str
) -> None:
    """An error that both a network and a network file system know is the connection's only if that is lost."""

    def sendfile(*_: int) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "sendfile", sendfile)
    if peer == "gone":
        pair.reset()
    seen: list[Any] = result_of(pair.server.send_file(file, 0, MIB))
    pair.turn(3)
    assert kinds(seen) == [ConnectionLost if peer == "gone" else type(OSError(number, ""))]


def test_changed_behind_the_last_byte(pair: ConnectionPair, file: FakeFile) -> None:
    """A file that is seen to have changed when its last byte has gone fails all the same: no clean end follows."""

    class Late(FakeFile):
        def verify(self) -> None:
            super().verify()
            if not pair.server._segments[0].left:  # noqa: SLF001 - it has gone
                raise ShortReadError("changed")

    late = Late(file.path, file.descriptor)
    seen = result_of(pair.server.send_file(late, 0, 300 * KIB))
    pair.server.loseConnection()
    pair.run()
    assert kinds(seen) == [ShortReadError]
    assert pair.server.unsent == 0
    assert not pair.at_end


# Cancelling


@pytest.mark.parametrize("when", ["waiting", "behind another", "begun", "cold"])
def test_cancel(pair: ConnectionPair, file: FakeFile, when: str) -> None:
    """A segment that is cancelled fails at once, no byte of it follows, and its connection is aborted."""
    if when == "cold":
        pair.evict_everything()
    others: list[object] = []
    if when == "behind another":
        others = result_of(pair.server.send_file(file, 0, 4 * MIB))
    deferred = pair.server.send_file(file, 0, 4 * MIB, b"head")
    seen = result_of(deferred)
    if when == "begun":
        pair.stall()
    unsent = pair.server.unsent
    deferred.cancel()
    assert kinds(seen) == [CancelledError]
    assert not pair.disk.jobs
    pair.server.write_through(b"more")
    pair.run()
    assert pair.server.unsent == unsent + 4
    assert kinds(others) == [ConnectionLost] * (when == "behind another")
    assert pair.was_reset
    assert len(seen) == 1


def test_cancel_from_a_callback(pair: ConnectionPair, file: FakeFile) -> None:
    """The next segment may be cancelled when one is done, in the middle of sending."""
    later: list[Any] = []
    pair.server.send_file(file, 0, 2 * MIB).addCallback(lambda _: later[0].cancel())
    later.append(pair.server.send_file(file, 0, MIB))
    seen = result_of(later[0])
    pair.run()
    assert kinds(seen) == [CancelledError]
    assert pair.was_reset


# Closing


def test_lose_connection_sends_all_first(pair: ConnectionPair, file: FakeFile) -> None:
    """A close waits for everything that is queued, files too, and then is a clean end."""
    seen = result_of(pair.server.send_file(file, 0, 4 * MIB, b"head"))
    pair.server.write(b"tail")
    pair.server.loseConnection()
    pair.run()
    assert seen == [None]
    assert pair.at_end
    assert pair.taken == b"head" + pattern(4 * MIB) + b"tail"
    assert len(pair.protocol.lost) == 1


def test_lose_connection_while_a_thread_reads(pair: ConnectionPair, file: FakeFile) -> None:
    """A close waits for the disk too, and nothing spins meanwhile."""
    pair.evict_everything()
    seen = result_of(pair.server.send_file(file, 0, 4 * MIB, b"head"))
    pair.server.loseConnection()
    pair.turn(3)
    assert not pair.writes
    pair.run()
    assert seen == [None]
    assert pair.at_end
    assert pair.taken == b"head" + pattern(4 * MIB)


def test_send_while_closing(pair: ConnectionPair, file: FakeFile) -> None:
    """What is sent after a close that still waits goes out, as it does with writes."""
    pair.server.write(b"last words")
    pair.server.loseConnection()
    seen = result_of(pair.server.send_file(file, 0, MIB))
    pair.server.write_through(b"through")
    pair.run()
    assert seen == [None]
    assert pair.taken == b"last words" + pattern(MIB) + b"through"
    assert pair.at_end


def test_lose_connection_from_the_callback(pair: ConnectionPair, file: FakeFile) -> None:
    """The usual end of a response: close when it is done."""
    pair.server.send_file(file, 0, 10).addCallback(lambda _: pair.server.loseConnection())
    pair.run()
    assert pair.taken == pattern(10)
    assert pair.at_end


@pytest.mark.parametrize("is_cold", [True, False])
def test_abort(pair: ConnectionPair, file: FakeFile, *, is_cold: bool) -> None:
    """An abort drops the queue, fails what was in it and resets."""
    if is_cold:
        pair.evict_everything()
    seen = result_of(pair.server.send_file(file, 0, 4 * MIB, b"head"))
    pair.turn(2)
    pair.server.abortConnection()
    pair.run(step=False)
    assert kinds(seen) == [ConnectionLost]
    assert pair.was_reset
    assert not pair.disk.jobs


def test_abort_from_a_callback(pair: ConnectionPair, file: FakeFile) -> None:
    """The connection may be aborted when a segment is done, in the middle of sending the next."""
    pair.server.send_file(file, 0, 2 * MIB).addCallback(lambda _: pair.server.abortConnection())
    seen = result_of(pair.server.send_file(file, 0, MIB))
    pair.run()
    assert kinds(seen) == [ConnectionLost]
    assert len(pair.protocol.lost) == 1


def test_half_close_sends_all_first(pair: ConnectionPair, file: FakeFile) -> None:
    """A half-close waits for everything that is queued; the other half stays open."""
    seen = result_of(pair.server.send_file(file, 0, 4 * MIB, b"head"))
    pair.server.loseWriteConnection()
    pair.run()
    assert seen == [None]
    assert pair.at_end
    assert pair.taken == b"head" + pattern(4 * MIB)
    assert pair.protocol.half_lost == ["write"]
    pair.peer.send(b"thank you")
    pair.turn(2)
    assert pair.protocol.received == b"thank you"
    assert kinds(result_of(pair.server.send_file(file, 0, 1))) == [ConnectionLost]


def test_peer_half_closes(pair: ConnectionPair, file: FakeFile) -> None:
    """A peer that will send no more still gets all it has asked for."""
    seen = result_of(pair.server.send_file(file, 0, 4 * MIB))
    pair.peer.shutdown(socket.SHUT_WR)
    pair.run()
    assert pair.protocol.half_lost == ["read"]
    assert seen == [None]
    assert pair.taken == pattern(4 * MIB)


def test_an_exception_in_the_protocol(pair: ConnectionPair, file: FakeFile) -> None:
    """A protocol that raises over the end of its connection takes no segment's failure with it."""
    pair.protocol.raises = True
    seen = result_of(pair.server.send_file(file, 0, 4 * MIB))
    with pytest.raises(RuntimeError):
        pair.server.connectionLost(Failure(ConnectionLost()))
    assert kinds(seen) == [ConnectionLost]
