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


encode_json = _make_encode()
quote_text: Callable[[str], str] = json.encoder.encode_basestring_ascii
"""Returns a string as JSON."""


def make_line(level: str, message: str, fields: Fields, seconds: float | None = None) -> str:
    """Return a line with its line feed; `seconds` since the epoch, default now."""
    stamp = timestamp(time.time() if seconds is None else seconds)
    return encode_json({"timestamp": stamp, "level": level, "message": message, **fields}) + "\n"


def make_pieces(level: str, message: str, fields: Fields, blanks: Mapping[str, str]) -> list[str]:
    """Return the text of a line around its time stamp and the values of `blanks`: joined they are as by `make_line`.

    The values are in the order of `fields`, and JSON already; `blanks` has for each what stands there, with `%s` for
    the value, such as `"%s"` for a text that needs no escapes. The other fields are encoded once: a line takes a
    tenth of the time.
    """
    record = {"level": level, "message": message, **fields}
    pieces, text = ['{"timestamp": "'], '"'
    for name, value in record.items():
        text += f", {encode_json(name)}: "
        before, is_blank, behind = blanks[name].partition("%s") if name in blanks else (encode_json(value), "", "")
        text += before
        if is_blank:
            pieces.append(text)
            text = behind
    return [*pieces, text + "}\n"]


def quote(text: str | None) -> str:
    """Return a string, or None, as JSON."""
    return "null" if text is None else quote_text(text)


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
