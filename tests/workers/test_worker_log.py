"""What comes out of a worker, into the parent's log."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.command_output import TextSink
from twisted.internet.task import Clock

from aero_storage.logs.json_log import JsonLines
from aero_storage.workers.worker_log import WorkerLog, WorkerOutput

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@attrs.define(eq=False)
class Log:
    """Keeps lines and events in the order in which they come."""

    kept: list[Any] = attrs.field(factory=list)

    def event(self, level: str, message: str, fields: Mapping[str, object] = {}) -> None:
        self.kept.append((level, message, dict(fields)))

    def pass_on(self, lines: Sequence[str]) -> None:
        self.kept += lines


def logged(*messages: str) -> bytes:
    """What a worker's log makes of messages."""
    sink = TextSink()
    log = JsonLines(sink, "info", constant={"worker": 1})
    for message in messages:
        log.event("info", message)
    return sink.text.encode()


@pytest.fixture
def log() -> Log:
    return Log()


MESSAGES = st.builds(str.__mul__, st.text(max_size=30), st.sampled_from([1, 300]))


@given(st.lists(MESSAGES, min_size=1, max_size=5), st.integers(1, 9000))
def test_lines_as_they_are(messages: list[str], size: int) -> None:
    """TextSink of any length come through to the byte and in order, however they are cut on the way."""
    log, whole = Log(), logged(*messages)
    relay = WorkerLog(1, log)
    for start in range(0, len(whole), size):
        relay.take(whole[start : start + size])
    assert "".join(log.kept).encode() == whole
    assert [json.loads(line)["message"] for line in log.kept] == messages


FOREIGN = [
    b"",
    b"hello",
    b'{"level": "info"}',
    b'{"timestamp": "2026-',
    b'"timestamp": "2026"}',
    b"\xff\xfe",
    b'{"timestamp": "\xff"}',
    b"x" * 100_000,
]


@pytest.mark.parametrize("foreign", FOREIGN)
def test_foreign_lines(log: Log, foreign: bytes) -> None:
    """What is no line of ours becomes an event with its text, and the lines around it are untouched."""
    one, two = logged("one"), logged("two")
    WorkerLog(7, log).take(one + foreign + b"\n" + two)
    lines = [entry for entry in log.kept if isinstance(entry, str)]
    ((level, _, fields),) = [entry for entry in log.kept if not isinstance(entry, str)]
    assert "".join(lines).encode() == one + two
    assert (level, fields["child"]) == ("error", 7)
    assert fields["text"] == foreign[:4096].decode("utf-8", "replace")


def test_killed_in_a_line(log: Log) -> None:
    """The line that a kill cuts off is told as broken, not as a line."""
    relay = WorkerLog(1, log)
    one, two = logged("one"), logged("two")
    relay.take(one + two[:-5])
    relay.finish()
    assert log.kept[0].encode() == one
    assert log.kept[1][2] == {"child": 1, "text": two[:-5].decode()}
    assert len(log.kept) == 2


def test_killed_before_the_end_of_a_line(log: Log) -> None:
    """A line that lacks but its end is whole, and so is the log of a worker that ends well."""
    relay, line = WorkerLog(1, log), logged("one")
    relay.take(line[:-1])
    relay.finish()
    relay.finish()
    assert "".join(log.kept).encode() == line


def test_a_line_without_end(log: Log) -> None:
    """A line that never ends takes bounded memory."""
    relay = WorkerLog(1, log)
    for _ in range(40):
        relay.take(b"x" * 65536)
    assert len(log.kept) == 2
    assert all(len(fields["text"]) == 4096 for _, _, fields in log.kept)


def printed(log: Log) -> str:
    return "".join(fields["text"] for _, _, fields in log.kept)


def test_a_crash(log: Log) -> None:
    """What a worker prints in one go, a traceback say, is one event, soon after."""
    clock = Clock()
    stream = WorkerOutput(2, log, clock)
    for part in (b"Traceback\n", b"  File x\n", b"ValueError: \xc3\xa4\n"):
        stream.take(part)
    assert log.kept == []
    clock.advance(0.3)
    expected = ("error", "a worker printed", {"child": 2, "text": "Traceback\n  File x\nValueError: ä"})
    assert log.kept == [expected]
    stream.take(b"more")
    stream.finish()
    assert printed(log).endswith("more")
    assert clock.getDelayedCalls() == []


def test_crash_and_end(log: Log) -> None:
    """With the end of the worker all is told at once, and nothing is left running."""
    clock = Clock()
    stream = WorkerOutput(2, log, clock)
    stream.finish()
    stream.take(b"bye")
    stream.finish()
    assert printed(log) == "bye"
    assert clock.getDelayedCalls() == []


def test_empty_lines(log: Log) -> None:
    """Empty lines are nothing to tell."""
    stream = WorkerOutput(2, log, Clock())
    stream.take(b"\n \n")
    stream.finish()
    assert log.kept == []


def test_a_flood(log: Log) -> None:
    """A worker that prints without end takes bounded memory, and loses nothing."""
    stream = WorkerOutput(2, log, Clock())
    for _ in range(10):
        stream.take(b"x" * 10_000)
    stream.finish()
    assert printed(log) == "x" * 100_000
    assert all(len(fields["text"]) <= 4096 for _, _, fields in log.kept)
