"""Files of which bytes are in flight: who is reset when one changes, what is told, and what is left behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest
from tests.streaming.tcp_pair import FakeFile
from tests.streaming.watched_files import FakeWatches, Flights

from aero_storage.streaming.change_reports import REPORT_SECONDS
from aero_storage.streaming.files_in_flight import LOOK_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

RESETS = "file changed in place: connections reset"


def told(flights: Flights) -> list[tuple[str, str, dict[str, Any]]]:
    """Let the time pass in which resets are gathered; return what the log has."""
    flights.clock.advance(REPORT_SECONDS)
    return flights.log.events


@attrs.define(eq=False)
class FakeSender:
    """A connection whose client has acknowledged some bytes."""

    position: int = 0
    resets: int = 0
    asked: int = 0

    def acknowledged(self) -> int:
        self.asked += 1
        return self.position

    def file_changed(self) -> None:
        self.resets += 1


@pytest.fixture
def flights() -> Flights:
    """Files in flight: none."""
    return Flights()


def make_file(tmp_path: Path, descriptor: int = 7, name: str = "disk.img") -> FakeFile:
    return FakeFile(tmp_path, descriptor, name=name)


@pytest.fixture
def file(tmp_path: Path) -> FakeFile:
    """An open file."""
    return make_file(tmp_path)


def look(flights: Flights, times: int = 1) -> None:
    flights.clock.pump([LOOK_SECONDS] * times)


def is_at_rest(flights: Flights, *files: FakeFile) -> bool:
    """Whether nothing is left: no watch, no timer, no file held open."""
    flights.files.reports.stop()
    left = [len(flights.files), flights.watches.watched, flights.clock.getDelayedCalls()]
    return not any(left) and all(file.holders == 0 for file in files)


def test_under_way(flights: Flights, file: FakeFile) -> None:
    """A connection that is being sent to is reset, whatever its client has acknowledged; one line tells of it."""
    sender = FakeSender(1 << 40)
    flights.files.begin(sender, file, shared=True)
    flights.watches.changed(frozenset({7}))
    assert sender.resets == 1
    assert told(flights) == [("warn", RESETS, {"file": "disk.img", "connections": 1})]
    assert is_at_rest(flights, file)


@pytest.mark.parametrize(("acknowledged", "resets"), [(0, 1), (99, 1), (100, 0)])
def test_complete(flights: Flights, file: FakeFile, acknowledged: int, resets: int) -> None:
    """A connection with a complete response is reset until its client has acknowledged the last byte of the file."""
    sender = FakeSender(acknowledged)
    flights.files.begin(sender, file, shared=True)
    flights.files.end(sender, file, 100)
    flights.watches.changed(frozenset({7}))
    assert sender.resets == resets
    assert len(told(flights)) == resets
    assert is_at_rest(flights, file)


def test_one_line_for_a_change(flights: Flights, file: FakeFile, tmp_path: Path) -> None:
    """Connections of one file are counted in one line, also where it is open twice; other files have their own."""
    again, other = make_file(tmp_path, 7), make_file(tmp_path, 8, "other.img")
    senders = [FakeSender() for _ in range(5)]
    for sender, one in zip(senders, [file, file, again, other, other], strict=True):
        flights.files.begin(sender, one, shared=True)
    flights.watches.changed(frozenset({7}))
    assert [sender.resets for sender in senders] == [1, 1, 1, 0, 0]
    assert told(flights) == [("warn", RESETS, {"file": "disk.img", "connections": 3})]
    assert flights.watches.watched == {8}


def test_dropped_events(flights: Flights, file: FakeFile, tmp_path: Path) -> None:
    """If the kernel dropped events, every file in flight may have changed: all connections are reset."""
    other, senders = make_file(tmp_path, 8, "other.img"), [FakeSender(), FakeSender()]
    for sender, one in zip(senders, [file, other], strict=True):
        flights.files.begin(sender, one, shared=True)
    flights.watches.changed(None)
    assert [sender.resets for sender in senders] == [1, 1]
    assert {fields["file"] for _, _, fields in told(flights)} == {"disk.img", "other.img"}
    assert is_at_rest(flights, file, other)


def test_a_change_without_an_event(flights: Flights, file: FakeFile) -> None:
    """A file whose size or mtime has changed is found by the next look, complete response or not."""
    under_way, complete = FakeSender(), FakeSender(99)
    for sender in (under_way, complete):
        flights.files.begin(sender, file, shared=True)
    flights.files.end(complete, file, 100)
    look(flights)
    assert (under_way.resets, complete.resets) == (0, 0)
    file.failure = OSError()
    look(flights)
    assert (under_way.resets, complete.resets) == (1, 1)
    assert is_at_rest(flights, file)


@pytest.mark.parametrize("full", [False, True])
def test_acknowledged(file: FakeFile, *, full: bool) -> None:
    """Once all is acknowledged nothing is watched any more, with a watch and without."""
    flights, sender = Flights(watches=FakeWatches(full=full)), FakeSender()
    flights.files.begin(sender, file, shared=True)
    assert file.holders == 1
    flights.files.end(sender, file, 100)
    look(flights, 3)
    assert len(flights.files) == 1
    sender.position = 100
    look(flights)
    assert is_at_rest(flights, file)


def test_without_a_watch(file: FakeFile) -> None:
    """Where no watch can be had the look finds a change, and the log says so, once a minute."""
    flights, sender = Flights(watches=FakeWatches(full=True)), FakeSender()
    for _ in range(3):
        flights.files.begin(sender, file, shared=True)
        flights.files.leave(sender)
    ((level, message, fields),) = flights.log.events
    assert (level, "cannot be watched" in message) == ("warn", True)
    assert fields == {"file": "disk.img", "reason": "No space left on device", "count": 1}
    flights.files.begin(sender, file, shared=True)
    file.failure = OSError()
    look(flights)
    assert sender.resets == 1


def test_lost(flights: Flights, file: FakeFile) -> None:
    """A connection that is lost leaves nothing behind, and is not reset any more."""
    sender, other = FakeSender(), FakeSender()
    flights.files.begin(sender, file, shared=True)
    flights.files.begin(other, file, shared=True)
    flights.files.leave(sender)
    flights.files.leave(sender)
    flights.watches.changed(frozenset({7}))
    assert (sender.resets, other.resets) == (0, 1)
    flights.files.leave(other)
    assert is_at_rest(flights, file)


def test_the_same_file_again(flights: Flights, file: FakeFile) -> None:
    """A further response from the same file counts anew: the file is watched to the end of the last."""
    sender = FakeSender(100)
    flights.files.begin(sender, file, shared=True)
    flights.files.end(sender, file, 100)
    flights.files.begin(sender, file, shared=True)
    look(flights)
    flights.files.end(sender, file, 200)
    look(flights)
    assert flights.files.has(sender)
    sender.position = 200
    assert not flights.files.has(sender)
    assert is_at_rest(flights, file)


def test_several_files_of_one_connection(flights: Flights, file: FakeFile, tmp_path: Path) -> None:
    """Of pipelined responses each file is watched for itself: one that is acknowledged may change."""
    other, sender = make_file(tmp_path, 8, "other.img"), FakeSender(100)
    flights.files.begin(sender, file, shared=True)
    flights.files.end(sender, file, 100)
    flights.files.begin(sender, other, shared=True)
    flights.files.end(sender, other, 200)
    flights.watches.changed(frozenset({7}))
    assert sender.resets == 0
    flights.watches.changed(frozenset({8}))
    assert sender.resets == 1
    assert is_at_rest(flights, file, other)


def test_files_of_one_watch(flights: Flights, file: FakeFile, tmp_path: Path) -> None:
    """Two open files of one inode share a watch: it stays until both are acknowledged."""
    again, one, two = make_file(tmp_path, 7), FakeSender(), FakeSender()
    flights.files.begin(one, file, shared=True)
    flights.files.begin(two, again, shared=True)
    flights.files.leave(one)
    assert flights.watches.watched == {7}
    flights.files.leave(two)
    assert is_at_rest(flights, file, again)


def test_asks_few_at_a_time(flights: Flights, file: FakeFile) -> None:
    """A look asks a bounded number of connections, and in the end every one."""
    senders = [FakeSender() for _ in range(1000)]
    for sender in senders:
        flights.files.begin(sender, file, shared=True)
        flights.files.end(sender, file, 1)
    look(flights)
    assert sum(sender.asked for sender in senders) < 300
    for sender in senders:
        sender.position = 1
    look(flights, 4)
    assert is_at_rest(flights, file)


def test_streams_under_way_are_not_asked(flights: Flights, file: FakeFile) -> None:
    """A look asks no connection that is being sent to: it would not help."""
    sender = FakeSender()
    flights.files.begin(sender, file, shared=True)
    look(flights, 10)
    assert sender.asked == 0


def test_stopped(flights: Flights, file: FakeFile) -> None:
    """At the end nothing is held and nothing is watched."""
    flights.files.begin(FakeSender(), file, shared=True)
    flights.files.stop()
    assert flights.watches.stopped
    assert is_at_rest(flights, file)


def test_copies_are_known_and_not_watched(flights: Flights, file: FakeFile) -> None:
    """A file of which only copies are sent is neither watched nor looked at; one sender's word resets all."""
    senders = [FakeSender(), FakeSender()]
    for sender in senders:
        flights.files.begin(sender, file, shared=False)
    assert (flights.watches.watched, file.holders, flights.clock.getDelayedCalls()) == (set(), 0, [])
    flights.watches.changed(None)
    assert [sender.resets for sender in senders] == [0, 0]
    assert flights.files.changed(file, senders[0])
    assert [sender.resets for sender in senders] == [1, 1]
    assert told(flights) == [("warn", RESETS, {"file": "disk.img", "connections": 2})]
    assert is_at_rest(flights, file)


def test_copies_behind_shared_bytes(flights: Flights, file: FakeFile) -> None:
    """A copy that has been sent ends no watch of shared bytes before it, and needs none itself."""
    sender = FakeSender()
    flights.files.begin(sender, file, shared=True)
    flights.files.end(sender, file, 100)
    flights.files.begin(sender, file, shared=False)
    flights.files.end(sender, file)
    assert file.holders == 1
    sender.position = 100
    look(flights)
    assert is_at_rest(flights, file)


def test_resets_are_gathered(flights: Flights) -> None:
    """Connections that are reset soon after each other are told of in one line for a file; later ones in another."""
    for number in range(6):
        flights.files.reports.add("disk.img" if number % 2 else "other.img")
    told(flights)
    flights.files.reports.add("disk.img")
    assert [(fields["file"], fields["connections"]) for _, _, fields in told(flights)] == [
        ("other.img", 3),
        ("disk.img", 3),
        ("disk.img", 1),
    ]


def test_what_was_gathered_at_the_end(flights: Flights, file: FakeFile) -> None:
    """Nothing that was gathered is lost when the process ends."""
    flights.files.begin(FakeSender(), file, shared=True)
    flights.watches.changed(frozenset({7}))
    flights.files.stop()
    assert flights.log.events == [("warn", RESETS, {"file": "disk.img", "connections": 1})]
    assert is_at_rest(flights, file)
