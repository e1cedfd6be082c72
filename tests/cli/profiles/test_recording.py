"""Recording the next sessions: a log that grows, is rotated and truncated, and a clock."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
from tests.profiles.log import EPOCH, VERSION, ask, read

from aero_storage.cli.log_tail import BEFORE_BYTES, LogTail
from aero_storage.cli.profile_recording import Recording
from aero_storage.errors import OperatorError
from aero_storage.profiles.learning import Learner, LearningRules, learning
from aero_storage.profiles.log_lines import LogReader

UNIT = 65536


@attrs.define
class Written:
    """Lines that are written at times, in seconds after the start, and a clock that waits at once."""

    lines: list[tuple[float, bytes]]
    time: float = 0.0

    def now(self) -> float:
        return EPOCH + self.time

    def wait(self, seconds: float) -> None:
        self.time += seconds

    def new(self) -> list[bytes]:
        found = [one for at, one in self.lines if at <= self.time]
        self.lines = [(at, one) for at, one in self.lines if at > self.time]
        return found


def record(written: Written, learner: Learner, wanted: int = 1, seconds: float = 600) -> list[float]:
    """Record, and return the begins of the sessions, in seconds after the start."""
    found = Recording(learner, written.new, wanted, lambda _: None, EPOCH, written.now, written.wait).sessions(
        seconds
    )
    return [one.began / 10**6 - EPOCH for one in found]


@pytest.fixture
def learner() -> Iterator[Learner]:
    with learning(LogReader("win98", VERSION), "boot", 1 << 30, LearningRules(seconds=5)) as one:
        yield one


def test_the_next_session_is_recorded_to_the_end_of_its_first_seconds(learner: Learner) -> None:
    """What was written before the start tells which sessions are under way; the line of a read comes at its end."""
    learner.take(read(-5, 3 * UNIT))
    written = Written(
        [
            (1, read(1, 0)),  # of a session that is under way
            (3, read(3, 0, client="192.0.2.2")),
            (4, read(4, UNIT * 9, client="192.0.2.2")),
            (9, read(7, UNIT * 20, latency=2, client="192.0.2.2")),
            (20, read(20, 0, client="192.0.2.3")),
        ]
    )
    assert record(written, learner) == [3]
    assert written.time == pytest.approx(10, abs=0.5)
    profile = learner.profile(learner.sessions())
    assert profile is not None
    assert [(one.start, one.milliseconds) for one in profile.ranges] == [(0, 0), (9, 1000), (20, 4000)]


def test_sessions_with_a_profile_are_waited_out(learner: Learner) -> None:
    """A session that fetches the profile counts for nothing, also if it does so later."""
    written = Written(
        [
            (1, read(1, 0)),
            (2, ask(2)),
            (30, read(30, 0, client="192.0.2.2")),
            (40, read(40, 0, client="192.0.2.3")),
            (50, read(50, 0, client="192.0.2.4")),
        ]
    )
    assert record(written, learner, wanted=2) == [30, 40]
    assert written.time == pytest.approx(47, abs=0.5)


def test_the_wait_has_an_end(learner: Learner) -> None:
    """When the time is over, the sessions that have begun are taken."""
    assert record(Written([]), learner, seconds=60) == []
    written = Written([(10, read(10, 0))])
    assert record(written, learner, wanted=3, seconds=60) == [10]
    assert written.time == pytest.approx(60, abs=0.5)


def test_a_log_is_followed_across_rotations(tmp_path: Path) -> None:
    """Nothing is lost when the file is renamed or truncated, and no part of a line is taken for one."""
    path = tmp_path / "current"
    path.write_bytes(b"one\ntw")
    with contextlib.closing(LogTail(path)) as tail:
        assert [*tail.lines()] == [b"one"]
        with path.open("ab") as file:
            file.write(b"o\nthree\n")
        path.rename(tmp_path / "old")
        assert [*tail.lines()] == [b"two", b"three"]
        assert [*tail.lines()] == []
        with (tmp_path / "old").open("ab") as file:
            file.write(b"four\n")
        path.write_bytes(b"five\n")
        assert [*tail.lines()] == [b"four", b"five"]
        path.write_bytes(b"")
        assert [*tail.lines()] == []
        path.write_bytes(b"six\n")
        assert [*tail.lines()] == [b"six"]


def test_what_comes_late_to_a_rotated_log_is_read(tmp_path: Path) -> None:
    """The daemon writes to the old file until it is told of the new one, also the end of a line."""
    path, old = tmp_path / "current", tmp_path / "old"
    path.write_bytes(b"on")
    descriptors = len([*Path("/proc/self/fd").iterdir()])
    with contextlib.closing(LogTail(path)) as tail:
        assert [*tail.lines()] == []
        for number in (b"1", b"2", b"3"):
            path.rename(old)
            path.write_bytes(b"new" + number + b"\non")
            assert [*tail.lines()] == [b"new" + number]
            with old.open("ab") as file:
                file.write(b"e" + number + b"\n")
            assert [*tail.lines()] == [b"one" + number]
    assert len([*Path("/proc/self/fd").iterdir()]) == descriptors


def test_of_a_long_log_the_end_is_read(tmp_path: Path) -> None:
    """What was written long before says nothing of what comes."""
    path = tmp_path / "current"
    with path.open("wb") as file:
        file.write(b"first\n")
        file.seek(BEFORE_BYTES)
        file.write(b"\nlast\n")
    with contextlib.closing(LogTail(path)) as tail:
        assert [*tail.lines()] == [b"last"]


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """A directory or a pipe has no end to go on from."""
    with pytest.raises(OperatorError, match="no regular file"):
        LogTail(tmp_path)
