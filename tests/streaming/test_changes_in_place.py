"""Files that are changed in place while bytes of them are on their way: copies stay, others are reset."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.streaming.tcp_pair import KIB, MIB, ConnectionPair, FakeFile, pattern, result_of
from twisted.internet.error import ConnectionAborted, ConnectionLost

from aero_storage.errors import FileChangedError
from aero_storage.streaming.fair_queue import TURN_BYTES
from aero_storage.streaming.file_segment import COPIED_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable


def reported(pair: ConnectionPair) -> dict[str, int]:
    """Return for each file how many connections were reset, as the log will tell."""
    return pair.server.in_flight.reports._resets  # noqa: SLF001


def change(file: FakeFile) -> None:
    """Overwrite a file, and have it say so from now on."""
    with file.path.open("r+b") as opened:
        opened.write(bytes(MIB))
    file.failure = FileChangedError("changed")


@pytest.mark.parametrize("length", [1, 65_537, COPIED_BYTES])
def test_copied_bytes_stay(pair: ConnectionPair, file: FakeFile, length: int) -> None:
    """What the kernel has of a small body is as it was, and what it has not comes as it was, or not at all."""
    pair.server.send_file(file, 3, length, b"head")
    pair.stall()
    change(file)
    pair.run()
    assert (b"head" + pattern(length, 3)).startswith(pair.taken)
    assert pair.taken
    assert pair.was_reset or len(pair.taken) == 4 + length


def test_shared_bytes_change(make_pair: Callable[..., ConnectionPair], file: FakeFile) -> None:
    """The bytes of a large body are the file's, as long as they wait: that is why it has to be watched."""
    wide = make_pair(buffers=None)
    wide.server.send_file(file, 0, COPIED_BYTES + 1)
    wide.stall()
    with file.path.open("r+b") as opened:
        opened.write(bytes(MIB))
    wide.take()
    assert wide.taken
    assert not any(wide.taken)


def test_a_copied_body_waits_in_the_file(pair: ConnectionPair, file: FakeFile) -> None:
    """What the socket does not take of a small body takes no memory."""
    pair.server.send_file(file, 0, COPIED_BYTES)
    pair.stall()
    assert pair.server.unsent > 0
    assert not pair.server.dataBuffer
    pair.run()
    assert pair.taken == pattern(COPIED_BYTES)


@pytest.mark.parametrize(("length", "watched"), [(COPIED_BYTES, 0), (COPIED_BYTES + 1, 1)])
def test_what_is_watched(pair: ConnectionPair, file: FakeFile, length: int, watched: int) -> None:
    """A large body has its file watched until its client has acknowledged the last byte; a small one has not."""
    in_flight = pair.server.in_flight
    pair.server.send_file(file, 0, length)
    pair.stall()
    assert file.holders == watched
    pair.run()
    assert not in_flight.has(pair.server)
    assert (len(in_flight), file.holders) == (0, 0)


@pytest.mark.parametrize("told", [False, True])
def test_a_change_that_was_told(pair: ConnectionPair, file: FakeFile, *, told: bool) -> None:
    """A connection is reset by its owner, or by itself; its client has no clean end."""
    calls: list[object] = []
    if told:
        pair.server.on_file_changed = lambda: calls.append(pair.server.abortConnection())
    seen = result_of(pair.server.send_file(file, 0, 4 * MIB))
    pair.stall()
    pair.server.file_changed()
    pair.run()
    assert pair.was_reset
    assert len(pair.taken) < 4 * MIB
    assert (len(calls), len(seen)) == (int(told), 1)
    assert pair.server.on_file_changed is None


def test_a_change_that_a_sender_notices(pair: ConnectionPair, file: FakeFile) -> None:
    """A sender that notices first has every connection of that file reset, and its own segment says why."""
    seen = result_of(pair.server.send_file(file, 0, 4 * MIB))
    pair.stall()
    change(file)
    pair.run()
    assert pair.was_reset
    assert [type(error) for error in seen] == [ConnectionAborted]
    assert reported(pair) == {"disk.img": 1}


def test_copied_bodies_that_notice(make_pair: Callable[..., ConnectionPair], file: FakeFile) -> None:
    """The first connection that finds its file changed has the others reset too, and one report tells of all."""
    first = make_pair()
    others = [make_pair(like=first) for _ in range(3)]
    seen = [result_of(pair.server.send_file(file, 0, COPIED_BYTES)) for pair in (first, *others)]
    first.stall()
    change(file)
    first.run()
    for pair in others:
        pair.run()
    assert [type(errors[0]) for errors in seen] == [ConnectionAborted] + 3 * [ConnectionLost]
    assert all(pair.was_reset for pair in (first, *others))
    assert reported(first) == {"disk.img": 4}
    assert (len(first.server.in_flight), file.holders) == (0, 0)


def test_shared_and_copied_bytes(make_pair: Callable[..., ConnectionPair], file: FakeFile) -> None:
    """A copy behind shared bytes of the same file does not end their watch: the client has not acknowledged them."""
    wide = make_pair(buffers=256 * KIB)
    wide.server.send_file(file, 0, COPIED_BYTES + 1)
    wide.server.send_file(file, 0, 1)
    wide.turn(20)
    assert not wide.server.unsent
    assert file.holders == 1
    wide.run()
    assert not wide.server.in_flight.has(wide.server)
    assert file.holders == 0


def test_large_responses_have_turns(pair: ConnectionPair) -> None:
    """A response that is not small waits while other streams have had this turn; a small one does not."""
    server = pair.server
    server.fair_queue.spend(TURN_BYTES - 100 * KIB)
    assert server.waits_for_turn(101 * KIB)
    assert not server.waits_for_turn(100 * KIB)
    server.fair_queue.spend(100 * KIB)
    assert server.waits_for_turn(67 * KIB)
    assert not server.waits_for_turn(64 * KIB)


def test_a_response_counts_for_its_turn(make_pair: Callable[..., ConnectionPair]) -> None:
    """What a large response sends at once counts for the turn of all streams; a small one makes turns short."""
    wide = make_pair(buffers=None)
    before = wide.server.fair_queue.left
    assert wide.server.send_now(bytes(100 * KIB)) == 100 * KIB
    assert wide.server.fair_queue.left == before - 100 * KIB
    assert wide.server.send_now(bytes(KIB)) == KIB
    assert wide.server.fair_queue.left == before - 100 * KIB
