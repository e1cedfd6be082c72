"""Log lines for people at a terminal: time, then what happened, made from the JSON lines of http.md §8."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from datetime import datetime

import attrs
from typing_extensions import override

from aero_storage.logs.json_lines import Fields
from aero_storage.logs.sink import Sink
from aero_storage.sizes import format_size

_REQUEST = "request complete"
_QUIET = frozenset({"settings", "listening"})
"""Messages that a terminal is spared: the settings by the hundred, and addresses, which are shown as URLs."""
_TWISTED = ("ImageSite starting on ", "(TCP Port ", "(TLS Port ", "Main loop terminated")
"""Beginnings of lines of Twisted, which say what ours say."""
_HEAD = frozenset({"timestamp", "level", "message", "traceback"})
_OF_REQUEST = _HEAD | {"request_id", "method", "path", "route", "status", "bytes_sent", "latency_seconds", "client"}
_SELDOM = frozenset({"image_id", "version", "outcome", "worker"})
"""Fields of a request that its path tells, or that say something only where it went wrong."""
_COMPLETE = "complete"


@attrs.define(eq=False)
class ReadableLines(Sink):
    """A sink of JSON lines that writes each as a readable line to another sink, from `release` on.

    Until then it holds them. Texts in them are as clients sent them: the other sink has to escape what a terminal
    would obey.
    """

    _sink: Sink
    _held: list[str] | None = attrs.field(init=False, factory=list)
    _lock: threading.Lock = attrs.field(init=False, factory=threading.Lock)

    @override
    def write(self, text: str, /) -> None:
        with self._lock:
            if self._held is None:
                self._pass_on(text)
            else:
                self._held.append(text)

    def release(self) -> None:
        """Write what was held, and hold nothing any more."""
        with self._lock:
            held, self._held = self._held, None
            self._pass_on("".join(held or ()))

    def _pass_on(self, text: str) -> None:
        lines = [readable(line) for line in text.split("\n") if line]
        if kept := [line for line in lines if line is not None]:
            self._sink.write("\n".join(kept) + "\n")

    @override
    def flush(self) -> None:
        self._sink.flush()


def readable(line: str) -> str | None:
    """Return a JSON line as a readable one, which has several lines with a traceback; None if it is left out."""
    try:
        record = json.loads(line)
    except ValueError:
        return line
    if not isinstance(record, dict):
        return line
    message = str(record.get("message"))
    if message in _QUIET or message.startswith(_TWISTED):
        return None
    text = _request(record) if message == _REQUEST else _event(record)
    return f"{_clock(str(record.get('timestamp', '')))}  {text}"


def _clock(timestamp: str) -> str:
    """Return the local time of day of an RFC 3339 timestamp."""
    try:
        return datetime.fromisoformat(timestamp).astimezone().strftime("%H:%M:%S")
    except ValueError:
        return timestamp


def _request(record: Mapping[str, object]) -> str:
    seconds, size = _number(record.get("latency_seconds")), _number(record.get("bytes_sent"))
    words = [
        f"{record.get('status') or '---'} {_word(record.get('method'))} {_word(record.get('path'))}",
        format_size(size),
        f"{1000 * seconds:.1f} ms" if seconds < 1 else f"{seconds:.1f} s",
        _word(record.get("client")),
    ]
    if record.get("outcome") not in (None, _COMPLETE):
        words.append(_word(record["outcome"]))
    return "  ".join(words) + _fields(record, _OF_REQUEST | _SELDOM)


def _number(value: object) -> float:
    return value if isinstance(value, int | float) else 0.0


def _event(record: Mapping[str, object]) -> str:
    level, traceback = record.get("level"), record.get("traceback")
    prefix = "" if level in ("info", "debug") else f"{level}: "
    text = f"{prefix}{_word(record.get('message'))}{_fields(record, _HEAD)}"
    return f"{text}\n{str(traceback).rstrip()}" if traceback else text


def _fields(record: Fields, without: frozenset[str]) -> str:
    """Return the other fields, as `  name=value`."""
    return "".join(f"  {name}={_value(value)}" for name, value in record.items() if name not in without)


def _word(value: object) -> str:
    """Return a text that stays in its line: a line break within would begin one that looks like ours."""
    text = str(value)
    return text if text.isprintable() else json.dumps(text)[1:-1]


def _value(value: object) -> str:
    is_plain = isinstance(value, str) and value and " " not in value and value.isprintable()
    return str(value) if is_plain else json.dumps(value, ensure_ascii=False)
