"""http.md §2 and §1: heads, hosts, bodies, connections and the fields of every response."""

from __future__ import annotations

import re
import socket
import ssl
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import pytest
from tests.blackbox.image_roots import DISK, MODIFIED, TAG, wide_bytes
from tests.blackbox.raw_http import NoReplyError, head

if TYPE_CHECKING:
    from tests.blackbox.harness import Daemon
    from tests.blackbox.raw_http import Fields

ROUTES = (
    "/healthz",
    "/health",
    "/readyz",
    "/ready",
    "/version",
    "/metrics",
    "/v1/images",
    "/v1/images/disk/meta",
    "/v1/images/disk",
    "/v1/images/disk/data",
)
# One request for each status that the default daemon can be brought to send.
STATUSES: dict[str, tuple[int, str, str, Fields]] = {
    "200": (200, "GET", "/v1/images/disk", {}),
    "200-head": (200, "HEAD", "/v1/images/disk", {}),
    "200-empty": (200, "GET", "/v1/images/empty", {}),
    "200-list": (200, "GET", "/v1/images", {}),
    "200-meta": (200, "GET", "/v1/images/disk/meta", {}),
    "200-health": (200, "GET", "/healthz", {}),
    "200-text": (200, "GET", "/health", {}),
    "200-metrics": (200, "GET", "/metrics", {}),
    "200-version": (200, "GET", "/version", {}),
    "204": (204, "OPTIONS", "/v1/images/disk", {}),
    "204-health": (204, "OPTIONS", "/healthz", {}),
    "206": (206, "GET", "/v1/images/disk", {"Range": "bytes=5-9"}),
    "206-head": (206, "HEAD", "/v1/images/disk", {"Range": "bytes=5-9"}),
    "304": (304, "GET", "/v1/images/disk", {"If-None-Match": "*"}),
    "304-meta": (304, "GET", "/v1/images/disk/meta", {"If-None-Match": "*"}),
    "304-list": (304, "GET", "/v1/images", {"If-None-Match": "*"}),
    "400": (400, "GET", "/v1/images/%00/meta", {}),
    "404": (404, "GET", "/nothing", {}),
    "404-head": (404, "HEAD", "/nothing", {}),
    "404-image": (404, "GET", "/v1/images/nothing", {}),
    "404-meta": (404, "GET", "/v1/images/nothing/meta", {}),
    "405": (405, "POST", "/healthz", {}),
    "405-image": (405, "POST", "/v1/images/disk", {}),
    "412": (412, "GET", "/v1/images/disk", {"If-Match": '"no"'}),
    "413": (413, "GET", "/v1/images/big", {"Range": "bytes=0-99999999"}),
    "416": (416, "GET", "/v1/images/disk", {"Range": "bytes=a-b"}),
}


@pytest.mark.parametrize(("status", "method", "path", "fields"), STATUSES.values(), ids=STATUSES)
def test_every_response(store: Daemon, status: int, method: str, path: str, fields: Fields) -> None:
    """Every response carries Date and X-Request-Id, is framed by Content-Length and keeps the connection."""
    with store.dial() as conn:
        reply = conn.ask(method, path, fields)
        assert reply.status == status
        assert reply.version == "HTTP/1.1"
        age = time.time() - parsedate_to_datetime(reply["Date"]).timestamp()
        assert re.fullmatch(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT", reply["Date"])
        assert -2 < age < 5
        assert reply["X-Request-Id"]
        assert not reply.every("Transfer-Encoding")
        if status not in {204, 304}:
            assert reply.length >= 0
        assert conn.ask("GET", "/healthz").status == 200


@pytest.mark.parametrize(("status", "method", "path", "fields"), STATUSES.values(), ids=STATUSES)
def test_http_1_0(store: Daemon, status: int, method: str, path: str, fields: Fields) -> None:
    """An HTTP/1.0 request needs no Host, gets the same status and the connection is closed after it."""
    with store.dial() as conn:
        conn.send(head(method, path, fields, host=None, version="HTTP/1.0"))
        reply = conn.reply(method)
        assert reply.status == status
        assert conn.rest() == b""
        assert conn.ending == "eof"


@pytest.mark.parametrize("path", ROUTES)
def test_keep_alive(store: Daemon, path: str) -> None:
    """Five requests in turn go over one connection."""
    with store.dial() as conn:
        assert [conn.ask("GET", path).status for _ in range(5)] == [200] * 5


@pytest.mark.parametrize("path", ROUTES)
def test_connection_close(store: Daemon, path: str) -> None:
    """`Connection: close` ends the connection after a whole response."""
    with store.dial() as conn:
        reply = conn.ask("GET", path, {"Connection": "close"})
        assert (reply.status, reply.ending) == (200, "whole")
        assert conn.rest() == b""
        assert conn.ending == "eof"


def test_pipelining_over_all_routes(store: Daemon) -> None:
    """Requests sent together are answered in their order, whatever their status."""
    with store.dial() as conn:
        for _, method, path, fields in STATUSES.values():
            conn.send(head(method, path, fields))
        for status, method, _, _ in STATUSES.values():
            assert conn.reply(method).status == status


def test_pipelining_byte_by_byte(store: Daemon) -> None:
    """Heads may arrive in pieces of any size."""
    data = head("GET", "/v1/images/disk", {"Range": "bytes=0-9"}) + head("GET", "/health")
    with store.dial() as conn:
        for at in range(len(data)):
            conn.send(data[at : at + 1])
        assert conn.reply().body == DISK[:10]
        assert conn.reply().body.strip() == b"ok"


def test_pipelining_after_a_large_range(store: Daemon) -> None:
    """What is pipelined after a range of 8 MiB waits for its end and follows it without a gap."""
    limit = 8 << 20
    with store.dial(receive_buffer=65536) as conn:
        conn.send(
            head("GET", "/v1/images/wide", {"Range": f"bytes=0-{limit - 1}"})
            + head("HEAD", "/v1/images/wide")
            + head("GET", "/v1/images/disk", {"Range": "bytes=-7"})
            + head("GET", "/nothing")
            + head("GET", "/v1/images/wide", {"Range": f"bytes={limit}-{2 * limit - 1}"})
            + head("GET", "/healthz")
        )
        assert conn.reply().body == wide_bytes()[:limit]
        assert conn.reply("HEAD").length == len(wide_bytes())
        assert conn.reply().body == DISK[-7:]
        assert conn.reply().status == 404
        assert conn.reply().body == wide_bytes()[limit : 2 * limit]
        assert conn.reply().status == 200


def test_pipelining_of_a_hundred_small_ranges(store: Daemon) -> None:
    """A hundred ranges sent together come back in order."""
    with store.dial() as conn:
        conn.send(b"".join(head("GET", "/v1/images/disk", {"Range": f"bytes={n}-{n + 99}"}) for n in range(100)))
        for n in range(100):
            assert conn.reply().body == DISK[n : n + 100]


@pytest.mark.parametrize(
    "host", ["store.test", "STORE.test:80", "127.0.0.1:8080", "[::1]:8080", "localhost", "a.b.c."]
)
def test_ordinary_hosts(store: Daemon, host: str) -> None:
    """Any well-formed Host is served."""
    assert store.ask("/v1/images/disk/meta", host=host).status == 200


@pytest.mark.parametrize("path", ROUTES)
def test_missing_host(store: Daemon, path: str) -> None:
    """HTTP/1.1 without Host is a 400."""
    assert store.ask(path, host=None).status == 400


@pytest.mark.parametrize("second", ["store.test", "other.test", ""])
def test_doubled_host(store: Daemon, second: str) -> None:
    """Two Host lines are a 400 (RFC 9112 §3.2)."""
    assert store.ask("/healthz", fields={"Host": second}).status == 400


@pytest.mark.parametrize("path", ["/healthz", "/v1/images/disk", "/v1/images/disk/meta", "/nothing"])
@pytest.mark.parametrize(
    "host",
    [
        "",
        " ",
        "a" * 70,
        "a" * 70 + ".test",
        "a" * 300,
        "a..b",
        ".",
        "-",
        "xn--",
        "xn--\xff",
        "\xfcber.test",
        "store test",
        "store.test/path",
        "user@store.test",
        "store.test:",
        "store.test:99999",
        "store.test:-1",
        "store.test:abc",
        "[::1",
        "[zz]",
        "a,b",
        "%00",
        "%2e%2e",
        "\\",
        "*",
    ],
    ids=lambda value: ascii(value)[1:20],
)
def test_odd_hosts(store: Daemon, path: str, host: str) -> None:
    """A Host that cannot be digested is a 4xx at worst, never a 5xx, and the answer is a whole one."""
    reply = store.ask(path, host=host)
    assert reply.status < 500
    assert reply.ending == "whole"
    assert reply["X-Request-Id"]


@pytest.mark.parametrize("size", [10_000, 20_000, 50_000])
def test_long_host(store: Daemon, size: int) -> None:
    """A Host that is too long is a 4xx."""
    assert 400 <= store.ask("/healthz", host="a" * size).status < 500


@pytest.mark.parametrize("size", [20_000, 50_000])
@pytest.mark.parametrize("path", ["/healthz?", "/v1/images/disk?", "/nothing/"])
def test_long_target(store: Daemon, path: str, size: int) -> None:
    """A target that is too long is a 4xx with all the fields of a response."""
    reply = store.ask(path + "a" * size)
    assert 400 <= reply.status < 500
    assert len(reply.body) <= 1024
    assert reply["Date"]
    store.complete(reply["X-Request-Id"])


@pytest.mark.parametrize(
    "fields",
    [
        (("X-Pad", "a" * 100_000),),
        (("X" * 100_000, "a"),),
        tuple((f"X-Pad-{n}", "a" * 80) for n in range(1200)),
        tuple(("X-Pad", "") for _ in range(10_000)),
        (("Cookie", "a" * 100_000),),
        (("Range", "bytes=" + "0-0," * 25_000 + "0-0"),),
    ],
    ids=["value", "name", "many", "empty", "cookie", "range"],
)
def test_long_head(store: Daemon, fields: Fields) -> None:
    """A head that is too long is a 4xx with all the fields of a response, and it is logged."""
    reply = store.ask("/v1/images/disk", fields=fields)
    assert 400 <= reply.status < 500
    assert len(reply.body) <= 1024
    assert reply["Date"]
    store.complete(reply["X-Request-Id"])


@pytest.mark.parametrize("path", [*ROUTES, "/nothing", "/v1/images/nothing", "/v1/images/%00"])
@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ({"Content-Length": "5"}, b"hello"),
        ({"Content-Length": "5"}, b""),
        ({"Transfer-Encoding": "chunked"}, b"5\r\nhello\r\n0\r\n\r\n"),
        ({"Transfer-Encoding": "chunked"}, b""),
    ],
    ids=["length", "length-unsent", "chunked", "chunked-unsent"],
)
def test_announced_body(store: Daemon, path: str, fields: Fields, body: bytes) -> None:
    """A request that announces a body is a 4xx at once and the connection is closed without reading it."""
    with store.dial() as conn:
        conn.send(head("GET", path, fields) + body)
        reply = conn.reply()
        assert 400 <= reply.status < 500
        assert conn.rest() == b""


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "PUT"])
@pytest.mark.parametrize(
    "fields",
    [
        (("Content-Length", "1"),),
        (("Content-Length", "00005"),),
        (("Content-Length", "99999999999999999999999"),),
        (("Content-Length", "9" * 5000),),
        (("Content-Length", "-1"),),
        (("Content-Length", "+5"),),
        (("Content-Length", "5_0"),),
        (("Content-Length", "0x5"),),
        (("Content-Length", "five"),),
        (("Content-Length", "5, 5"),),
        (("Content-Length", "5"), ("Content-Length", "6")),
        (("Content-Length", "0"), ("Content-Length", "5")),
        (("Content-Length", "0"), ("Transfer-Encoding", "chunked")),
        (("Transfer-Encoding", "chunked"), ("Content-Length", "5")),
        (("Transfer-Encoding", "identity"),),
        (("Transfer-Encoding", "gzip, chunked"),),
        (("Transfer-Encoding", "xchunked"),),
        (("transfer-encoding", "CHUNKED"),),
        (("Content-Length", "5"), ("Expect", "100-continue")),
    ],
    ids=lambda fields: "-".join(value[:12] for _, value in fields),
)
def test_announced_body_of_every_kind(store: Daemon, method: str, fields: Fields) -> None:
    """However a body is announced, there is one 4xx, nothing is read as a second request, and the end."""
    with store.dial() as conn:
        conn.send(head(method, "/v1/images/disk", fields) + head("GET", "/health"))
        reply = conn.reply_head()
        assert 400 <= reply.status < 500
        assert "Continue" not in reply.raw_head.decode("latin-1")
        assert b"HTTP/1.1" not in conn.rest()


def test_content_length_zero(store: Daemon) -> None:
    """A Content-Length of 0 announces no body."""
    with store.dial() as conn:
        assert conn.ask("GET", "/healthz", {"Content-Length": "0"}).status == 200
        assert conn.ask("GET", "/v1/images/disk", {"Content-Length": "0"}).body == DISK


@pytest.mark.parametrize("expect", ["100-continue", "100-Continue", "teapot"])
def test_expect_without_a_body(store: Daemon, expect: str) -> None:
    """Expect on a request without body never ends in a 5xx or in silence."""
    assert store.ask("/healthz", fields={"Expect": expect}).status < 500


@pytest.mark.parametrize(
    "raw",
    [
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-Fold: a\r\n b\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\n\tb\r\n\r\n",
        b"GET /v1/images/disk HTTP/1.1\r\nHost: a\r\nRange: bytes=0-\r\n 5\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n Host: a\r\n\r\n",
        b"GET /healthz HTTP/1.1\nHost: a\n\n\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: \xff\x01\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nBad Name: b\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nBad\x00Name: b\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\n\xff\xfe: b\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nB(d: b\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
        b"GET  /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /healthz  HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET\t/healthz\tHTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /healthz HTTP/1.1 x\r\nHost: a\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n\r\n",
        b"GET /healthz\r\n\r\n\r\n",
        b"GET\r\nHost: a\r\n\r\n",
        b"GET /healthz HTTP/3.7\r\nHost: a\r\n\r\n",
        b"GET /healthz HTTP/1.1.1\r\nHost: a\r\n\r\n",
        b"GET /healthz HTTP/11\r\nHost: a\r\n\r\n",
        b"GET /healthz http/1.1\r\nHost: a\r\n\r\n",
        b"GET /healthz FOO/1.1\r\nHost: a\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
    ids=lambda raw: ascii(raw.removeprefix(b"GET /healthz HTTP/1.1\r\nHost: a\r\n"))[2:40],
)
def test_malformed_heads(store: Daemon, raw: bytes) -> None:
    """A malformed head is refused or read kindly, in full, but never a 500, and the daemon lives on."""
    since = store.log_size()
    with store.dial() as conn:
        conn.send(raw)
        reply = conn.reply_head()
        assert reply.status < 500 or reply.status == 505
        assert reply["Date"]
        assert reply["X-Request-Id"]
    assert store.ask("/healthz").status == 200
    assert "Traceback" not in store.log_text(since)


@pytest.mark.parametrize(
    "raw", [b"\x16\x03\x01\x02\x00\x01\x00", b"\x16", b" GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", b"\x00" * 60_000]
)
def test_a_first_byte_that_begins_no_request(store: Daemon, raw: bytes) -> None:
    """A connection whose first byte begins no request ends at once and without an answer, and the log says so."""
    began = time.monotonic()
    with store.dial() as conn:
        conn.send(raw)
        with pytest.raises(NoReplyError, match="after b''"):
            conn.reply_head()
    assert time.monotonic() - began < 5
    assert store.ask("/healthz").status == 200
    store.line(lambda line: line.get("looks_like") in {"TLS on a plain port", "no HTTP"})


def test_tls_on_a_plain_port(store: Daemon) -> None:
    """A TLS client learns at once that there is no TLS here."""
    context = ssl.create_default_context()
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", store.port), 10) as sock, pytest.raises(OSError):  # noqa: PT011 - an SSLError, or a reset
        context.wrap_socket(sock, server_hostname="localhost")
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("raw", [b"SSH-2.0-x\r", b"GET /\r", b"PRI * HTTP/2", b"GET / HTTP/1.1\n", b"G\x00"])
@pytest.mark.parametrize("step", [1, 100])
def test_bytes_that_can_never_become_a_request(store: Daemon, raw: bytes, step: int) -> None:
    """They are a 400 at once: nothing is waited for."""
    began = time.monotonic()
    with store.dial() as conn:
        for at in range(0, len(raw), step):
            conn.send(raw[at : at + step])
        reply = conn.reply()
        assert (reply.status, reply["Connection"]) == (400, "close")
        assert conn.rest() == b""
    assert time.monotonic() - began < 5
    assert store.complete(reply["X-Request-Id"])["reason"] == "head"


@pytest.mark.parametrize(
    "line", [b"NoColon", b"Space : b", b"Range : bytes=0-0", b"Content-Length : 5", b"Transfer-Encoding : chunked"]
)
def test_heads_that_must_be_refused(store: Daemon, line: bytes) -> None:
    """A field line without colon, or with a blank before it, is a 400 (RFC 9112 §5.1)."""
    with store.dial() as conn:
        conn.send(b"GET /v1/images/disk HTTP/1.1\r\nHost: a\r\n" + line + b"\r\n\r\n")
        assert conn.reply().status == 400


@pytest.mark.parametrize("size", [9_000, 15_000, 20_000, 40_000])
@pytest.mark.parametrize("name", ["X-Pad", "Cookie", "If-None-Match", "X-Aero-User-Id"])
def test_rather_long_head(store: Daemon, name: str, size: int) -> None:
    """A head of some 10 KiB is read or refused, in full, never a 5xx."""
    reply = store.ask("/v1/images/disk", "HEAD", {name: "a" * size})
    assert reply.status < 500
    store.complete(reply["X-Request-Id"])


def test_empty_line_before_the_request(store: Daemon) -> None:
    """One empty line before a request line is ignored (RFC 9112 §2.2)."""
    with store.dial() as conn:
        conn.send(b"\r\n" + head("GET", "/healthz"))
        assert conn.reply().status == 200


def test_client_that_leaves_at_once(store: Daemon) -> None:
    """A reset in the middle of a head, or right after one, harms nobody."""
    since = store.log_size()
    for data in (b"", b"GET /hea", head("GET", "/v1/images/wide"), head("GET", "/healthz") * 50):
        conn = store.dial()
        conn.send(data)
        conn.reset()
    assert store.ask("/v1/images/disk", fields={"If-None-Match": TAG, "If-Modified-Since": MODIFIED}).status == 304
    assert "Traceback" not in store.log_text(since)
