"""Request heads: what the strict grammar takes, what h11 reads, what is refused, in whatever pieces it comes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import attrs
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from aero_storage.http.general_head import parse_head
from aero_storage.http.head_reader import HeadReader
from aero_storage.http.head_scanner import HeadScanner
from aero_storage.http.request_head import (
    MAX_HEAD,
    MAX_HEADERS,
    MAX_REMEMBERED_HEAD,
    Refusal,
    RequestHead,
    may_be_remembered,
    read_strict_head,
    refusal_of,
    split_varying,
)

LINE = b"GET /v1/images/disk.img HTTP/1.1\r\n"
HOST = LINE + b"Host: a\r\n"
PLAIN = HOST + b"\r\n"
CHROMIUM = (
    b"GET /v1/images/disk.img?lease=a.b.c HTTP/1.1\r\nHost: images.example.com:8080\r\nConnection: keep-alive\r\n"
    b'sec-ch-ua-platform: "Linux"\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/130.0\r\n'
    b"Range: bytes=1048576-2097151\r\nAccept: */*\r\nOrigin: https://a.example\r\nSec-Fetch-Site: cross-site\r\n"
    b"Sec-Fetch-Mode: cors\r\nReferer: https://a.example/\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n"
    b"Accept-Language: en-US,en;q=0.9\r\n\r\n"
)
PREFLIGHT = (
    b"OPTIONS /v1/images/disk HTTP/1.1\r\nHost: a\r\nAccept: */*\r\nAccess-Control-Request-Method: GET\r\n"
    b"Access-Control-Request-Headers: if-range,range\r\nOrigin: https://a.example\r\n\r\n"
)
CLIENTS = {
    "Chromium": CHROMIUM,
    "preflight": PREFLIGHT,
    "curl": b"GET /v1/images/a HTTP/1.1\r\nHost: [::1]:80\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n",
    "qemu": b"HEAD /v1/images/a HTTP/1.1\r\nHost: a\r\nAccept: */*\r\nRange: bytes=0-\r\n\r\n",
    "wget": b"GET /v1/images/a HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: Keep-Alive\r\n\r\n",
    "nginx": b"GET /v1/images/a%20b HTTP/1.0\r\nHost: upstream\r\nX-Forwarded-For: ::1\r\nConnection: close\r\n\r\n",
    "h2 proxy": b"GET /v1/images/a HTTP/1.1\r\nhost: a\r\nrange: bytes=0-1\r\nx-request-id: 1\r\nconnection:\r\n\r\n",
}


def heads_in(reader: HeadReader, *pieces: bytes) -> Iterator[RequestHead | Refusal]:
    """Give what the reader finds after each piece, up to a head behind which a connection reads no further."""
    for piece in pieces:
        reader.receive(piece)
        while (head := reader.next()) is not None:
            yield head
            if isinstance(head, Refusal) or not head.persistent:
                return


def read(*pieces: bytes) -> list[RequestHead | Refusal]:
    """Give what a fresh reader finds in these pieces."""
    return list(heads_in(HeadReader(), *pieces))


def read_one(data: bytes) -> RequestHead:
    """Give the only head in the bytes, which is a good one to the last of them."""
    (head,) = read(data)
    assert isinstance(head, RequestHead)
    assert refusal_of(head) is None
    return head


def status_of(data: bytes) -> int | None:
    """Give the status with which the first head is refused, before or after it is read."""
    found = read(data)[0]
    if isinstance(found, Refusal):
        return found.status
    refusal = refusal_of(found)
    return None if refusal is None else refusal[0]


def read_generally(data: bytes) -> RequestHead | Refusal:
    """Give what the general way makes of one complete head."""
    assert HeadScanner().scan(data, 0) is None
    return parse_head(data)


@pytest.mark.parametrize("data", CLIENTS.values(), ids=CLIENTS)
def test_clients(data: bytes) -> None:
    """What clients send is taken by the strict grammar, and h11 reads it in the same way."""
    head = read_strict_head(data)
    assert head is not None
    assert head == read_generally(data) == read_one(data)


def test_a_browsers_request() -> None:
    """All that a head says is found in it, the query beside the path."""
    head = read_one(CHROMIUM)
    assert (head.method, head.version, head.size) == ("GET", "HTTP/1.1", len(CHROMIUM))
    assert head.target == "/v1/images/disk.img?lease=a.b.c"
    assert (head.path, head.query) == ("/v1/images/disk.img", "lease=a.b.c")
    assert (head.persistent, head.announces_body) == (True, False)
    assert head.header("Range") == head.header("range") == "bytes=1048576-2097151"
    assert head.header("Accept-Encoding") == "gzip, deflate, br, zstd"
    assert head.header("If-Range") is None
    assert "lease" not in repr(head).replace(head.target, "")


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/", "/", ""),
        ("/a?b?c#d", "/a", "b?c#d"),
        ("/a?", "/a", ""),
        ("//a/%2e%2E;x", "//a/%2e%2E;x", ""),
        ("/?a&a&a", "/", "a&a&a"),
        ("http://a.test/b?c", "/b", "c"),
        ("HTTPS://a.test:443", "/", ""),
        ("http://a.test?c", "/", "c"),
        ("*", "*", ""),
    ],
)
def test_targets(target: str, path: str, query: str) -> None:
    """The path of a target in any form that has one is found, and nothing in it is decoded."""
    head = read_one(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    assert (head.target, head.path, head.query) == (target, path, query)


@pytest.mark.parametrize(
    ("fields", "name", "value"),
    [
        ("X:a", "X", "a"),
        ("X: \t a b \t ", "X", "a b"),
        ("X:", "X", ""),
        ("X: \t", "X", ""),
        ("X: a\tb", "X", "a\tb"),
        ("X:  a  ", "X", "a"),
        ("X:  ", "X", ""),
        ("X: a:b", "X", "a:b"),
        ("X: \xff\xe4", "X", "\xff\xe4"),
        ("X: a\r\n b", "X", "a b"),
        ("X: a\r\n\t b\r\n\tc", "X", "a b c"),
        ("X: a\r\nx: b", "X", "a, b"),
        ("Cookie: a=1\r\ncookie: b=2", "Cookie", "a=1; b=2"),
        ("Range: bytes=0-1\r\nRANGE: bytes=2-3", "Range", "bytes=0-1, bytes=2-3"),
        ("Range: bytes=0-\r\n 5", "Range", "bytes=0- 5"),
        ("!#$%&'*+.^_`|~09: a", "!#$%&'*+.^_`|~09", "a"),
        ("Content-Length: 0", "Content-Length", "0"),
        ("Expect: 100-continue", "Expect", "100-continue"),
        ("Upgrade: h2c\r\nConnection: upgrade", "Upgrade", "h2c"),
    ],
)
def test_header_values(fields: str, name: str, value: str) -> None:
    """A value loses the white space around it; lines given twice or continued are one value (RFC 9110 §5.3)."""
    head = read_one(HOST + fields.encode("latin-1") + b"\r\n\r\n")
    assert head.header(name) == value
    assert head.persistent
    assert not head.announces_body


@pytest.mark.parametrize(
    ("version", "fields", "persistent"),
    [
        ("1.1", "", True),
        ("1.1", "Connection: keep-alive", True),
        ("1.1", "Connection: Keep-Alive", True),
        ("1.1", "Connection:", True),
        ("1.1", "Connection: close", False),
        ("1.1", "Connection: CLOSE", False),
        ("1.1", "Connection: keep-alive,\tclose", False),
        ("1.1", "Connection: closed", True),
        ("1.1", "Connection: x\r\nConnection: close", False),
        ("1.0", "", False),
        ("1.0", "Connection: keep-alive", False),
        ("1.1", "Content-Length: 1", False),
        ("1.1", "Transfer-Encoding: chunked", False),
    ],
)
def test_persistence(version: str, fields: str, *, persistent: bool) -> None:
    """A connection stays open if the head permits it; else nothing behind the head is read (RFC 9112 §9.3)."""
    lines = f"GET / HTTP/{version}\r\nHost: a\r\n{fields}".rstrip().encode()
    found = read(lines + b"\r\n\r\n" + PLAIN, PLAIN)
    assert isinstance(found[0], RequestHead)
    assert found[0].persistent is persistent
    assert len(found) == (3 if persistent else 1)


def test_host_of_http_1_0() -> None:
    """HTTP/1.0 needs no `Host`."""
    assert read_one(b"GET / HTTP/1.0\r\n\r\n").header("Host") is None


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "get", "PRI", "M" * 300, "!#$"])
def test_methods(method: str) -> None:
    """Any token is a method: the routes know which of them are allowed."""
    assert read_one(f"{method} / HTTP/1.1\r\nHost: a\r\n\r\n".encode()).method == method


BODIES = (
    b"Content-Length: 1",
    b"content-length:00005",
    b"Content-Length: 5, 5",
    b"Content-Length: 5\r\nContent-Length: 5",
    b"Content-Length: 18446744073709551700",
    b"Transfer-Encoding: chunked",
    b"transfer-encoding:\tCHUNKED",
    b"Transfer-Encoding: identity",
    b"Transfer-Encoding:",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    b"Transfer-Encoding: chunked\r\n , identity\r\n\tx",
    b"X: y\r\n folded\r\nTransfer-Encoding: chunked",
    b"Content-Length: 5\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked\r\nContent-Length: 0",
    b"Expect: 100-continue\r\nContent-Length: 5",
)


@pytest.mark.parametrize("fields", BODIES)
@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_announced_bodies(method: bytes, fields: bytes) -> None:
    """A body is announced however its length is told, it ends the connection, and nothing in it is a request."""
    head = read_one(method + b" / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\nOrigin: b\r\n\r\n" + PLAIN)
    assert head.announces_body
    assert not head.persistent
    assert (head.header("Origin"), head.header("X")) in {("b", None), ("b", "y folded")}


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: -1",
        b"Content-Length: +5",
        b"Content-Length: 5_0",
        b"Content-Length: 0x5",
        b"Content-Length: 5.0",
        b"Content-Length:",
        b"Content-Length: \xb2",
        b"Content-Length: 0, 5",
        b"Content-Length: 0\r\nContent-Length: 5",
        b"Content-Length: " + b"9" * 5000,
        b"Content-Length : 5",
        b"Content-Length\x00: 5",
        b"Transfer-Encoding : chunked",
        b"Transfer-Encoding\r\n : chunked",
        b"Transfer-Encoding: chunked\x0b",
        b"X: y\nTransfer-Encoding: chunked",
        b"X: y\rTransfer-Encoding: chunked",
        b"X: y\x00\r\nTransfer-Encoding: chunked",
    ],
)
def test_bodies_in_doubt(fields: bytes) -> None:
    """What two parsers may take for different bodies is refused, and nothing behind it is read."""
    (found,) = read(HOST + fields + b"\r\n\r\n" + PLAIN, PLAIN)
    assert found == Refusal(400, "GET", "/v1/images/disk.img")


REFUSED = {
    "no host": (LINE + b"\r\n", 400),
    "two hosts": (HOST + b"Host: a\r\n\r\n", 400),
    "two credentials": (HOST + b"Authorization: a\r\nauthorization: a\r\n\r\n", 400),
    "two credentials, one empty": (HOST + b"Authorization: a\r\nX: y\r\nAuthorization:\r\n\r\n", 400),
    "two hosts of HTTP/1.0": (b"GET / HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n", 400),
    "empty host": (LINE + b"Host:\r\n\r\n", 400),
    "empty host of HTTP/1.0": (b"GET / HTTP/1.0\r\nHost:\r\n\r\n", 400),
    "host with a space": (LINE + b"Host: a b\r\n\r\n", 400),
    "host with a path": (LINE + b"Host: a/b\r\n\r\n", 400),
    "host list": (LINE + b"Host: a, b\r\n\r\n", 400),
    "host label": (LINE + b"Host: " + b"a" * 70 + b"\r\n\r\n", 400),
    "long host": (LINE + b"Host: " + b"a." * 4000 + b"\r\n\r\n", 400),
    "host not in ASCII": (LINE + b"Host: \xe4\r\n\r\n", 400),
    "folded host": (LINE + b"Host: a\r\n b\r\n\r\n", 400),
    "authority form": (b"GET a.test:80 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "CONNECT": (b"CONNECT a.test:80 HTTP/1.1\r\nHost: a.test:80\r\n\r\n", 400),
    "other scheme": (b"GET ftp://a/b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "no authority": (b"GET http:///b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "user in a target": (b"GET http://a@b/c HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "relative target": (b"GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "target not in ASCII": (b"GET /\xe4 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "DEL in a target": (b"GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "no target": (b"GET  HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "long target": (b"GET /" + b"a" * 8192 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    "endless target": (b"GET /" + b"a" * MAX_HEAD, 414),
    "endless line": (b"a" * MAX_HEAD, 414),
    "long header": (HOST + b"X: " + b"a" * MAX_HEAD + b"\r\n\r\n", 431),
    "long head": (HOST + (b"X: " + b"a" * 900 + b"\r\n") * 19 + b"\r\n", 431),
    "many continuations": (HOST + b"X:\r\n" + b" y\r\n" * (MAX_HEADERS - 1) + b"\r\n", 431),
    "many headers": (HOST + b"X:\r\n" * MAX_HEADERS + b"\r\n", 431),
    "many names": (HOST + b"".join(b"X-%d:\r\n" % n for n in range(MAX_HEADERS)) + b"\r\n", 431),
    "no version": (b"GET /\r\n", 400),
    "HTTP/1.2": (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "HTTP/1.1.1": (b"GET / HTTP/1.1.1\r\n", 400),
    "http/1.1": (b"GET / http/1.1\r\n", 400),
    "HTTPS/1.1": (b"GET / HTTPS/1.1\r\n", 400),
    "space behind the version": (b"GET / HTTP/1.1 \r\n", 400),
    "two spaces": (b"GET  / HTTP/1.1\r\n", 400),
    "space in front": (b" GET / HTTP/1.1\r\n", 400),
    "tabs": (b"GET\t/\tHTTP/1.1\r\n", 400),
    "no method": (b" / HTTP/1.1\r\n", 400),
    "NUL in a method": (b"G\x00T / HTTP/1.1\r\n", 400),
    "two empty lines": (b"\r\n\r\n" + PLAIN, 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\r\n", 400),
    "PROXY": (b"PROXY TCP4 192.0.2.1 192.0.2.2 9 10\r\n", 400),
    "a response": (b"HTTP/1.1 200 OK\r\n", 400),
    "bare LF": (b"GET / HTTP/1.1\nHost: a\n\n\r\n", 400),
    "bare LF in a header": (HOST + b"X: a\nb\r\n\r\n", 400),
    "bare LF at the end": (HOST + b"\n\r\n\r\n", 400),
    "bare CR": (HOST + b"X: a\rb\r\n\r\n", 400),
    "bare CR at the end of a line": (HOST + b"X: a\r\r\n\r\n", 400),
    "NUL": (HOST + b"X: a\x00b\r\n\r\n", 400),
    "control character": (HOST + b"X: a\x01b\r\n\r\n", 400),
    "vertical tab": (HOST + b"X: a\x0bb\r\n\r\n", 400),
    "DEL": (HOST + b"X: \x7f\r\n\r\n", 400),
    "no colon": (HOST + b"X\r\n\r\n", 400),
    "no name": (HOST + b": a\r\n\r\n", 400),
    "space in a name": (HOST + b"X Y: a\r\n\r\n", 400),
    "space behind a name": (HOST + b"Range : bytes=0-0\r\n\r\n", 400),
    "parenthesis in a name": (HOST + b"X(: a\r\n\r\n", 400),
    "name not in ASCII": (HOST + b"\xff: a\r\n\r\n", 400),
    "continued request line": (LINE + b" Host: a\r\n\r\n", 400),
    "continued by white space": (LINE + b" \r\nHost: a\r\n\r\n", 400),
}


@pytest.mark.parametrize(("data", "status"), REFUSED.values(), ids=REFUSED)
def test_refused_heads(data: bytes, status: int) -> None:
    """A head that breaks a rule or a limit is refused, and in pieces of a byte no different than in one."""
    assert status_of(data) == status
    assert read(data) == read(*(data[at : at + 1] for at in range(len(data))))


@pytest.mark.parametrize(
    ("line", "method", "path"),
    [
        (b"GET /a?secret HTTP/9", "GET", "/a"),
        (b"GET /a\xe4\n\t HTTP/1.1", "GET", "/a%E4"),
        (b"GET /a b HTTP/1.1", "GET", "/a%20b"),
        (b"GET /a HTTP/1.1\n", "GET", "/a"),
        (b"GET /a\x00secret", "GET", "/a%00"),
        (b"GET /a", "GET", "/a%0D"),
        (b"GET /a\rb", "GET", "/a%0D"),
        (b"GET ftp://a/b HTTP/3.0", "GET", ""),
        (b"\xff /a HTTP/1.1", "\xff", ""),
        (b"GET", "GET", ""),
        (b"", "", ""),
        (b"\x16\x03\x01", "\x16", ""),
    ],
)
def test_what_a_refusal_tells(line: bytes, method: str, path: str) -> None:
    """Method and path are told up to the byte that decides, the path escaped and without its query."""
    assert read(b"\r\n" + line + b"\r\n") == [Refusal(400, method, path)]


def test_a_refusal_of_a_long_line_is_short() -> None:
    """Of a line without an end a little is told."""
    (found,) = read(b"GET /" + b"~" * 100_000)
    assert isinstance(found, Refusal)
    assert found.status == 414
    assert len(found.path) < 4000


@pytest.mark.parametrize(
    "data",
    [
        b"GET /" + b"a" * 8191 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /?" + b"a" * 8190 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        HOST + b"X:\r\n" * (MAX_HEADERS - 1) + b"\r\n",
        HOST + b"X:\r\n" + b" y\r\n" * (MAX_HEADERS - 2) + b"\r\n",
        HOST + b"X:" + b"a" * (MAX_HEAD - len(PLAIN) - 4) + b"\r\n\r\n",
        HOST + b"X:" + b"\xff" * (MAX_HEAD - len(PLAIN) - 4) + b"\r\n\r\n",
        b"\r\n" + HOST + b"X:" + b"a" * (MAX_HEAD - len(PLAIN) - 4) + b"\r\n\r\n",
    ],
    ids=["target", "query", "headers", "continued", "size", "size, generally", "size and an empty line"],
)
def test_the_largest_heads(data: bytes) -> None:
    """What just keeps to a limit is read, and one byte or one header more is not."""
    assert [read_one(data)] == read(*(data[at : at + 1] for at in range(len(data))))
    longer = data.replace(b"a" * 1000, b"a" * 1001, 1).replace(b"\xff" * 1000, b"\xff" * 1001, 1)
    longer = longer if longer != data else data.replace(b"X:", b"Y:\r\nX:", 1)
    assert status_of(longer) in {414, 431}


def test_reader_between_requests() -> None:
    """A reader has begun a request once there is more than the empty line that may stand before one."""
    reader = HeadReader()
    assert not reader.begun
    for piece, begun in ((b"\r", False), (b"\n", False), (b"G", True), (PLAIN[1:], False), (b"\r\nG", True)):
        assert len(list(heads_in(reader, piece))) == (piece == PLAIN[1:])
        assert reader.begun is begun
    assert len(reader) == 1


def test_reader_takes_what_it_showed() -> None:
    """A head that is known already can be looked at and taken without being read."""
    reader = HeadReader()
    reader.receive(b"\r\n" + CHROMIUM + PLAIN[:-1])
    assert reader.peek() == CHROMIUM
    reader.take(len(CHROMIUM))
    assert reader.peek() == b""
    reader.receive(PLAIN[-1:] + PREFLIGHT)
    assert reader.peek() == PLAIN
    assert [head.size for head in heads_in(reader, b"") if isinstance(head, RequestHead)] == [
        len(PLAIN),
        len(PREFLIGHT),
    ]
    assert len(reader) == 0


NAMES = st.sampled_from(["Range", "Host", "X-Request-Id", "Connection", "x", "Content-Length", "X Y", "X\t", ""])
VALUES = st.sampled_from(
    ["", "a", " a ", "close", "a, b", "0", "5", "chunked", "bytes=0-5", "\t", "a\x0b", "\xe9", "a\r", "\x7f", "\x00"]
)
LINES = st.builds("{}:{}".format, NAMES, VALUES) | st.sampled_from(
    [" folded", "\tfolded", " ", "no colon", ":", "Transfer-Encoding: chunked", *["X: y"] * 6]
)
EOL = st.sampled_from([*["\r\n"] * 40, "\n", "\r", "\r\r\n"])
FIRST = st.builds(
    "{}{}{}{}{}".format,
    st.sampled_from(["GET", "HEAD", "OPTIONS", "POST", "G ET", "get"]),
    st.sampled_from([*[" "] * 20, "  ", "\t"]),
    st.sampled_from(
        ["/v1/images/x", "/", "//x", "/%2e", "/a?b", "*", "/\x7f", "http://a/b?c", "a:80", "/" + "a" * 8192]
    ),
    st.sampled_from([*[" "] * 20, "  "]),
    st.sampled_from([*["HTTP/1.1"] * 10, "HTTP/1.0", "HTTP/2", "http/1.1", "HTTP/1.1 "]),
)


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    """Heads that are good, nearly good, or too much."""
    lines = [draw(FIRST), "Host: a", *draw(st.lists(LINES, max_size=4)), *draw(st.sampled_from([[]] * 8 + LARGE))]
    text = "".join(line + draw(EOL) for line in lines) + draw(EOL)
    return (draw(st.sampled_from(["", "", "", "\r\n"])) + text).encode("latin-1")


LARGE = [["X: " + "a" * 16_384], ["X: " + "a" * 5000] * 4, ["X: y"] * 201, ["X: y", " z"] * 199]
STREAMS = st.lists(heads() | st.just(CHROMIUM), min_size=1, max_size=3).map(b"".join)


@given(data=heads())
@example(data=CHROMIUM)
@example(data=PREFLIGHT)
def test_second_opinion(data: bytes) -> None:
    """Whatever the strict grammar takes, h11 reads as the same head."""
    head = read_strict_head(data)
    if head is not None:
        assert head == read_generally(data)


@given(edits=st.lists(st.tuples(st.integers(0, len(CHROMIUM)), st.integers(0, 3), st.binary(max_size=3)), max_size=3))
def test_second_opinion_of_damaged_heads(edits: list[tuple[int, int, bytes]]) -> None:
    """The same of a browser's head with bytes cut out and put in anywhere."""
    data = CHROMIUM
    for place, cut, insert in edits:
        data = data[:place] + insert + data[place + cut :]
    head = read_strict_head(data)
    if head is not None:
        assert head == read_generally(data)


@given(data=STREAMS, cuts=st.lists(st.integers(0, 20_000), max_size=6))
def test_any_split(data: bytes, cuts: list[int]) -> None:
    """The same bytes give the same heads and the same refusal in any pieces."""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    pieces = [data[start:end] for start, end in pairwise(places)]
    assert read(*pieces) == read(data)


@given(pieces=st.lists(st.binary(max_size=60) | st.sampled_from([PLAIN, LINE, b"\r\n", b"\r\n\r\n"]), max_size=6))
def test_anything_at_all(pieces: list[bytes]) -> None:
    """Whatever comes, the reader raises nothing, and refuses once at most."""
    found = read(*pieces)
    assert all(isinstance(one, RequestHead) for one in found[:-1])
    assert found == read(b"".join(pieces))


@pytest.mark.parametrize(
    ("fields", "wanted", "request_id"),
    [
        (b"", None, None),
        (b"Range: bytes=0-99\r\n", "bytes=0-99", None),
        (b"range: bytes=0-99\r\n", "bytes=0-99", None),
        (b"X-Request-Id: r-1\r\n", None, "r-1"),
        (b"X-Request-ID: r-1\r\n", None, "r-1"),
        (b"x-request-id: r-1\r\nRange: bytes=0-99\r\n", "bytes=0-99", "r-1"),
        (b"Range: bytes=0-99\r\nX: y\r\nX-Request-Id: r-1\r\n", "bytes=0-99", "r-1"),
    ],
)
def test_split_varying(fields: bytes, wanted: str | None, request_id: str | None) -> None:
    """What a client changes from one request to the next is taken out, and the key has everything else."""
    data = b"GET /a?Range: HTTP/1.1\r\nHost: a\r\n".replace(b"e: ", b"e ") + fields + b"Accept: */*\r\n\r\n"
    key, *found = split_varying(data)
    assert found == [wanted, request_id]
    other = data.replace(b"bytes=0-99", b"bytes=100-1999").replace(b"r-1", b"r-22")
    assert split_varying(other)[0] == key
    assert split_varying(data.replace(b"/a?", b"/b?"))[0] != key
    assert split_varying(data.replace(fields, b""))[0] != key or not fields


@pytest.mark.parametrize(
    ("target", "is_same"),
    [
        (b"/a", True),
        (b"/a?0-0", True),
        (b"/a?4096-8191", True),
        (b"/a?" + b"9" * 18 + b"-" + b"9" * 18, True),
        (b"/a?" + b"9" * 19 + b"-1", False),
        (b"/a?", False),
        (b"/a?0-", False),
        (b"/a?-5", False),
        (b"/a?0-0&lease=x", False),
        (b"/a?0-0&1-1", False),
        (b"/a&0-0", False),
        (b"/a&0-0?", False),
        (b"/a?lease=x", False),
        (b"/a?0-0?0-0", False),
        (b"/a?0-0#f", False),
        (b"/a%3F0-0", False),
        (b"/b?0-0", False),
    ],
)
@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_query_that_names_a_range(method: bytes, target: bytes, *, is_same: bool) -> None:
    """A query of two numbers is no part of the key; any other is, as it may come to mean something."""
    rest = b" HTTP/1.1\r\nHost: a\r\nRange: bytes=0-0\r\nReferer: https://a.test/?5-6\r\n\r\n"
    data = method + b" " + target + rest
    key, *values = split_varying(data)
    assert values == ["bytes=0-0", None]
    assert may_be_remembered(read_one(data), "bytes=0-0", None)
    assert (key == split_varying(method + b" /a" + rest)[0]) is is_same
    assert (b"Referer: https://a.test/?5-6" in key[-1]) is True


@pytest.mark.parametrize(
    ("query", "is_same"),
    [
        (b"lease=x", True),
        (b"lease=x&0-4095", True),
        (b"lease=x&00-1", True),
        (b"lease=x?0-4095", False),
        (b"lease=x&0-4095&1-2", False),
        (b"lease=x&0-4095&", False),
        (b"lease=x&a=0-4095", False),
        (b"lease=y&0-4095", False),
        (b"0-4095&lease=x", False),
    ],
)
def test_range_behind_other_parameters(query: bytes, *, is_same: bool) -> None:
    """A last parameter that names a range is no part of the key; what stands before it is, to the byte."""
    rest = b" HTTP/1.1\r\nHost: a\r\nReferer: https://a.test/?b&5-6 HTTP/1.1\r\n\r\n"
    assert (split_varying(b"GET /a?" + query + rest)[0] == split_varying(b"GET /a?lease=x" + rest)[0]) is is_same


@pytest.mark.parametrize("query", [b"GET /a?0-0", b"?0-0 HTTP/1.1\r\n", b"GET /a?\r\n1 HTTP/1.1\r\n", b"1?"])
def test_anything_as_a_key(query: bytes) -> None:
    """Bytes that are no head stay as they are."""
    assert split_varying(query)[0] == (query,)


@pytest.mark.parametrize(
    ("fields", "may"),
    [
        (b"", True),
        (b"Range: bytes=0-99\r\n", True),
        (b"Range: bytes=0-99\r\nX-Request-Id: r-1\r\n", True),
        (b"Range: bytes=5-\r\n", False),
        (b"Range:bytes=0-99\r\n", False),
        (b"RANGE: bytes=0-99\r\n", False),
        (b"Range: bytes=0-99\r\nRange: bytes=0-99\r\n", False),
        (b"Range: bytes=0-99\r\n 5\r\n", False),
        (b"X: y\r\nX-Request-Id: r-1 \r\n", False),
        (b"X-Request-Id: r-1\r\nX-Request-Id: r-1\r\n", False),
        (b"X: " + b"a" * MAX_REMEMBERED_HEAD + b"\r\n", False),
    ],
)
def test_what_may_be_remembered(fields: bytes, *, may: bool) -> None:
    """A decision is remembered only for values that are all that the head says of them."""
    data = HOST + fields + b"\r\n"
    _, wanted, request_id = split_varying(data)
    assert may_be_remembered(read_one(data), wanted, request_id) is may


VARYING = st.lists(
    st.builds(
        "{}{}{}".format,
        st.sampled_from(["Range", "range", "X-Request-Id", "x-request-id", "X", "If-Range"]),
        st.sampled_from([": ", ": ", ": ", ":"]),
        st.sampled_from(["bytes=0-99", "bytes=1-18", "bytes=5-", "r-1", "r 1", "bytes=0-99\r\n folded"]),
    ),
    max_size=4,
)


@given(lines=VARYING, first=st.integers(0, 10**18 - 1), request_id=st.text("az-!:", min_size=1, max_size=9))
@example(lines=["Range: bytes=0-99", "X-Request-Id: r-1"], first=5, request_id="Range:")
def test_equal_keys(lines: list[str], first: int, request_id: str) -> None:
    """Heads with one key say the same but for the two values, where they may be remembered."""
    data = HOST + "".join(line + "\r\n" for line in lines).encode() + b"\r\n"
    key, *values = split_varying(data)
    head = read_one(data)
    assume(may_be_remembered(head, *values))
    other = b"".join(
        piece + (b"bytes=%d-%d" % (first, first) if piece.lower().endswith(b"\nrange: ") else request_id.encode())
        for piece in key[:-1]
    )
    other += key[-1]
    other_key, *other_values = split_varying(other)
    other_head = read_one(other)
    assert other_key == key
    assert may_be_remembered(other_head, *other_values)
    assert [value is None for value in other_values] == [value is None for value in values]
    assert said(other_head) == said(head)


def said(head: RequestHead) -> RequestHead:
    """Give the head without the two values and its size."""
    headers = {name: value for name, value in head.headers.items() if name not in {"range", "x-request-id"}}
    return attrs.evolve(head, headers=headers, size=0)
