"""http.md §8: one JSON object a line, one `request complete` line a request, and no secrets."""

from __future__ import annotations

import json
import re
import socket
import time
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from tests.blackbox.harness import running, until
from tests.blackbox.image_roots import DISK, SIZE, WIDE_SIZE
from tests.blackbox.raw_http import head

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.blackbox.harness import Daemon, Line
    from tests.blackbox.raw_http import Fields

UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
# Method, target, fields, route, status, image id.
REQUESTS: dict[str, tuple[str, str, Fields, str, int, str | None]] = {
    "image": ("GET", "/v1/images/disk", {}, "/v1/images/:image_id", 200, "disk"),
    "data": ("GET", "/v1/images/disk/data", {}, "/v1/images/:image_id/data", 200, "disk"),
    "head": ("HEAD", "/v1/images/disk", {}, "/v1/images/:image_id", 200, "disk"),
    "range": ("GET", "/v1/images/disk", {"Range": "bytes=5-9"}, "/v1/images/:image_id", 206, "disk"),
    "wide": ("GET", "/v1/images/wide", {}, "/v1/images/:image_id", 200, "wide"),
    "range-of-8-mib": ("GET", "/v1/images/wide", {"Range": "bytes=0-8388607"}, "/v1/images/:image_id", 206, "wide"),
    "empty": ("GET", "/v1/images/empty", {}, "/v1/images/:image_id", 200, "empty"),
    "not-modified": ("GET", "/v1/images/disk", {"If-None-Match": "*"}, "/v1/images/:image_id", 304, "disk"),
    "unsatisfiable": ("GET", "/v1/images/disk", {"Range": "bytes=5-2"}, "/v1/images/:image_id", 416, "disk"),
    "escaped": ("GET", "/v1/images/%64isk", {}, "/v1/images/:image_id", 200, "disk"),
    "list": ("GET", "/v1/images", {}, "/v1/images", 200, None),
    "meta": ("GET", "/v1/images/disk/meta", {}, "/v1/images/:image_id/meta", 200, "disk"),
    "preflight": ("OPTIONS", "/v1/images/disk", {}, "/v1/images/:image_id", 204, "disk"),
    "healthz": ("GET", "/healthz", {}, "/healthz", 200, None),
    "readyz": ("GET", "/readyz", {}, "/readyz", 200, None),
    "version": ("GET", "/version", {}, "/version", 200, None),
    "metrics": ("GET", "/metrics", {}, "/metrics", 200, None),
    "unknown": ("GET", "/nothing", {}, "<unknown>", 404, None),
    "invalid": ("GET", "/v1/images/%2e%2e", {}, "/v1/images/:image_id", 404, None),
    "invalid-meta": ("GET", "/v1/images/%00/meta", {}, "/v1/images/:image_id/meta", 400, None),
}


@pytest.mark.parametrize(
    ("method", "target", "fields", "route", "status", "image_id"), REQUESTS.values(), ids=REQUESTS
)
def test_request_line(
    store: Daemon, *, method: str, target: str, fields: Fields, route: str, status: int, image_id: str | None
) -> None:
    """Every request has a line that tells what was asked and what was really sent."""
    began = time.monotonic()
    reply, line = store.traced(target, method, fields)
    took = time.monotonic() - began
    assert reply.status == status
    assert line["level"] == "info"
    assert line["method"] == method
    assert line["route"] == route
    assert line["status"] == status
    assert line["outcome"] == "complete"
    assert line["bytes_sent"] == len(reply.body)
    assert 0 <= line["latency_seconds"] <= took + 0.5
    assert line["client"] == "127.0.0.1"
    if method != "OPTIONS":
        assert line.get("image_id") == image_id
    stamp = datetime.fromisoformat(line["timestamp"])
    assert stamp.utcoffset() is not None
    assert abs((datetime.now(UTC) - stamp).total_seconds()) < 10
    assert line["timestamp"].endswith(("Z", "+00:00"))


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/v1/images/disk", "/v1/images/disk"),
        ("/v1/images/disk?token=zqsecret", "/v1/images/disk"),
        ("/healthz?", "/healthz"),
        ("/nothing?a=zqsecret?b#c", "/nothing"),
        ("http://store.test/v1/images/disk?zqsecret", "/v1/images/disk"),
        ("/v1/images/%2e%2e?x", "/v1/images/<invalid>"),
        ("/v1/images/%00/meta", "/v1/images/<invalid>/meta"),
        ("/v1/images/" + "x" * 300 + "/data", "/v1/images/<invalid>/data"),
        ("/" + "n" * 1000, "/" + "n" * 255),
    ],
)
def test_path(store: Daemon, target: str, path: str) -> None:
    """`path` is without the query, without invalid ids, and at most 256 characters long."""
    since = store.log_size()
    _, line = store.traced(target)
    assert line["path"] == path
    assert "zqsecret" not in store.log_text(since)


@pytest.mark.parametrize(
    "value",
    ["a", "0", "trace-1", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", "x" * 128, str(uuid.UUID(int=7)), '"', "\\", "%00"],
)
def test_request_id_is_kept(store: Daemon, value: str) -> None:
    """An X-Request-Id of 1 to 128 visible ASCII characters is kept in response and log."""
    since = store.log_size()
    reply = store.ask("/healthz", fields={"X-Request-Id": value})
    assert reply["X-Request-Id"] == value
    store.line(lambda line: line.get("request_id") == value, since)


@pytest.mark.parametrize(
    "value",
    [None, "", "x" * 129, "x" * 5000, "zq inner blank", "zq\ttab", "zq\xe9", "\xff\xfe"],
    ids=["none", "empty", "129", "5000", "blank", "tab", "latin1", "bytes"],
)
@pytest.mark.parametrize("target", ["/healthz", "/v1/images/disk", "/nothing"])
def test_request_id_is_made(store: Daemon, target: str, value: str | None) -> None:
    """Any other X-Request-Id, or none, makes a UUID, a new one each time."""
    fields = {} if value is None else {"X-Request-Id": value}
    first, second = store.ask(target, "HEAD", fields), store.ask(target, "HEAD", fields)
    assert UUID.fullmatch(first["X-Request-Id"])
    assert first["X-Request-Id"] != second["X-Request-Id"]
    assert store.complete(first["X-Request-Id"])["status"] == first.status


@pytest.mark.parametrize("value", ["u", "user-1", "x" * 128, "a@b.test"])
def test_user_id(store: Daemon, value: str) -> None:
    """`user_id` comes from X-Aero-User-Id."""
    assert store.traced("/v1/images/disk", "HEAD", {"X-Aero-User-Id": value})[1]["user_id"] == value


@pytest.mark.parametrize(
    "value", ["", "x" * 129, "a b", "a\tb", "\x7f"], ids=["empty", "129", "blank", "tab", "delete"]
)
def test_user_id_that_is_none(store: Daemon, value: str) -> None:
    """What is not 1 to 128 visible characters is no `user_id`."""
    reply, line = store.traced("/v1/images/disk", "HEAD", {"X-Aero-User-Id": value})
    assert reply.status in {200, 400}
    assert line.get("user_id") is None


def test_no_user_id(store: Daemon) -> None:
    """Without the field there is no `user_id`."""
    assert store.traced("/v1/images/disk", "HEAD")[1].get("user_id") is None


@pytest.mark.parametrize(
    "fields",
    [
        {"Authorization": "Bearer zqsecret"},
        {"Authorization": "Basic zqsecret"},
        {"Cookie": "session=zqsecret"},
        {"Proxy-Authorization": "Basic zqsecret"},
        {"Referer": "https://a.test/?zqsecret"},
    ],
    ids=lambda fields: next(iter(fields)),
)
@pytest.mark.parametrize("target", ["/v1/images/disk", "/metrics", "/nothing", "/v1/images/%00/meta"])
def test_no_secrets(store: Daemon, target: str, fields: Fields) -> None:
    """Tokens, cookies and Authorization values are never logged."""
    since = store.log_size()
    store.traced(target, fields=fields)
    assert "zqsecret" not in store.log_text(since)


def test_disconnected(store: Daemon) -> None:
    """A client that leaves is `disconnected`, and `bytes_sent` are those that left."""
    with store.dial(receive_buffer=65536) as conn:
        conn.send(head("GET", "/v1/images/wide", {"X-Request-Id": "leaves-early"}))
        assert conn.reply_head().length == WIDE_SIZE
        got = len(conn.take(300_000))
    line = store.complete("leaves-early")
    assert (line["outcome"], line["status"]) == ("disconnected", 200)
    assert got <= line["bytes_sent"] < WIDE_SIZE


def test_latency_runs_to_the_last_byte(store: Daemon) -> None:
    """`latency_seconds` counts until the last byte has left, not until the head has."""
    with store.dial(receive_buffer=65536) as conn:
        conn.send(head("GET", "/v1/images/wide", {"X-Request-Id": "reads-late"}))
        assert conn.reply_head().length == WIDE_SIZE
        began = time.monotonic()
        for _ in range(20):  # something to do in between
            assert store.ask("/healthz").status == 200
        meanwhile = time.monotonic() - began
        assert len(conn.take(WIDE_SIZE, 30)) == WIDE_SIZE
    assert store.complete("reads-late")["latency_seconds"] >= meanwhile


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET /healthz HTTP/1.1\r\nX-Request-Id: refused-no-host\r\n\r\n", 400),
        (b"GET /v1/images/disk HTTP/1.1\r\nHost: a\r\nX-Request-Id: refused-body\r\nContent-Length: 5\r\n\r\n", None),
        (b"POST /healthz HTTP/1.1\r\nHost: a\r\nX-Request-Id: refused-method\r\n\r\n", 405),
        (b"GET /healthz HTTP/1.0\r\nX-Request-Id: refused-old\r\n\r\n", 200),
        (b"rubbish\r\n\r\n", None),
    ],
    ids=["no-host", "body", "method", "old", "rubbish"],
)
def test_refused_requests_have_lines_too(store: Daemon, raw: bytes, status: int | None) -> None:
    """A request refused before routing has its line as well."""
    with store.dial() as conn:
        conn.send(raw)
        reply = conn.reply()
    assert store.complete(reply["X-Request-Id"])["status"] == (status or reply.status)


def test_timestamp_of_the_last_byte(store: Daemon) -> None:
    """`timestamp` is the time at which the last byte left, not that of the request."""
    with store.dial(receive_buffer=65536) as conn:
        conn.send(head("GET", "/v1/images/wide", {"X-Request-Id": "ends-late"}))
        assert conn.reply_head().length == WIDE_SIZE
        conn.take(WIDE_SIZE // 2)
        middle = time.time()
        conn.take(WIDE_SIZE - WIDE_SIZE // 2, 30)
        end = time.time()
    stamp = datetime.fromisoformat(store.complete("ends-late")["timestamp"]).timestamp()
    assert middle - 0.001 <= stamp <= end + 1


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"Range": "bytes=5-9"}, {"range": "5-9"}),
        ({"Range": f"bytes=5-{SIZE}"}, {"range": f"5-{SIZE - 1}"}),
        ({"Range": "bytes=5-2"}, {"reason": "range_syntax"}),
        ({}, {}),
    ],
)
def test_range_and_reason(store: Daemon, fields: Fields, shown: dict[str, str]) -> None:
    """The line has the range that was sent, or the reason why none was."""
    for _ in range(3):
        line = store.traced("/v1/images/disk", fields=fields)[1]
        assert {name: line[name] for name in ("range", "reason") if name in line} == shown


@pytest.mark.parametrize("workers", ["1", "2"])
def test_settings_line(small_home: Callable[[str], Path], workers: str) -> None:
    """At the start one line has all settings by their keys in the configuration file, and no secret."""
    flags = ("--workers", workers, "--metrics-auth-token", "zqsecret", "--max-range-bytes", "none")
    with running(small_home(f"settings-{workers}"), *flags) as daemon:
        assert daemon.ask("/healthz").status == 200
        (line,) = [line for line in daemon.lines() if line["message"] == "settings"]
        assert "zqsecret" not in daemon.log_text()
    assert "worker" not in line
    assert line["settings"]["workers"] == int(workers)
    assert line["settings"]["metrics_auth_token"] == "set"
    assert line["settings"]["max_range_bytes"] == "none"
    assert line["settings"]["trusted_proxy"] == []
    assert line["settings"]["require_range"] is False


def test_one_line_a_request(store: Daemon) -> None:
    """A pipeline of requests leaves one line each."""
    names = [f"pipelined-{n}" for n in range(20)]
    with store.dial() as conn:
        conn.send(
            b"".join(head("GET", "/v1/images/disk", {"Range": "bytes=0-9", "X-Request-Id": name}) for name in names)
        )
        for _ in names:
            assert conn.reply().body == DISK[:10]
    for name in names:
        store.complete(name)
    seen = [line["request_id"] for line in store.lines() if line.get("message") == "request complete"]
    assert [seen.count(name) for name in names] == [1] * 20


def test_every_line_is_json(store: Daemon) -> None:
    """Every line of the log is a JSON object with timestamp, level and message."""
    store.traced("/healthz")
    for raw in store.log_text().split("\n")[:-1]:
        line = json.loads(raw)
        assert isinstance(line["timestamp"], str)
        assert line["level"] in {"debug", "info", "warn", "error", "critical"}
        assert isinstance(line["message"], str)
        datetime.fromisoformat(line["timestamp"])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert isinstance(port, int)
    return port


def _up(daemon: Daemon) -> bool:
    assert daemon.process.poll() is None, daemon.said()
    try:
        return daemon.ask("/healthz").status == 200
    except OSError:
        return False


@pytest.fixture(scope="module", params=["warn", "ERROR", "Critical"])
def quiet(request: pytest.FixtureRequest, small_home: Callable[[str], Path]) -> Iterator[Daemon]:
    """A daemon that logs less."""
    port = _free_port()
    flags = ("--listen-addr", f"127.0.0.1:{port}", "--log-level", request.param)
    with running(small_home("quiet"), *flags, port=port) as daemon:
        until(lambda: _up(daemon), 30)
        yield daemon


def test_request_lines_are_info(quiet: Daemon) -> None:
    """Above `info` there are no request lines."""
    assert quiet.ask("/v1/images/disk").length == SIZE
    assert not [line for line in quiet.lines() if line["level"] in {"debug", "info"}]


@pytest.mark.parametrize("level", ["debug", "Info"])
def test_request_lines_at_lower_levels(small_home: Callable[[str], Path], level: str) -> None:
    """At `info` and below there are request lines; the level may be in any case."""
    with running(small_home("talkative"), "--log-level", level) as daemon:
        assert daemon.traced("/healthz")[1]["level"] == "info"


def test_no_request_log(small_home: Callable[[str], Path]) -> None:
    """With `--no-request-log` there are no request lines, but all others."""
    with running(small_home("no-request-log"), "--no-request-log") as daemon:

        def lines() -> list[Line]:
            return [line for line in daemon.lines() if line["message"] == "request complete"]

        assert daemon.ask("/v1/images/disk").length == SIZE
        assert daemon.ask("/healthz")["X-Request-Id"]
        assert not lines()
        assert [line for line in daemon.lines() if line["message"] == "listening"]
