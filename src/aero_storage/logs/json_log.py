"""The daemon's log: one JSON object per line, written without blocking the reactor (http.md §8)."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import attrs
from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, formatEvent
from typing_extensions import override
from zope.interface import implementer

from aero_storage.logs.json_lines import Fields, make_line, make_pieces, millisecond
from aero_storage.logs.sink import Sink

LEVELS = ("debug", "info", "warn", "error", "critical")
"""Levels, the most verbose first."""

_RANK = {level: rank for rank, level in enumerate(LEVELS)}
_MAX_QUEUED_LINES = 10_000
_FLUSH_SECONDS = 2.0
_GATHER_SECONDS = 0.02
_LOOK_SECONDS = 1.0
_MAX_TEXT = 4096

Form = Callable[..., None]
"""Logs a prepared event; call it with the JSON of the variable fields, in order, and always in the same thread."""


class EventLog(Protocol):
    """A destination of events."""

    def event(self, level: str, message: str, fields: Fields = {}) -> None:  # noqa: B006 - never changed
        """Log `message` with `fields`; their values are JSON values."""
        ...


def make_form(log: EventLog, level: str, message: str, fields: Fields, blanks: Mapping[str, str]) -> Form:
    """Prepare an event of which only the `blanks` among `fields` vary.

    For each, in the order of `fields`, `blanks` has its JSON with `%s` for what will be given. The lines equal those
    of `EventLog.event`. JsonLines encodes the constant part once.
    """
    if isinstance(log, JsonLines):
        return log.form(level, message, fields, blanks)

    def write(*values: str) -> None:
        pairs = zip(blanks.items(), values, strict=True)
        parsed = {name: json.loads(text.replace("%s", value)) for (name, text), value in pairs}
        log.event(level, message, {**fields, **parsed})

    return write


class LineLog(EventLog, Protocol):
    """A log that also takes lines of other processes."""

    def pass_on(self, lines: Sequence[str]) -> None:
        """Log complete lines made by the JsonLines of another process."""
        ...


@attrs.frozen
class DescriptorSink(Sink):
    """A Sink without a buffer: a thread blocked in it holds no lock that the exit of the process would wait for."""

    descriptor: int

    @override
    def write(self, text: str, /) -> None:
        data = text.encode()
        while data:
            data = data[os.write(self.descriptor, data) :]

    @override
    def flush(self) -> None:
        pass


@attrs.frozen
class TwistedLog(LineLog):
    """Emits events to Twisted's own log, for operators with another observer (`--logger`, `--syslog`)."""

    _logger: Logger = attrs.field(factory=lambda: Logger(namespace="aero_storage"))

    @override
    def pass_on(self, lines: Sequence[str]) -> None:
        for line in lines:
            record = json.loads(line)
            self.event(record.pop("level"), record.pop("message"), record)

    @override
    def event(self, level: str, message: str, fields: Fields = {}) -> None:  # noqa: B006
        self._logger.emit(
            LogLevel.levelWithName(level), "{message} {fields}", message=message, fields=json.dumps(dict(fields))
        )


@implementer(ILogObserver)
@attrs.define(eq=False)
class JsonLines(LineLog):
    """Writes events, also Twisted's as an observer, as JSON lines to `sink`; `constant` fields are in all lines.

    Until `start` lines are written at once; from then on by a thread behind a bounded queue, so that a full pipe or a
    slow disk never blocks the reactor. Lines beyond the queue's limit are dropped, counted and reported.
    """

    _sink: Sink
    _log_level: str
    _max_queued: int = _MAX_QUEUED_LINES
    _constant: Fields = attrs.field(factory=dict)
    _queue: deque[str] = attrs.field(init=False, factory=deque)
    _wake: threading.Condition = attrs.field(init=False, factory=threading.Condition)
    """A thread may take its lock twice: the collector may free a thing that logs, wherever the thread is."""
    _unreported: int = attrs.field(init=False, default=0)
    _total_dropped: int = attrs.field(init=False, default=0)
    _writer: threading.Thread | None = attrs.field(init=False, default=None)
    _stopping: bool = attrs.field(init=False, default=False)
    _task: Callable[[], object] | None = attrs.field(init=False, default=None)
    _stuck: bool = attrs.field(init=False, default=False)

    @property
    def dropped(self) -> int:
        """Number of lines dropped so far, reported or not."""
        with self._wake:
            return self._total_dropped

    def start(self) -> None:
        """Start the writing thread; call it after the process has forked for the last time."""
        self._stopping = False
        self._writer = threading.Thread(target=self._write_queued, name="log", daemon=True)
        self._writer.start()

    def stop(self) -> None:
        """Write the queued lines, stop the thread, and write further lines at once.

        If the sink has not taken all lines within two seconds, the rest and all later lines are lost.
        """
        if self._writer is None:
            return
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._writer.join(_FLUSH_SECONDS)
        with self._wake:
            self._stuck, self._writer = self._writer.is_alive(), None
        if not self._stuck and (rest := self._take_lines()):
            self._write(rest)

    @override
    def event(self, level: str, message: str, fields: Fields = {}) -> None:  # noqa: B006
        if _RANK[level] >= _RANK[self._log_level]:
            self._put(self._line(level, message, fields))

    def form(self, level: str, message: str, fields: Fields, blanks: Mapping[str, str]) -> Form:
        """Prepare an event as `make_form` does."""
        if _RANK[level] < _RANK[self._log_level]:
            return lambda *_values: None
        pieces = make_pieces(level, message, {**self._constant, **fields}, blanks)
        now, queue, few = time.time, self._queue, self._max_queued // 2 - 1
        text = [""] * (2 * len(pieces) - 1)
        text[::2] = pieces

        def put(*values: str) -> None:
            text[1::2] = (millisecond(int(now() * 1000)), *values)
            line = "".join(text)
            if self._writer is None or len(queue) >= few:
                self._put(line)
                return
            # A lock would take as long as all of this. The writer is told of a line that is alone. Any other is
            # behind one that it was told of and has not taken, or that was put with the lock, which always tells.
            queue.append(line)
            if len(queue) == 1:
                with self._wake:
                    self._wake.notify()

        return put

    @override
    def pass_on(self, lines: Sequence[str]) -> None:
        # The other process has applied the level.
        with self._wake:
            if self._writer is not None:
                for line in lines:
                    self._enqueue(line)
                self._wake.notify()
                return
        if not self._stuck:
            self._write("".join(lines))

    def __call__(self, event: LogEvent) -> None:
        """Log an event of Twisted (ILogObserver)."""
        level = event.get("log_level", LogLevel.info).name
        if _RANK[level] < _RANK[self._log_level]:
            return
        failure = event.get("log_failure")
        fields = {} if failure is None else {"traceback": failure.getTraceback()[-_MAX_TEXT:]}
        self._put(self._line(level, _message(event), fields, event.get("log_time")))

    def before_next_write(self, task: Callable[[], object]) -> None:
        """Call `task`, such as a rotation, in the writing thread before its next write."""
        self._task = task

    def _put(self, line: str) -> None:
        with self._wake:
            if self._writer is not None:
                self._enqueue(line)
                self._wake.notify()
                return
        if not self._stuck:
            self._write(line)

    def _enqueue(self, line: str) -> None:
        if len(self._queue) >= self._max_queued:
            self._unreported += 1
            self._total_dropped += 1
            return
        self._queue.append(line)

    def _write_queued(self) -> None:
        while self._wait():
            self._write(self._take_lines())

    def _take_lines(self) -> str:
        queue = self._queue
        return "".join([queue.popleft() for _ in range(len(queue))])

    def _wait(self) -> bool:
        with self._wake:
            while not (self._queue or self._stopping):
                # A line that the collector's work logs in this thread, just before the wait, wakes nobody.
                self._wake.wait(_LOOK_SECONDS)
            # Every switch of threads delays the request that is being answered: prefer few writes of many lines.
            self._wake.wait_for(lambda: self._stopping or len(self._queue) >= self._max_queued // 2, _GATHER_SECONDS)
            return bool(self._queue)

    def _write(self, text: str) -> None:
        """Write lines and the number of lines dropped before; lines that the sink refuses count as dropped."""
        text = self._run_task() + text
        dropped = self._take_dropped()
        try:
            self._sink.write(text + self._report(dropped))
            self._sink.flush()
        except (OSError, ValueError):
            # The error cannot be logged (disk full, pipe closed): report it when writing works again.
            self._drop(text.count("\n"), unreported=dropped)

    def _run_task(self) -> str:
        """Run the task of `before_next_write`; return a line to log if it failed."""
        task, self._task = self._task, None
        try:
            if task is not None:
                task()
        except OSError as error:
            return self._line("error", "log rotation failed", {"reason": str(error)})
        return ""

    def _take_dropped(self) -> int:
        with self._wake:
            dropped, self._unreported = self._unreported, 0
            return dropped

    def _drop(self, lines: int, unreported: int) -> None:
        """Count lines that the sink refused; `unreported` are those of the report that was refused with them."""
        with self._wake:
            self._unreported += lines + unreported
            self._total_dropped += lines

    def _report(self, dropped: int) -> str:
        return self._line("warn", "log lines dropped", {"count": dropped}) if dropped else ""

    def _line(self, level: str, message: str, fields: Fields, seconds: float | None = None) -> str:
        return make_line(level, message, {**self._constant, **fields}, seconds)


def _message(event: LogEvent) -> str:
    text = formatEvent(event)
    return text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + "…"
