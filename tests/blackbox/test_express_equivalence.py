"""Remembered plans change no answer: the same requests go to two daemons, one of which remembers nothing."""

from __future__ import annotations

import json
import re
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.blackbox.harness import running
from tests.blackbox.image_roots import (
    CATALOG_DATE,
    DISK,
    SIZE,
    TAG,
    VERSION,
    chunk_manifest,
    entry,
    put_catalog,
    small_root,
    version_of,
    write,
)
from tests.blackbox.raw_http import RawConnection, head

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.blackbox.harness import Daemon
    from tests.blackbox.raw_http import Reply

FLAGS = (
    *("--virtual-chunks", "--max-range-bytes", "100000", "--cors-origin", "https://a.test"),
    *("--trusted-proxy", "127.0.0.1,10.0.0.0/8"),
)
CHUNK = 65_536
VARYING = {"date", "x-request-id"}
VARYING_IN_LOG = {"timestamp", "request_id", "latency_seconds"}
LOGGED_ALIKE = (
    *("method", "path", "route", "status", "outcome", "bytes_sent", "image_id", "user_id", "client"),
    *("range", "version", "reason"),
)


def make_root(root: Path) -> None:
    small_root(
        root,
        entry("published", chunked_version="v1"),
        entry("cut", recommended_chunk_size_bytes=CHUNK),
        entry("odd", etag='"a,b"', last_modified=CATALOG_DATE),
    )
    write(root / "cut.img", DISK[: 4 * CHUNK])
    document = [item | ({"file": "cut.img"} if item["id"] == "cut" else {}) for item in _entries(root)]
    put_catalog(root, document)
    for base in (root / "chunked/published/v1", root / "chunked/private"):
        write(base / "manifest.json", chunk_manifest(DISK[: 3 * CHUNK], CHUNK))
        for number in range(3):
            write(base / "chunks" / f"{number:08}.bin", DISK[number * CHUNK : (number + 1) * CHUNK])


def _entries(root: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((root / "manifest.json").read_bytes())["images"]
    return found


@pytest.fixture(scope="module")
def lanes(home: Callable[[str], Path]) -> Iterator[tuple[Daemon, Daemon]]:
    """Two daemons over one images root: one remembers plans, one does not."""
    paths = home("express"), home("general")
    make_root(paths[0] / "images")
    (paths[1] / "images").symlink_to(paths[0] / "images")
    with running(paths[0], *FLAGS, "--express") as express, running(paths[1], *FLAGS, "--no-express") as general:
        yield express, general


TAGGED_VERSION = version_of(SIZE, '"tag-1"', TAG)
IDS = [
    "disk",
    "tagged",
    "weak",
    "private",
    "empty",
    "ageless",
    "published",
    "cut",
    "odd",
    "unknown",
    "..",
    "a b",
    "%64isk",
]
RESTS = [
    "",
    "/data",
    "/meta",
    f"/versions/{VERSION}",
    f"/versions/{VERSION}/data",
    f"/versions/{TAGGED_VERSION}",
    "/versions/v-0",
    "/versions/a%2Fb/data",
    "/chunked/manifest",
    "/chunked/manifest.json",
    "/chunked/v1/manifest.json",
    "/chunked/chunks/manifest.json",
    "/chunked/v1/chunks/00000001.bin",
    "/chunked/chunks/00000000.bin",
    "/chunked/chunks/00000002.bin",
    "/chunked/chunks/0.bin",
    "/chunked/chunks/x.bin",
    "/chunked/chunks/chunks/00000000.bin",
    "/chunked",
    "/",
    "?query",
    "?0-99",
    f"/versions/{VERSION}?0-99",
]
NUMBERS = st.sampled_from([0, 1, 511, 4096, 65_535, 65_536, 99_999, 100_000, SIZE - 1, SIZE, SIZE + 1, 2**40, 2**64])
TAGS = st.sampled_from(['"tag-1"', 'W/"weak-1"', '"a,b"', "*", '"x", "tag-1"', "nonsense", ""])
DATES = st.sampled_from(["Thu, 02 Jan 2020 03:04:05 GMT", "Sun, 13 Sep 2020 12:26:40 GMT", "yesterday"])
RANGES = st.one_of(
    st.builds("bytes={}-{}".format, NUMBERS, NUMBERS),
    st.builds("bytes={}-".format, NUMBERS),
    st.builds("bytes=-{}".format, NUMBERS),
    st.sampled_from(["bytes=0-0,5-6", "bytes", "bytes=", "items=0-5", "BYTES = 0 - 5", "bytes=a-b", "bytes=00-05"]),
)
FORWARDED = ["192.0.2.7", "6.6.6.6, 192.0.2.7, 10.1.2.3", "[2001:DB8::7]:80", "::ffff:192.0.2.7", "unknown", ""]
HEADERS = st.one_of(
    st.tuples(st.just("Range"), RANGES),
    st.tuples(st.sampled_from(["If-Match", "If-None-Match", "If-Range"]), TAGS | DATES),
    st.tuples(st.sampled_from(["If-Modified-Since", "If-Unmodified-Since"]), DATES),
    st.tuples(st.just("Origin"), st.sampled_from(["https://a.test", "https://b.test", "null", ""])),
    st.tuples(st.sampled_from(["Cookie", "Authorization"]), st.sampled_from(["a=b", "Bearer x"])),
    st.tuples(st.just("X-Forwarded-For"), st.sampled_from(FORWARDED)),
    st.tuples(st.just("Connection"), st.sampled_from(["keep-alive", "close", "Close", "upgrade", "close, x"])),
    st.tuples(
        st.sampled_from(["X-Aero-User-Id", "Accept", "Sec-Fetch-Mode", "Referer"]), st.sampled_from(["u-1", "*/*"])
    ),
    st.sampled_from(
        [("Content-Length", "0"), ("Content-Length", "5"), ("Expect", "100-continue"), ("TE", "trailers")]
    ),
)
REQUESTS = st.tuples(
    st.sampled_from(["GET", "GET", "GET", "HEAD", "OPTIONS", "POST", "get"]),
    st.builds("/v1/images/{}{}".format, st.sampled_from(IDS), st.sampled_from(RESTS)),
    st.lists(HEADERS, max_size=4),
    st.booleans(),
)


def ask(
    daemon: Daemon, method: str, target: str, fields: list[tuple[str, str]], *, lower: bool
) -> tuple[Reply, Any, str]:
    """The response, the log line without what has to differ, and how the connection goes on."""
    request_id = str(uuid.uuid4())
    pairs = (*((name.lower() if lower else name, value) for name, value in fields), ("X-Request-Id", request_id))
    with daemon.dial() as conn:
        conn.send(head(method, target, pairs))
        reply = conn.reply(method)
        after = follow(conn)
    line = daemon.complete(reply["X-Request-Id"])
    return reply, {name: line.get(name) for name in LOGGED_ALIKE}, after


def follow(conn: RawConnection) -> str:
    conn.send(head("GET", "/healthz"))
    rest = conn.take(15)
    return "open" if rest == b"HTTP/1.1 200 OK" else "closed"


def comparable(reply: Reply) -> tuple[int, list[tuple[str, str]], bytes]:
    fields = sorted((name.lower(), value) for name, value in reply.fields if name.lower() not in VARYING)
    return reply.status, fields, reply.body


@settings(max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(request=REQUESTS)
def test_any_request(lanes: tuple[Daemon, Daemon], request: tuple[str, str, list[tuple[str, str]], bool]) -> None:
    """Status, headers, body, log line and what becomes of the connection are the same in both lanes."""
    method, target, fields, lower = request
    (one, line, after), (other, other_line, other_after) = (
        ask(daemon, method, target, fields, lower=lower) for daemon in lanes
    )
    assert comparable(one) == comparable(other)
    assert line == other_line
    assert after == other_after


ROW = st.lists(
    st.tuples(
        st.sampled_from(["disk"] * 8 + ["tagged", "private", "unknown", "disk?0-99"]),
        st.one_of(st.builds("bytes={}-{}".format, NUMBERS, NUMBERS), RANGES),
    ),
    min_size=3,
    max_size=12,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(row=ROW)
def test_ranges_in_a_row(lanes: tuple[Daemon, Daemon], row: list[tuple[str, str]]) -> None:
    """So are those of ranges one after the other on a connection, without ids of the client: some need no plan."""
    found = []
    for daemon in lanes:
        with daemon.dial() as conn:
            replies = [conn.ask("GET", f"/v1/images/{image}", {"Range": wanted}) for image, wanted in row]
        lines = [daemon.complete(reply["X-Request-Id"]) for reply in replies]
        told = [[(name, line[name]) for name in line if name not in VARYING_IN_LOG] for line in lines]
        found.append(([comparable(reply) for reply in replies], told))
    assert found[0] == found[1]


PLAIN = [("disk", {}), ("disk", {"Range": "bytes=0-4095"}), ("disk", {"Range": "bytes=0-99999"}), ("unknown", {})]


def test_metrics_are_alike(lanes: tuple[Daemon, Daemon]) -> None:
    """The same requests move the same counters by as much in both lanes."""
    moved = []
    for daemon in lanes:
        before = daemon.metrics()
        with daemon.dial() as conn:
            for image_id, fields in PLAIN * 2:
                conn.ask("GET", f"/v1/images/{image_id}", fields)
                conn.ask("HEAD", f"/v1/images/{image_id}", fields)
                conn.ask("GET", f"/v1/images/{image_id}", fields | {"If-Match": '"x"'})
        after = daemon.metrics()
        names = [
            key
            for key in after.samples
            if not re.search("_sum|_bucket|^process_|reactor_delay|descriptors_used", key[0])
            and dict(key[1]).get("route") != "/metrics"
        ]
        moved.append({key: after.samples[key] - before.samples.get(key, 0.0) for key in names})
    assert {key: value for key, value in moved[0].items() if value} == {
        key: value for key, value in moved[1].items() if value
    }


def test_pipelined_and_split(lanes: tuple[Daemon, Daemon]) -> None:
    """Requests that come in one piece, or in pieces, are answered in order and alike."""
    one = head("GET", "/v1/images/disk", {"Range": "bytes=0-99"})
    two = head("GET", "/v1/images/disk", {"Range": "bytes=100-99999"})
    three = head("GET", "/healthz")
    for daemon in lanes:
        daemon.ask("/v1/images/disk")
        for pieces in (
            [one + two + three + one],
            [one[:5], one[5:] + two[:9], two[9:], three, one],
            [one, two, three + one],
        ):
            with daemon.dial() as conn:
                for piece in pieces:
                    conn.send(piece)
                bodies = [conn.reply().body for _ in range(4)]
            assert bodies == [DISK[:100], DISK[100:100_000], b'{"status":"ok"}', DISK[:100]]


def test_slow_reader_then_more(lanes: tuple[Daemon, Daemon]) -> None:
    """What a client sends while a long response is on its way is answered after it."""
    for daemon in lanes:
        daemon.ask("/v1/images/disk")
        with daemon.dial(receive_buffer=4096) as conn:
            conn.send(head("GET", "/v1/images/disk"))
            conn.send(head("GET", "/v1/images/disk", {"Range": "bytes=5-9"}))
            conn.send(head("GET", "/v1/images/unknown"))
            replies = [conn.reply() for _ in range(3)]
        assert [(reply.status, reply.body) for reply in replies] == [(200, DISK), (206, DISK[5:10]), (404, b"")]
