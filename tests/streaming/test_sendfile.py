"""The transport that sends files: every byte, in order, at once where it can be, and counted."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from tests.streaming.tcp_pair import KIB, MIB, ConnectionPair, FakeFile, pattern, result_of

from aero_storage.streaming.fair_queue import SHORT_TURN_BYTES, TURN_BYTES


def test_a_file_between_writes(pair: ConnectionPair, file: FakeFile) -> None:
    """What is written before a segment goes before it, what is written after it goes after."""
    pair.server.write(b"before")
    pair.server.writeSequence([b", ", b"then "])
    done = result_of(pair.server.send_file(file, 5, 3 * MIB))
    pair.server.write(b"after")
    pair.server.writeSequence([b" and", b" on"])
    pair.run()
    assert pair.taken == b"before, then " + pattern(3 * MIB, 5) + b"after and on"
    assert done == [None]
    assert not pair.writes


def note(ends: list[int], number: int, _result: object) -> None:
    ends.append(number)


def test_segments_in_a_row(pair: ConnectionPair, file: FakeFile) -> None:
    """Segments go out one after the other, with what is written between them, and each tells of its end."""
    ends: list[int] = []
    expected = b""
    for number in range(5):
        offset, length, word = number * 1000, 300 * KIB + number, b"<%d>" % number
        pair.server.send_file(file, offset, length, b"head").addCallback(partial(note, ends, number))
        pair.server.write(word)
        expected += b"head" + pattern(length, offset) + word
    pair.run()
    assert pair.taken == expected
    assert ends == [0, 1, 2, 3, 4]


def test_done_when_the_kernel_has_the_last_byte(pair: ConnectionPair, file: FakeFile) -> None:
    """A segment is not done while the socket is full, and is when the rest has gone, not sooner or later."""
    done = result_of(pair.server.send_file(file, 0, 2 * MIB))
    drained = result_of(pair.server.when_drained())
    pair.stall()
    assert (done, drained) == ([], [])
    assert 0 < pair.server.unsent < 2 * MIB
    while not done:
        assert pair.server.unsent > 0
        pair.take(50 * KIB)
        pair.turn()
    assert pair.server.unsent == 0
    assert drained == [None]


def test_a_file_goes_at_once(pair: ConnectionPair, file: FakeFile) -> None:
    """Where nothing is queued a segment is sent in the caller's turn, and the reactor is not even asked."""
    done = result_of(pair.server.send_file(file, 100, 10 * KIB, b"head"))
    assert done == [None]
    assert not pair.writes
    pair.take()
    assert pair.taken == b"head" + pattern(10 * KIB, 100)


def test_a_head_that_was_written_goes_at_once_too(pair: ConnectionPair, file: FakeFile) -> None:
    """An ordinary write before a segment does not make that wait for the reactor."""
    pair.server.write(b"head")
    assert pair.writes
    assert result_of(pair.server.send_file(file, 0, KIB)) == [None]
    assert not pair.writes
    pair.take()
    assert pair.taken == b"head" + pattern(KIB)


@pytest.mark.parametrize("written", [True, False])
def test_head_and_file_in_one_packet(pair: ConnectionPair, file: FakeFile, *, written: bool) -> None:
    """A head is held back for the file that follows it at once."""
    if written:
        pair.server.write(b"head")
    pair.server.send_file(file, 0, KIB, b"" if written else b"head")
    pair.take()
    assert len(pair.taken) == 4 + KIB
    assert pair.packets == 1


def test_write_through_goes_at_once(pair: ConnectionPair) -> None:
    """Where nothing is queued bytes are written in the caller's turn, and the reactor is not even asked."""
    pair.server.write_through(b"one")
    pair.server.write_through(bytearray(b"two"))
    assert not pair.writes
    pair.take()
    assert pair.taken == b"onetwo"
    assert pair.server.unsent == 0


def test_write_through_what_does_not_fit(pair: ConnectionPair) -> None:
    """What the socket does not take of a write-through waits in the queue, counted."""
    data = pattern(900 * KIB)
    pair.server.write_through(data)
    assert 0 < pair.server.unsent < len(data)
    assert pair.writes
    pair.server.write_through(b"and more")
    pair.run()
    assert pair.taken == data + b"and more"


@pytest.mark.parametrize("queued", ["write", "segment", "both"])
def test_write_through_overtakes_nothing(pair: ConnectionPair, file: FakeFile, queued: str) -> None:
    """Where something is queued a write-through is a write."""
    expected = b""
    if queued != "segment":
        pair.server.write(b"written")
        expected += b"written"
    if queued != "write":
        pair.server.send_file(file, 0, MIB)
        expected += pattern(MIB)
    pair.server.write_through(b"through")
    pair.run()
    assert pair.taken == expected + b"through"


def test_huge_writes_do_not_go_at_once(pair: ConnectionPair) -> None:
    """More than a turn's worth waits for the reactor, however it is written."""
    data = pattern(TURN_BYTES + 1)
    pair.server.write_through(data)
    assert pair.server.unsent == len(data)
    pair.run()
    assert pair.taken == data


def test_a_large_write_before_a_segment(pair: ConnectionPair, file: FakeFile) -> None:
    """Megabytes of ordinary bytes before a segment are sent in pieces, and before it."""
    data = pattern(3 * MIB + 1)
    pair.server.write(data)
    pair.server.send_file(file, 7, MIB)
    pair.run()
    assert pair.taken == data + pattern(MIB, 7)


@pytest.mark.parametrize("behind", [b"", b"behind"])
def test_nothing_of_a_file(pair: ConnectionPair, file: FakeFile, behind: bytes) -> None:
    """A segment of no bytes is done in its turn and asks nothing of the file."""
    pair.server.write(b"head")
    done = result_of(pair.server.send_file(file, 3, 0))
    pair.server.write(behind)
    pair.run()
    assert pair.taken == b"head" + behind
    assert (done, file.checks) == ([None], 0)


def test_only_bytes(pair: ConnectionPair, file: FakeFile) -> None:
    """Behind a segment, as elsewhere, nothing but bytes can be written."""
    pair.server.send_file(file, 0, MIB)
    for wrong in ("text", 5, None):
        with pytest.raises(TypeError):
            pair.server.write(wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        pair.server.writeSequence([b"fine", "text"])  # type: ignore[list-item]
    pair.run()
    assert pair.taken == pattern(MIB)


def test_pipelined_answers(pair: ConnectionPair, file: FakeFile) -> None:
    """The next answer may be written as soon as one is done, from its callback, and goes out behind it."""
    expected = bytearray()

    def answer(left: int) -> None:
        length = 1 + left * 70 * KIB
        expected.extend(b"head%d" % left + pattern(length, left))
        done = pair.server.send_file(file, left, length, b"head%d" % left)
        done.addCallback(lambda _: answer(left - 1) if left else pair.server.write(b"last"))

    answer(12)
    pair.run()
    assert pair.taken == expected + b"last"


def test_write_through_from_a_callback(pair: ConnectionPair, file: FakeFile) -> None:
    """What is written through when a segment is done goes behind it and behind what was written after it."""
    pair.server.send_file(file, 0, MIB).addCallback(lambda _: pair.server.write_through(b"through"))
    pair.server.write(b"behind ")
    pair.run()
    assert pair.taken == pattern(MIB) + b"behind through"


def test_unsent_is_exact(pair: ConnectionPair, file: FakeFile) -> None:
    """At every moment the bytes that came to the peer and those that are unsent are all that were written."""
    total = 2 * MIB + 600
    pair.server.write(bytes(200))
    pair.server.send_file(file, 0, MIB)
    pair.server.write(bytes(300))
    pair.server.send_file(file, 0, MIB, bytes(100))
    while pair.server.unsent:
        pair.stall()
        while pair.take():
            pass
        assert len(pair.taken) == total - pair.server.unsent
    assert len(pair.taken) == total


def test_one_turn_each(
    make_pair: Callable[..., ConnectionPair], file: FakeFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No connection sends more than a turn's worth before the others have had theirs, whatever its socket takes."""
    turns: list[tuple[int, int]] = []

    def all_went(out: int, _file: int, _offset: int, count: int) -> int:
        turns.append((out, count))
        return count

    monkeypatch.setattr(os, "sendfile", all_went)
    pairs = [make_pair() for _ in range(3)]
    for pair in pairs:
        for _ in range(4):
            pair.server.send_file(file, 0, MIB + 5)
    while any(pair.server.unsent for pair in pairs):
        turns.append((-1, 0))
        pairs[0].turn()
    totals: dict[int, int] = {}
    for out, count in [*turns, (-1, 0)]:
        if out == -1:
            assert all(total <= TURN_BYTES for total in totals.values())
            totals = {}
        totals[out] = totals.get(out, 0) + count


def test_pipelined_requests_share_a_turn(
    pair: ConnectionPair, file: FakeFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers that are sent at once, one after the other, take no more of one turn than a single one may."""
    sent: list[int] = []

    def all_went(_out: int, _file: int, _offset: int, count: int) -> int:
        sent.append(count)
        return count

    monkeypatch.setattr(os, "sendfile", all_went)
    for _ in range(10):
        pair.server.send_file(file, 0, 300 * KIB)
    assert sum(sent) == TURN_BYTES
    pair.turn(6)
    assert sum(sent) == 3000 * KIB


def test_a_new_request_is_a_new_turn(pair: ConnectionPair, file: FakeFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a turn's worth is sent the next answer waits for the reactor, unless a new request has come since."""
    monkeypatch.setattr(os, "sendfile", lambda _out, _file, _offset, count: count)
    monkeypatch.setattr("tests.streaming.watched_files.COPIED_BYTES", 0)
    pair.server.send_file(file, 0, TURN_BYTES)
    pair.server.write_through(b"too much")
    assert pair.server.unsent == len(b"too much")
    pair.turn()
    for _ in range(3):
        pair.peer.send(b"a request")
        pair.turn()
        pair.server.send_file(file, 0, SHORT_TURN_BYTES)
        assert pair.server.unsent == 0
        assert not pair.writes


def test_interrupted_by_signals(pair: ConnectionPair, file: FakeFile) -> None:
    """Signals in the middle of system calls lose and repeat nothing."""
    hits: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, _frame: hits.append(number))
    signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
    try:
        while len(hits) < 50:
            pair.server.write(b"head")
            pair.server.send_file(file, 0, 8 * MIB)
            while pair.server.unsent:
                pair.turn()
                pair.take()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    pair.run()
    assert pair.taken == (b"head" + pattern(8 * MIB)) * (len(pair.taken) // (4 + 8 * MIB))


@pytest.mark.parametrize("call", ["send", "sendfile"])
def test_full_in_any_place(pair: ConnectionPair, file: FakeFile, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """A socket that says EAGAIN, at the head or in the file, is asked again, and nothing is lost or doubled."""
    refusals = [True, False, True, True, False, True]
    real = os.sendfile

    def sendfile(*arguments: int) -> int:
        if refusals and refusals.pop(0):
            raise BlockingIOError
        return real(*arguments)

    if call == "sendfile":
        monkeypatch.setattr(os, "sendfile", sendfile)
    else:
        pair.server.write(pattern(500 * KIB))  # more than the socket takes
        pair.turn()
    head = b"" if call == "sendfile" else pattern(500 * KIB)
    pair.server.send_file(file, 0, MIB, b"head")
    pair.server.write(b"tail")
    pair.run()
    assert pair.taken == head + b"head" + pattern(MIB) + b"tail"


def test_a_stalled_stream_holds_no_bytes(pair: ConnectionPair, file: FakeFile) -> None:
    """While the peer does not read nothing of the file is in memory of ours, and nothing spins."""
    pair.server.send_file(file, 0, 8 * MIB, b"head")
    pair.stall()
    assert (len(pair.server.dataBuffer), pair.server._tempDataLen) == (0, 0)  # noqa: SLF001
    calls = file.checks
    pair.turn(50)
    assert file.checks == calls


def test_not_below_tls(pair: ConnectionPair, file: FakeFile) -> None:
    """Where TLS was started on the connection no file can go out, and none that is queued is overtaken by it."""
    pair.server.send_file(file, 0, MIB)
    with pytest.raises(RuntimeError):
        pair.server.startTLS(None)
    pair.run()
    secured: Any = pair.server
    secured.TLS = True
    with pytest.raises(RuntimeError):
        pair.server.send_file(file, 0, MIB)
    secured.TLS = False
    assert pair.taken == pattern(MIB)
