"""Log lines as text: one JSON object each, with timestamp, level and message first (http.md §8)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache

Fields = Mapping[str, object]


def _make_encode() -> Callable[[object], str]:
    """Return one encoder for all lines: json.dumps makes one or two for each call."""
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return json.JSONEncoder(default=repr).encode
    chunks = make(None, repr, json.encoder.encode_basestring_ascii, None, ": ", ", ", False, False, True)  # noqa: FBT003
    return lambda record: "".join(chunks(record, 0))


_SHORT = 64
"""Characters of a text whose JSON is remembered: names of fields, methods and routes are the same in most lines."""

encode_json = _make_encode()
_escape = json.encoder.encode_basestring_ascii


def make_line(level: str, message: str, fields: Fields, seconds: float | None = None) -> str:
    """Return a line with its line feed; `seconds` since the epoch, default now."""
    stamp = timestamp(time.time() if seconds is None else seconds)
    return encode_json({"timestamp": stamp, "level": level, "message": message, **fields}) + "\n"


def make_template(level: str, message: str, fields: Fields, blanks: Mapping[str, str]) -> str:
    """Return what `%` makes the line from that `make_line` would make.

    Its values are the time stamp, then those of `blanks`, in the order of `fields`; `blanks` has for the name of each
    how its value is written, such as `%s` for what is JSON already: numbers, or texts made by `quote`. The other
    fields are encoded once: a line takes a quarter of the time.
    """
    record = {"level": level, "message": message, **fields}
    written = {name: _literal(value) for name, value in record.items() if name not in blanks} | dict(blanks)
    pieces = [f"{_literal(name)}: {written[name]}" for name in record]
    return f'{{"timestamp": "%s", {", ".join(pieces)}}}\n'


def quote(text: str | None) -> str:
    """Return a string, or None, as JSON."""
    return "null" if text is None else _escape(text)


def _literal(value: object) -> str:
    if isinstance(value, str) and len(value) <= _SHORT:
        return _short_literal(value)
    return encode_json(value).replace("%", "%%")


@lru_cache(1024)
def _short_literal(text: str) -> str:
    return _escape(text).replace("%", "%%")


def timestamp(seconds: float) -> str:
    """Return RFC 3339 in UTC with milliseconds, of `seconds` since the epoch."""
    return millisecond(int(seconds * 1000 // 1))


@lru_cache(4)
def millisecond(milliseconds: int) -> str:
    """Return the same of whole milliseconds since the epoch."""
    return f"{_second(milliseconds // 1000)}.{milliseconds % 1000:03}Z"


@lru_cache(4)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().removesuffix("+00:00")
