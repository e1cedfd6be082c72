"""JSON lines: what they say, and that a log which cannot be written never holds the reactor."""

from __future__ import annotations

import io
import json
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random
from typing import NoReturn

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, LogPublisher, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer
from zope.interface.verify import verifyObject

from aero_storage.logs import json_log
from aero_storage.logs.json_lines import quote, timestamp
from aero_storage.logs.json_log import LEVELS, DescriptorSink, JsonLines, TwistedLog, make_form

HANG = 10
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")

Record = dict[str, object]


@attrs.define(eq=False)
class MemorySink:
    """Keeps what is flushed, and can be made to hang or to fail."""

    text: str = ""
    errors: list[Exception | None] = attrs.field(factory=list)
    """What becomes of the next writes, one each: raised, or None for one that succeeds."""
    open: threading.Event = attrs.field(factory=threading.Event)
    entered: threading.Semaphore = attrs.field(factory=lambda: threading.Semaphore(0))
    writers: set[str] = attrs.field(factory=set)
    _unflushed: str = attrs.field(init=False, default="")

    def __attrs_post_init__(self) -> None:
        self.open.set()

    def write(self, text: str, /) -> None:
        self.entered.release()
        assert self.open.wait(HANG)
        self.writers.add(threading.current_thread().name)
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error
        self._unflushed += text

    def flush(self) -> None:
        self.text, self._unflushed = self.text + self._unflushed, ""

    @property
    def records(self) -> list[Record]:
        assert not self.text or self.text.endswith("\n")
        return [json.loads(line) for line in self.text.splitlines()]

    @property
    def messages(self) -> list[object]:
        return [record["message"] for record in self.records]


@implementer(ILogObserver)
@attrs.define(eq=False)
class Observer:
    """Another observer, which an operator has brought."""

    events: list[LogEvent] = attrs.field(factory=list)

    def __call__(self, event: LogEvent) -> None:
        self.events.append(event)


@pytest.fixture
def sink() -> MemorySink:
    return MemorySink()


@pytest.fixture
def log(sink: MemorySink) -> JsonLines:
    return JsonLines(sink, "info")


@pytest.fixture
def small_log(sink: MemorySink) -> Iterator[JsonLines]:
    """Give a log with room for three lines, whose thread runs and is ended with the test."""
    small = JsonLines(sink, "info", max_queued=3)
    small.start()
    yield small
    sink.open.set()
    small.stop()


@pytest.fixture
def publish(log: JsonLines) -> Logger:
    """Return a logger of Twisted's that the log observes."""
    return Logger(namespace="test", observer=LogPublisher(log))


# What a line says


def test_event(log: JsonLines, sink: MemorySink) -> None:
    """An event is one line of JSON: time, level, message, and its fields."""
    log.event("info", "request complete", {"status": 206, "image_id": "disk.img", "latency_seconds": 0.25})
    (record,) = sink.records
    moment = record.pop("timestamp")
    assert record == {
        "level": "info",
        "message": "request complete",
        "status": 206,
        "image_id": "disk.img",
        "latency_seconds": 0.25,
    }
    assert isinstance(moment, str)
    assert RFC3339.fullmatch(moment)
    assert abs(datetime.now().astimezone() - datetime.fromisoformat(moment)) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (1_700_000_000.5, "2023-11-14T22:13:20.500Z"),
        (1_700_000_000, "2023-11-14T22:13:20.000Z"),
    ],
)
def test_timestamp(seconds: float, text: str) -> None:
    """Times are RFC 3339 in UTC, always with milliseconds."""
    assert timestamp(seconds) == text


@pytest.mark.parametrize("text", ["a\nb", "a\r\nb", "\u2028", "\x00\x1b[31m", "\ud800", "ä€😀", '"\\'])
def test_one_line_each(log: JsonLines, sink: MemorySink, text: str) -> None:
    """Whatever a text holds, its event is one line, of ASCII, and reads back as it was."""
    log.event("info", text, {"path": text})
    assert sink.text.count("\n") == 1
    assert sink.text.isascii()
    (record,) = sink.records
    assert (record["message"], record["path"]) == (text, text)


def test_fields_that_are_no_json(log: JsonLines, sink: MemorySink) -> None:
    """A field that JSON cannot hold is shown somehow, and never raises."""
    log.event("info", "odd", {"value": {1, 2}, "error": OSError("x")})
    assert sink.records[0]["value"] == "{1, 2}"


@pytest.mark.parametrize("threshold", LEVELS)
@pytest.mark.parametrize("level", LEVELS)
def test_levels(sink: MemorySink, level: str, threshold: str) -> None:
    """Only events of the chosen level and of graver ones are written: ours and Twisted's alike."""
    log = JsonLines(sink, threshold)
    log.event(level, "ours")
    Logger(namespace="t", observer=log).emit(LogLevel.levelWithName(level), "Twisted's")
    shown = LEVELS.index(level) >= LEVELS.index(threshold)
    assert sink.messages == (["ours", "Twisted's"] if shown else [])
    assert {record["level"] for record in sink.records} <= {level}


def test_default_level(log: JsonLines, sink: MemorySink) -> None:
    """Unless told otherwise, info is shown and debug is not."""
    log.event("debug", "hidden")
    log.event("info", "shown")
    assert sink.messages == ["shown"]


def test_observer(log: JsonLines) -> None:
    """The log is an observer as Twisted understands it."""
    assert verifyObject(ILogObserver, log)


def test_twisted_events(publish: Logger, sink: MemorySink) -> None:
    """An event of Twisted's is formatted, and keeps its level."""
    publish.warn("{count} of {what}", count=3, what="them")
    (record,) = sink.records
    assert (record["level"], record["message"]) == ("warn", "3 of them")


def test_twisted_event_time(log: JsonLines, sink: MemorySink) -> None:
    """The time of an event of Twisted's is when it happened."""
    event: LogEvent = {"log_format": "x", "log_time": 1_700_000_000.25, "log_level": LogLevel.info}
    log(event)
    assert sink.records[0]["timestamp"] == "2023-11-14T22:13:20.250Z"


def fail(error: Exception) -> NoReturn:
    raise error


def test_twisted_failures(publish: Logger, sink: MemorySink) -> None:
    """A failure in an event of Twisted's is written with its traceback, in the same line."""
    try:
        fail(ZeroDivisionError("by nought"))
    except ZeroDivisionError:
        publish.failure("it failed", Failure())
    (record,) = sink.records
    assert (record["level"], record["message"]) == ("critical", "it failed")
    assert "ZeroDivisionError: by nought" in str(record["traceback"])


def test_no_endless_lines(publish: Logger, sink: MemorySink) -> None:
    """Messages and tracebacks of others are cut: of a traceback the end is what matters."""
    publish.info("{text}", text="x" * 100_000)
    try:
        fail(ValueError("y" * 100_000 + " the end".upper()))
    except ValueError:
        publish.failure("failed")
    assert all(len(line) < 10_000 for line in sink.text.splitlines())
    assert "y THE END" in str(sink.records[1]["traceback"])


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("not me")

    __repr__ = __str__


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"log_format": "{missing}"},
        {"log_format": "{odd}", "odd": Unprintable()},
        {"log_format": "bytes: {raw!r}", "raw": b"\xff"},
        {"log_format": b"\xff"},
        {"log_format": "{broken"},
        {"message": ("old", "style"), "isError": 0},
    ],
)
def test_odd_twisted_events(log: JsonLines, sink: MemorySink, event: LogEvent) -> None:
    """An event of whatever shape becomes one line and raises nothing."""
    log(event)
    assert len(sink.records) == 1


@pytest.mark.parametrize("publishing", [False, True], ids=["ours", "Twisted's"])
def test_constant_fields(sink: MemorySink, *, publishing: bool) -> None:
    """What a log is told to say of itself is in every line, its own reports included."""
    log = JsonLines(sink, "info", constant={"worker": 2})
    if publishing:
        Logger(namespace="t", observer=log).info("hello")
    else:
        log.event("info", "hello", {"status": 200})
    sink.errors = [OSError("full")]
    log.event("info", "lost")
    log.event("info", "kept")
    assert sink.messages == ["hello", "kept", "log lines dropped"]
    assert [record["worker"] for record in sink.records] == [2, 2, 2]


# Lines of other processes

LINE = '{"timestamp": "2026-01-01T00:00:00.000Z", "level": "debug", "message": "hello", "worker": 1, "status": 206}\n'


def test_passed_on(log: JsonLines, sink: MemorySink) -> None:
    """Lines of another process are written as they are, at once or by the thread, whatever our own level."""
    log.pass_on([LINE])
    log.start()
    log.pass_on([LINE, LINE])
    log.stop()
    log.pass_on([LINE])
    assert sink.text == LINE * 4


def test_too_many_to_pass_on(small_log: JsonLines, sink: MemorySink) -> None:
    """Lines passed on find the same bounded queue: what has no room is dropped, counted and reported."""
    sink.open.clear()
    small_log.event("info", "hanging")
    assert sink.entered.acquire(timeout=HANG)
    small_log.pass_on([LINE] * 10)
    sink.open.set()
    small_log.stop()
    assert sink.messages.count("hello") == 3
    assert sink.records[-1]["count"] == 7


def test_passed_on_to_twisted() -> None:
    """Under another observer the lines of another process become events with level, message and fields."""
    observer = Observer()
    TwistedLog(Logger(namespace="n", observer=observer)).pass_on([LINE])
    (event,) = observer.events
    assert event["log_level"] is LogLevel.debug
    text = event["log_format"].format(**event)
    assert text.startswith("hello ")
    assert '"worker": 1' in text
    assert '"status": 206' in text


# Twisted's own log


def test_handed_to_twisted() -> None:
    """Under another observer an event arrives with level, message and fields."""
    observer = Observer()
    TwistedLog(Logger(namespace="n", observer=observer)).event("warn", "with {braces}", {"status": 206})
    (event,) = observer.events
    assert event["log_level"] is LogLevel.warn
    assert event["log_format"].format(**event) == 'with {braces} {"status": 206}'


def test_handed_to_twisted_by_default() -> None:
    """Without a logger of its own it uses Twisted's global log, under the package's name."""
    observer = Observer()
    globalLogPublisher.addObserver(observer)
    try:
        TwistedLog().event("info", "hello")
    finally:
        globalLogPublisher.removeObserver(observer)
    assert [event["log_namespace"] for event in observer.events] == ["aero_storage"]


# The thread


def test_before_start(log: JsonLines, sink: MemorySink) -> None:
    """Until the thread is started, lines are written at once, by who logs them."""
    log.event("info", "early")
    assert sink.messages == ["early"]
    assert sink.writers == {threading.current_thread().name}


def test_started(log: JsonLines, sink: MemorySink) -> None:
    """Once started, lines are written by a thread, in order; stop waits for all of them and ends the thread."""
    before = threading.active_count()
    log.start()
    for number in range(1000):
        log.event("info", "line", {"number": number})
    log.stop()
    assert [record["number"] for record in sink.records] == list(range(1000))
    assert threading.current_thread().name not in sink.writers
    assert threading.active_count() == before


def test_thread_writes_without_stop(log: JsonLines, sink: MemorySink) -> None:
    """The thread writes a line as soon as there is one: it waits neither for more nor for the end."""
    log.start()
    try:
        for _ in range(3):
            log.event("info", "line")
            assert sink.entered.acquire(timeout=HANG)
    finally:
        log.stop()


def test_after_stop(log: JsonLines, sink: MemorySink) -> None:
    """After stop, lines are written at once again."""
    log.start()
    log.event("info", "one")
    log.stop()
    log.event("info", "two")
    assert sink.messages == ["one", "two"]


def test_stop_without_start(log: JsonLines, sink: MemorySink) -> None:
    """To stop what was never started, or twice, does nothing."""
    log.stop()
    log.start()
    log.stop()
    log.stop()
    log.event("info", "still here")
    assert sink.messages == ["still here"]


def test_start_again(log: JsonLines, sink: MemorySink) -> None:
    """A log that was stopped can be started again."""
    for message in ("one", "two"):
        log.start()
        log.event("info", message)
        log.stop()
    assert sink.messages == ["one", "two"]


def test_line_that_comes_while_the_thread_ends(
    log: JsonLines, sink: MemorySink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line that another thread logs just after the writer has ended, and before stop returns, is not lost."""
    log.start()
    join = threading.Thread.join

    def join_and_be_late(thread: threading.Thread, timeout: float | None = None) -> None:
        join(thread, timeout)
        if thread.name == "log":
            log.event("info", "late")

    monkeypatch.setattr(threading.Thread, "join", join_and_be_late)
    log.stop()
    assert sink.messages == ["late"]


def test_thread_is_no_obstacle(log: JsonLines) -> None:
    """The thread is a daemon: a process that dies without stop does not hang on it."""
    before = set(threading.enumerate())
    log.start()
    (writer,) = set(threading.enumerate()) - before
    log.stop()
    assert writer.daemon


def test_events_from_many_threads(log: JsonLines, sink: MemorySink) -> None:
    """Lines logged by many threads at once are all there, whole."""
    log.start()

    def talk(name: int) -> None:
        for number in range(200):
            log.event("info", "line", {"name": name, "number": number})

    talkers = [threading.Thread(target=talk, args=(name,)) for name in range(5)]
    for talker in talkers:
        talker.start()
    for talker in talkers:
        talker.join(HANG)
    log.stop()
    assert len(sink.records) == 1000
    for name in range(5):
        own = [record["number"] for record in sink.records if record["name"] == name]
        assert own == list(range(200))


def test_errand(log: JsonLines, sink: MemorySink) -> None:
    """An errand, a rotation say, is done once, by the thread that writes, before the next line is written."""
    done: list[tuple[str, str]] = []
    log.event("info", "before")
    log.start()
    log.before_next_write(lambda: done.append((threading.current_thread().name, sink.text)))
    assert done == []
    log.event("info", "after")
    log.stop()
    log.event("info", "later")
    ((thread, text),) = done
    assert thread != threading.current_thread().name
    assert text.count("\n") == 1
    assert sink.messages == ["before", "after", "later"]


@attrs.define(eq=False)
class CountingSink:
    """Counts lines, and tells who waits for them."""

    lines: int = 0
    changed: threading.Condition = attrs.field(factory=threading.Condition)

    def write(self, text: str, /) -> None:
        with self.changed:
            self.lines += text.count("\n")
            self.changed.notify()

    def flush(self) -> None:
        pass


def test_no_line_waits_for_the_next() -> None:
    """A form takes no lock: whoever else logs at the same moment, the writer is told of each line."""
    sink = CountingSink()
    log = JsonLines(sink, "info")
    put = make_form(log, "info", "fast", {"n": None}, {"n": "%s"})
    rounds, started, ended = 150, threading.Barrier(2), threading.Barrier(2)

    def others() -> None:
        for number in range(rounds):
            started.wait(HANG)
            log.event("info", "slow", {"n": number})
            ended.wait(HANG)

    thread = threading.Thread(target=others)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    log.start()
    thread.start()
    try:
        for number in range(rounds):
            started.wait(HANG)
            put(str(number))
            ended.wait(HANG)
            with sink.changed:
                assert sink.changed.wait_for(lambda: sink.lines == 2 * number + 2, HANG), "a line waits"  # noqa: B023
    finally:
        sys.setswitchinterval(interval)
        thread.join(HANG)
        log.stop()


def test_what_the_collector_frees_may_log(log: JsonLines, sink: MemorySink) -> None:
    """A failed Deferred logs when it is freed, wherever its thread is just then: also where the log is locked."""

    def log_twice() -> None:
        with log._wake:  # noqa: SLF001 - no other way to be there at the moment
            log.event("info", "freed")
        log.event("info", "then")

    log.start()
    thread = threading.Thread(target=log_twice, daemon=True)
    thread.start()
    thread.join(HANG)
    assert not thread.is_alive()
    log.stop()
    assert sink.messages == ["freed", "then"]


def test_a_line_of_which_nobody_told_is_found(log: JsonLines, sink: MemorySink) -> None:
    """The writer looks once a second: a line that is logged in its own thread just before it waits wakes nobody."""
    log.start()
    try:
        time.sleep(0.05)  # it waits
        log._queue.append('{"message": "alone"}\n')  # noqa: SLF001
        assert sink.entered.acquire(timeout=HANG)
    finally:
        log.stop()
    assert sink.messages == ["alone"]


def test_errand_without_a_thread(log: JsonLines, sink: MemorySink) -> None:
    """Where there is no thread, an errand is done by who logs next."""
    done: list[str] = []
    log.before_next_write(lambda: done.append(sink.text))
    for _ in range(2):
        log.event("info", "line")
    assert done == [""]


def test_errand_that_fails(log: JsonLines, sink: MemorySink) -> None:
    """An errand that fails ends neither the thread nor the log, and no line is lost without a word."""

    def rotate() -> None:
        raise PermissionError("the directory is not ours")

    log.start()
    log.before_next_write(rotate)
    log.event("info", "one")
    log.stop()
    log.event("info", "two")
    assert sink.messages == ["log rotation failed", "one", "two"]


# A sink that does not take it


def test_blocked_sink(small_log: JsonLines, sink: MemorySink) -> None:
    """While the sink hangs, logging goes on at once; what finds no room is dropped, counted and reported later."""
    sink.open.clear()
    small_log.event("info", "hanging")
    assert sink.entered.acquire(timeout=HANG)
    for number in range(8):
        small_log.event("info", f"queued {number}")
    assert sink.records == []
    sink.open.set()
    small_log.stop()
    assert sink.messages == ["hanging", "queued 0", "queued 1", "queued 2", "log lines dropped"]
    report = sink.records[-1]
    assert (report["level"], report["count"], small_log.dropped) == ("warn", 5, 5)
    assert RFC3339.fullmatch(str(report["timestamp"]))


def test_drops_are_reported_once(small_log: JsonLines, sink: MemorySink) -> None:
    """Lines that were dropped are reported once, and later ones go through as ever."""
    sink.open.clear()
    small_log.event("info", "hanging")
    assert sink.entered.acquire(timeout=HANG)
    for number in range(4):
        small_log.event("info", f"queued {number}")
    sink.open.set()
    assert sink.entered.acquire(timeout=HANG)
    small_log.event("info", "later")
    small_log.stop()
    assert sink.messages.count("log lines dropped") == 1
    assert "later" in sink.messages
    assert [record["count"] for record in sink.records if "count" in record] == [1]


def test_stuck_sink_at_stop(log: JsonLines, sink: MemorySink, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sink that hangs for good delays stop by a bounded time, and nothing logged afterwards hangs either."""
    monkeypatch.setattr(json_log, "_FLUSH_SECONDS", 0.05)
    log.start()
    sink.open.clear()
    log.event("info", "hanging")
    assert sink.entered.acquire(timeout=HANG)
    log.stop()
    log.event("info", "after")
    log.stop()
    assert sink.records == []
    sink.open.set()


def test_default_room() -> None:
    """The queue is bounded, and has room for a burst."""
    sink = MemorySink()
    log = JsonLines(sink, "info")
    log.start()
    sink.open.clear()
    log.event("info", "hanging")
    assert sink.entered.acquire(timeout=HANG)
    for _ in range(12_000):
        log.event("info", "burst")
    sink.open.set()
    log.stop()
    (report,) = [record for record in sink.records if record["message"] == "log lines dropped"]
    assert report["count"] == 2_000


@pytest.mark.parametrize("error", [OSError("no space left"), BrokenPipeError(), ValueError("closed file")])
def test_sink_that_fails(log: JsonLines, sink: MemorySink, error: Exception) -> None:
    """A sink that fails raises nothing into the daemon, before start, in the thread, and after stop."""
    sink.errors = [error]
    log.event("info", "lost")
    log.start()
    log.event("info", "kept")
    log.stop()
    sink.errors = [error]
    log.event("info", "lost too")
    assert [message for message in sink.messages if message != "log lines dropped"] == ["kept"]


def test_failed_lines_are_counted(log: JsonLines, sink: MemorySink) -> None:
    """Lines that the sink refused are counted like dropped ones, and reported when it works again."""
    log.start()
    sink.errors = [OSError("no space left")]
    log.event("info", "lost")
    assert sink.entered.acquire(timeout=HANG)
    log.event("info", "kept")
    log.stop()
    assert sink.messages == ["kept", "log lines dropped"]
    assert (sink.records[-1]["count"], log.dropped) == (1, 1)


def test_report_that_fails(small_log: JsonLines, sink: MemorySink) -> None:
    """A report of dropped lines that the sink refuses is not the last word on them: they are reported again."""
    sink.open.clear()
    small_log.event("info", "hanging")
    assert sink.entered.acquire(timeout=HANG)
    for number in range(10):  # 3 queued, 7 dropped
        small_log.event("info", f"queued {number}")
    sink.errors = [None, OSError("no space left")]
    sink.open.set()
    assert sink.entered.acquire(timeout=HANG)
    small_log.event("info", "kept")
    small_log.stop()
    assert sink.messages == ["hanging", "kept", "log lines dropped"]
    assert sink.records[-1]["count"] in {10, 11}, "7 dropped and 3 refused, perhaps the refused report too"
    assert small_log.dropped == sink.records[-1]["count"], "none of them is counted twice"


def test_closed_file() -> None:
    """A real text file that was closed under the log raises nothing."""
    file = io.StringIO()
    log = JsonLines(file, "info")
    file.close()
    log.event("info", "lost")


def test_logging_never_waits_for_the_sink(small_log: JsonLines, sink: MemorySink) -> None:
    """A thousand lines to a sink that hangs are logged without one of them waiting."""
    sink.open.clear()
    done = threading.Event()

    def talk() -> None:
        for _ in range(1000):
            small_log.event("info", "line")
        done.set()

    threading.Thread(target=talk, daemon=True).start()
    assert done.wait(HANG)
    assert sink.records == []


FIRST = ("timestamp", "level", "message")
VALUES = st.none() | st.text() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)


@given(st.dictionaries(st.text(), VALUES), st.dictionaries(st.text(), VALUES), st.randoms(use_true_random=False))
def test_form_writes_what_an_event_does(constant: Record, fields: Record, order: Random) -> None:
    """A form that is filled in gives the line of the same event, whatever is left blank."""
    fields = {
        name: value for name, value in fields.items() if name not in {*constant, "timestamp", "level", "message"}
    }
    constant = {name: value for name, value in constant.items() if name not in {"timestamp", "level", "message"}}
    blanks = [name for name in fields if order.random() < 0.5]
    sink = MemorySink()
    log = JsonLines(sink, "info", constant=constant)
    log.event("info", "100 % done", fields)
    make_form(log, "info", "100 % done", fields, dict.fromkeys(blanks, "%s"))(
        *(json.dumps(fields[name]) for name in blanks)
    )
    one, two = (line.partition(", ")[2] for line in sink.text.splitlines())
    assert one == two


def test_form_keeps_to_the_level(sink: MemorySink) -> None:
    """A form below the level is silent."""
    make_form(JsonLines(sink, "warn"), "info", "quiet", {"n": None}, {"n": "%s"})("1")
    make_form(JsonLines(sink, "warn"), "warn", "loud", {"n": None}, {"n": "%s"})("1")
    assert sink.messages == ["loud"]


def test_form_of_another_log() -> None:
    """Another log gets an event with all fields."""
    observer = Observer()
    blanks = {"a": "%s", "c": "%s", "d": '"%s"'}
    fields = {"a": None, "b": 2, "c": 3, "d": 4}
    make_form(TwistedLog(Logger(observer=observer)), "info", "request", fields, blanks)("1", quote("€"), "5-6")
    make_form(TwistedLog(Logger(observer=observer)), "info", "request", {"b": 2}, {})()
    found = [json.loads(str(event["fields"])) for event in observer.events]
    assert found == [{"a": 1, "b": 2, "c": "€", "d": "5-6"}, {"b": 2}]


def test_form_says_how_values_are_written(sink: MemorySink) -> None:
    """A blank may have quotes around its value."""
    fields = {"part": None, "of": "100 %s", "seconds": None}
    blanks = {"part": '"%s"', "seconds": "%s"}
    make_form(JsonLines(sink, "info"), "info", "read", fields, blanks)("5-6", "0.500000")
    assert sink.text.endswith('"message": "read", "part": "5-6", "of": "100 %s", "seconds": 0.500000}\n')


def test_descriptor_sink_writes_all() -> None:
    """A descriptor takes a text in as many writes as it needs, and nothing waits in a buffer."""
    reading, writing = os.pipe()
    text = "ä" * 100_000

    def write() -> None:
        DescriptorSink(writing).write(text)
        os.close(writing)

    with open(reading, encoding="utf-8") as end:  # noqa: PTH123 - a descriptor
        thread = threading.Thread(target=write)
        thread.start()
        assert end.read() == text
        thread.join(HANG)
