"""The daemon's log: one JSON object a line, never blocking the reactor (http.md §8)."""

from __future__ import annotations

import json
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import attrs
from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, formatEvent
from zope.interface import implementer

from aero_storage.logs.json_lines import Fields, make_filler, make_line

LEVELS = ("debug", "info", "warn", "error", "critical")
"""Levels from the most talkative to the most silent."""

_RANK = {level: rank for rank, level in enumerate(LEVELS)}
_MAX_QUEUED_LINES = 10_000
_FLUSH_SECONDS = 2.0
_GATHER_SECONDS = 0.02
_MAX_TEXT = 4096

Form = Callable[..., None]
"""Logs an event whose fields are known but for those that it is called with, in order."""


class EventLog(Protocol):
    """Where events go."""

    def event(self, level: str, message: str, fields: Fields = {}) -> None:  # noqa: B006 - never changed
        """Log `message` with `fields`, which hold JSON values."""
        ...


def make_form(log: EventLog, level: str, message: str, fields: Fields, blanks: Sequence[str]) -> Form:
    """Prepare an event of which only the `blanks` among `fields` differ: numbers, or what is JSON already.

    The lines are those of `EventLog.event`. JsonLines encodes all the rest once.
    """
    if isinstance(log, JsonLines):
        return log.form(level, message, fields, blanks)

    def write(*values: object) -> None:
        parsed = [json.loads(value) if isinstance(value, str) else value for value in values]
        log.event(level, message, {**fields, **dict(zip(blanks, parsed, strict=True))})

    return write


class LineLog(EventLog, Protocol):
    """A log that takes the lines of other processes as well."""

    def pass_on(self, lines: Sequence[str]) -> None:
        """Log whole lines, as a JsonLines elsewhere has made them."""
        ...


class Sink(Protocol):
    """A text file, or what looks like one."""

    def write(self, text: str, /) -> object:
        """Take `text`; raises OSError where there is no room, ValueError once closed."""
        ...

    def flush(self) -> object:
        """Pass on what was written."""
        ...


@attrs.frozen
class DescriptorSink:
    """A Sink without a buffer: a thread that hangs in it holds no lock that the end of the process would wait for."""

    descriptor: int

    def write(self, text: str, /) -> None:
        """See Sink.write."""
        data = text.encode()
        while data:
            data = data[os.write(self.descriptor, data) :]

    def flush(self) -> None:
        """There is nothing to pass on."""


@attrs.frozen
class TwistedLog:
    """Hands events to Twisted's own log: for an operator who brought another observer (`--logger`, `--syslog`)."""

    _logger: Logger = attrs.field(factory=lambda: Logger(namespace="aero_storage"))

    def pass_on(self, lines: Sequence[str]) -> None:
        """See LineLog.pass_on."""
        for line in lines:
            record = json.loads(line)
            self.event(record.pop("level"), record.pop("message"), record)

    def event(self, level: str, message: str, fields: Fields = {}) -> None:  # noqa: B006
        """See EventLog.event."""
        self._logger.emit(
            LogLevel.levelWithName(level), "{message} {fields}", message=message, fields=json.dumps(dict(fields))
        )


@implementer(ILogObserver)
@attrs.define(eq=False)
class JsonLines:
    """Writes events of ours, and those of Twisted as an observer, as JSON lines to `sink`; `_constant` is in all.

    Until `start` lines are written at once; from then on by a thread behind a bounded queue, so that a full pipe or
    a slow disk never holds the reactor. Lines that find the queue full are dropped, counted and reported.
    """

    _sink: Sink
    _log_level: str
    _max_queued: int = _MAX_QUEUED_LINES
    _constant: Fields = attrs.field(factory=dict)
    _queue: deque[str] = attrs.field(init=False, factory=deque)
    _lock: threading.Lock = attrs.field(init=False, factory=threading.Lock)
    _wake: threading.Condition = attrs.field(init=False)
    _dropped: int = attrs.field(init=False, default=0)
    _lost: int = attrs.field(init=False, default=0)
    _writer: threading.Thread | None = attrs.field(init=False, default=None)
    _stopping: bool = attrs.field(init=False, default=False)
    _errand: Callable[[], object] | None = attrs.field(init=False, default=None)
    _stuck: bool = attrs.field(init=False, default=False)

    @_wake.default
    def _make_wake(self) -> threading.Condition:
        return threading.Condition(self._lock)

    @property
    def dropped(self) -> int:
        """How many lines have been dropped since the log began, reported or not."""
        with self._lock:
            return self._lost

    def start(self) -> None:
        """Write from a thread of its own from now on; not before the process has forked for the last time."""
        self._stopping = False
        self._writer = threading.Thread(target=self._write_queued, name="log", daemon=True)
        self._writer.start()

    def stop(self) -> None:
        """Write what is queued, end the thread, and write at once from now on.

        If the sink has not taken it all within two seconds, the rest is lost, and so is what comes later.
        """
        if self._writer is None:
            return
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._writer.join(_FLUSH_SECONDS)
        with self._wake:
            self._stuck, self._writer = self._writer.is_alive(), None
            rest, self._queue = self._queue, deque()
        if rest and not self._stuck:
            self._write("".join(rest))

    def event(self, level: str, message: str, fields: Fields = {}) -> None:  # noqa: B006
        """See EventLog.event."""
        if _RANK[level] >= _RANK[self._log_level]:
            self._put(self._line(level, message, fields))

    def form(self, level: str, message: str, fields: Fields, blanks: Sequence[str]) -> Form:
        """See `make_form`; the blanks come in the order of the fields."""
        if _RANK[level] < _RANK[self._log_level]:
            return lambda *_values: None
        fill, put = make_filler(level, message, {**self._constant, **fields}, blanks), self._put
        return lambda *values: put(fill(*values))

    def pass_on(self, lines: Sequence[str]) -> None:
        """See LineLog.pass_on; the level was the other process' business."""
        with self._wake:
            if self._writer is not None:
                for line in lines:
                    self._enqueue(line)
                return
        if not self._stuck:
            self._write("".join(lines))

    def __call__(self, event: LogEvent) -> None:
        """Log an event of Twisted's."""
        level = event.get("log_level", LogLevel.info).name
        if _RANK[level] < _RANK[self._log_level]:
            return
        failure = event.get("log_failure")
        fields = {} if failure is None else {"traceback": failure.getTraceback()[-_MAX_TEXT:]}
        self._put(self._line(level, _message(event), fields, event.get("log_time")))

    def before_next_write(self, errand: Callable[[], object]) -> None:
        """Do `errand` (a rotation, say) in the thread that writes, before it writes again."""
        self._errand = errand

    def _put(self, line: str) -> None:
        with self._lock:
            if self._writer is not None:
                self._enqueue(line)
                return
        if not self._stuck:
            self._write(line)

    def _enqueue(self, line: str) -> None:
        if len(self._queue) >= self._max_queued:
            self._dropped += 1
            self._lost += 1
            return
        self._queue.append(line)
        if len(self._queue) in (1, self._max_queued // 2):
            self._wake.notify()

    def _write_queued(self) -> None:
        while self._wait():
            with self._wake:
                lines, self._queue = self._queue, deque()
            self._write("".join(lines))

    def _wait(self) -> bool:
        with self._wake:
            self._wake.wait_for(lambda: self._queue or self._stopping)
            # Every switch of threads costs the request that is being answered: rather few writes of many lines.
            self._wake.wait_for(lambda: self._stopping or len(self._queue) >= self._max_queued // 2, _GATHER_SECONDS)
            return bool(self._queue)

    def _write(self, text: str) -> None:
        """Write lines, and how many were dropped before; those that the sink refuses are dropped lines too."""
        text = self._do_errand() + text
        dropped = self._take_dropped()
        try:
            self._sink.write(text + self._report(dropped))
            self._sink.flush()
        except (OSError, ValueError):
            # There is nowhere left to complain to (disk full, pipe closed): say so when it works again.
            self._drop(text.count("\n"), again=dropped)

    def _do_errand(self) -> str:
        """Do what was asked for before this write; the line to log if that failed: the log itself goes on."""
        errand, self._errand = self._errand, None
        try:
            if errand is not None:
                errand()
        except OSError as error:
            return self._line("error", "log rotation failed", {"reason": str(error)})
        return ""

    def _take_dropped(self) -> int:
        with self._wake:
            dropped, self._dropped = self._dropped, 0
            return dropped

    def _drop(self, lines: int, again: int) -> None:
        """Lines were refused, and with them the report of others that were dropped `again`."""
        with self._wake:
            self._dropped += lines + again
            self._lost += lines

    def _report(self, dropped: int) -> str:
        return self._line("warn", "log lines dropped", {"count": dropped}) if dropped else ""

    def _line(self, level: str, message: str, fields: Fields, seconds: float | None = None) -> str:
        return make_line(level, message, {**self._constant, **fields}, seconds)


def _message(event: LogEvent) -> str:
    text = formatEvent(event)
    return text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + "…"
