"""Log lines as people read them, made from the JSON lines."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from tests.command_output import TextSink

from aero_storage.logs.json_lines import make_line
from aero_storage.logs.readable_lines import ReadableLines, readable

REQUEST = {
    "request_id": "abc",
    "method": "GET",
    "path": "/v1/images/win98",
    "route": "/v1/images/:image_id",
    "status": 206,
    "outcome": "complete",
    "bytes_sent": 4 * 1024 * 1024,
    "latency_seconds": 0.0123,
    "client": "192.0.2.7",
    "image_id": "win98",
}


def shown(level: str, message: str, **fields: object) -> str | None:
    line = readable(make_line(level, message, fields).removesuffix("\n"))
    return None if line is None else line[line.index("  ") + 2 :]


def test_time_of_day() -> None:
    """A line begins with the local time of day."""
    moment = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
    line = json.dumps({"timestamp": "2026-01-02T03:04:05.678Z", "level": "info", "message": "x"})
    assert readable(line) == f"{moment.astimezone():%H:%M:%S}  x"


def test_request() -> None:
    """A request is one line: status, method, path, size, time and client, without what the path says already."""
    assert shown("info", "request complete", **REQUEST) == "206 GET /v1/images/win98  4 MiB  12.3 ms  192.0.2.7"


def test_request_that_went_wrong() -> None:
    """A request tells how it ended where it was not complete, and the reason of a refusal."""
    line = shown("info", "request complete", **{**REQUEST, "outcome": "aborted", "reason": "file_changed"})
    assert line == "206 GET /v1/images/win98  4 MiB  12.3 ms  192.0.2.7  aborted  reason=file_changed"


def test_request_without_a_status() -> None:
    """A client that left before its response has dashes for a status."""
    line = shown("info", "request complete", **{**REQUEST, "status": None, "latency_seconds": 2.5, "bytes_sent": 0})
    assert line == "--- GET /v1/images/win98  0 B  2.5 s  192.0.2.7"


def test_event() -> None:
    """Another event is its message with its fields; texts with blanks are quoted."""
    assert shown("info", "catalog loaded", images=3, changed=True) == "catalog loaded  images=3  changed=true"
    assert shown("info", "x", file="a b", none=None, empty="") == 'x  file="a b"  none=null  empty=""'


def test_warning() -> None:
    """A warning says that it is one."""
    assert shown("warn", "too few", count=1) == "warn: too few  count=1"


def test_traceback() -> None:
    """A traceback follows on lines of its own."""
    assert shown("error", "request failed", traceback="Traceback\n  File x\n") == (
        "error: request failed\nTraceback\n  File x"
    )


@pytest.mark.parametrize("message", ["settings", "listening", "ImageSite starting on 8080", "(TCP Port 8080 Closed)"])
def test_left_out(message: str) -> None:
    """The settings, addresses that are shown as URLs, and Twisted's echoes are left out."""
    assert shown("info", message) is None


@pytest.mark.parametrize("line", ["no JSON", "[1]", '"text"'])
def test_foreign_line(line: str) -> None:
    """A line that is no JSON object is passed on as it is."""
    assert readable(line) == line


def test_sink() -> None:
    """All lines of one write go out in one write, and nothing goes out if all are left out."""
    sink = TextSink()
    lines = ReadableLines(sink)
    lines.release()
    lines.write(make_line("info", "settings", {}))
    assert sink.text == ""
    lines.write(make_line("info", "a", {}) + make_line("info", "listening", {}) + make_line("info", "b", {}))
    assert [line.partition("  ")[2] for line in sink.text.splitlines()] == ["a", "b"]
    assert sink.text.endswith("\n")


def test_held_lines() -> None:
    """Lines are held until they are released, and then come in their order, before the next ones."""
    sink = TextSink()
    lines = ReadableLines(sink)
    lines.write(make_line("info", "a", {}))
    lines.write(make_line("info", "b", {}))
    assert sink.text == ""
    lines.release()
    lines.write(make_line("info", "c", {}))
    assert [line.partition("  ")[2] for line in sink.text.splitlines()] == ["a", "b", "c"]


@pytest.mark.parametrize("field", ["path", "method", "client", "outcome", "user_id"])
@pytest.mark.parametrize("mark", ["\n", "\r", "\x1b"])
def test_texts_stay_in_their_line(field: str, mark: str) -> None:
    """A line break that came from outside does not begin a line which looks like one of ours."""
    line = shown("info", "request complete", **{**REQUEST, field: f"a{mark}12:00:00__forged"})
    assert line is not None
    assert mark not in line
    assert f"a{json.dumps(mark)[1:-1]}12:00:00__forged" in line


def test_messages_and_fields_stay_in_their_line() -> None:
    """The same holds for a message and for a field without blanks."""
    assert shown("warn", "no\nmessage", file="a\nb") == 'warn: no\\nmessage  file="a\\nb"'


def test_separators_of_other_alphabets_end_no_line() -> None:
    """A line of JSON ends at its line feed alone."""
    sink = TextSink()
    lines = ReadableLines(sink)
    lines.release()
    lines.write(json.dumps({"timestamp": "", "level": "info", "message": "a\u2028b"}, ensure_ascii=False) + "\n")
    assert sink.text == "  a\\u2028b\n"
