"""Plain requests: what is recognised is read by Twisted's parser in just the same way, or not recognised."""

from __future__ import annotations

from typing import ClassVar

import pytest
from aero_storage.web.connection_limits import Limits
from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.web.resource import Resource

from aero_storage.http.plain import MAX_PLAIN_HEAD, PlainRequest, recognise, split_range
from aero_storage.web.request import AeroRequest
from aero_storage.web.site import ImageSite

READ = (
    "Authorization",
    "Connection",
    "Cookie",
    "Host",
    "If-Match",
    "If-Modified-Since",
    "If-None-Match",
    "If-Range",
    "If-Unmodified-Since",
    "Origin",
    "Range",
    "X-Aero-User-Id",
    "X-Forwarded-For",
    "X-Request-Id",
)
LINE = b"GET /v1/images/disk.img HTTP/1.1\r\n"
BROWSER = (
    LINE + b'Host: images.example.com:8080\r\nConnection: keep-alive\r\nsec-ch-ua: "Chromium";v="130"\r\n'
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: */*\r\nSec-Fetch-Mode: cors\r\nOrigin: https://a.example\r\n"
    b"Referer: https://a.example/\r\nAccept-Encoding: gzip, deflate, br\r\n"
    b"Range: bytes=0-1023\r\nX-Request-Id:\t r-1 \r\n\r\n"
)


class Seen(AeroRequest):
    """Keeps what the general lane has parsed, and answers nothing."""

    seen: ClassVar[list[Seen]] = []

    def process(self) -> None:
        self.seen.append(self)


def general(data: bytes) -> tuple[list[Seen], StringTransport]:
    """What Twisted's channel makes of the same bytes."""
    site = ImageSite(Resource(), Clock(), None, Limits(), print)
    site.requestFactory = Seen
    Seen.seen = []
    channel = site.buildProtocol(None)
    assert channel is not None
    transport = StringTransport()
    channel.makeConnection(transport)
    channel.dataReceived(data)
    return Seen.seen, transport


def assert_read_alike(data: bytes, request: PlainRequest) -> None:
    seen, transport = general(data)
    assert len(seen) == 1, "one request, and nothing is left over or missing"
    (other,) = seen
    assert transport.value() == b""
    assert (other.refusal, other.announces_body) == (None, False)
    assert other._why_not() is None  # noqa: SLF001
    assert other.method.decode() == request.method
    assert other.uri.decode() == request.path
    assert other.clientproto == b"HTTP/1.1"
    found = {name: other.requestHeaders.getRawHeaders(name) for name in READ}
    assert {name: values for name, values in found.items() if values is not None} == {
        name: [value] for name, value in request.headers.items()
    }
    assert (other.responseHeaders.getRawHeaders("Connection") is None) is request.persistent
    assert not other.requestHeaders.hasHeader("Content-Length")
    assert not other.requestHeaders.hasHeader("Transfer-Encoding")


def test_a_browsers_request() -> None:
    """What a browser sends is recognised, with the headers that are read, in their usual spelling."""
    request = recognise(BROWSER)
    assert request == PlainRequest(
        "GET",
        "/v1/images/disk.img",
        {
            "Host": "images.example.com:8080",
            "Connection": "keep-alive",
            "Origin": "https://a.example",
            "Range": "bytes=0-1023",
            "X-Request-Id": "r-1",
        },
        persistent=True,
    )
    assert_read_alike(BROWSER, request)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n",
        b"\r\n" + BROWSER,
        BROWSER[:-1],
        BROWSER[:-2],
        BROWSER + b"\r\n",
        BROWSER + b"x",
        BROWSER * 2,
        BROWSER.replace(b"\r\n", b"\n"),
        LINE + b"\r\n",
        LINE + b"Host: a\r\nHost: a\r\n\r\n",
        LINE + b"Host: a\r\nRange: bytes=0-1\r\nrange: bytes=0-1\r\n\r\n",
        LINE + b"Host: a b\r\n\r\n",
        LINE + b"Host:\r\n\r\n",
        LINE + b"Host : a\r\n\r\n",
        LINE + b" Host: a\r\n\r\n",
        LINE + b"Host: a\r\n folded\r\n\r\n",
        LINE + b"Host: a\r\nX: \x00\r\n\r\n",
        LINE + b"Host: a\r\nX: \xff\r\n\r\n",
        LINE + b"Host: a\r\nX: a\rb\r\n\r\n",
        LINE + b"Host: a\r\nX: a\nb\r\n\r\n",
        LINE + b"Host: a\r\n: b\r\n\r\n",
        LINE + b"Host: a\r\nno colon\r\n\r\n",
        *(
            LINE + b"Host: a\r\n" + line + b"\r\n\r\n"
            for line in (
                b"Content-Length: 0",
                b"content-length: 5",
                b"Transfer-Encoding: chunked",
                b"Transfer-Encoding: identity",
                b"Expect: 100-continue",
                b"Upgrade: h2c",
                b"HTTP2-Settings: x",
                b"Trailer: x",
                b"TE: trailers",
                b"Connection: upgrade",
                b"Connection: close, keep-alive",
            )
        ),
        b"GET /v1/images/%64isk HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /v1/images/disk?x HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http://a/v1/images/disk HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET  /v1/images/disk HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /v1/images/disk  HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /v1/images/disk HTTP/1.0\r\nHost: a\r\n\r\n",
        b"GET /v1/images/disk HTTP/1.1 \r\nHost: a\r\n\r\n",
        b"get /v1/images/disk HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /v1/images/disk HTTP/1.1\r\nHost: a\r\n\r\n",
        b"OPTIONS /v1/images/disk HTTP/1.1\r\nHost: a\r\n\r\n",
        LINE + b"Host: a\r\nX: " + b"x" * MAX_PLAIN_HEAD + b"\r\n\r\n",
        LINE + b"Host: a\r\n" + b"X: y\r\n" * 64 + b"\r\n",
    ],
)
def test_what_is_not_plain(data: bytes) -> None:
    """Whatever is more, less or other than one complete plain request is left to the general lane."""
    assert recognise(data) is None


@pytest.mark.parametrize(
    ("value", "persistent"),
    [("keep-alive", True), ("Keep-Alive", True), ("", True), ("close", False), ("CLOSE", False)],
)
def test_persistence(value: str, *, persistent: bool) -> None:
    """keep-alive and close are understood, in any case, and both lanes draw the same conclusion."""
    data = LINE + f"Host: a\r\nConnection: {value}\r\n\r\n".encode()
    request = recognise(data)
    assert request is not None
    assert request.persistent is persistent
    assert_read_alike(data, request)


NAMES = st.sampled_from(
    [*READ, *(name.lower() for name in READ), "Accept", "Content-Length", "TE", "X Y", "X\t", "x:", ""]
)
VALUES = st.sampled_from(
    ["", "a", " a ", "close", "a, b", "0", "chunked", "bytes=0-5", "\t", "a\x0b", "é", "a\r", "\x7f"]
)
LINES = st.builds("{}:{}".format, NAMES, VALUES) | st.sampled_from([" folded", "\tfolded", "no colon", ":"])
EOL = st.sampled_from(["\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r"])
FIRST = st.builds(
    "{}{}{}{}{}".format,
    st.sampled_from(["GET", "HEAD", "GET", "POST", "G ET"]),
    st.sampled_from([" ", " ", "  ", "\t"]),
    st.sampled_from(["/v1/images/x", "/", "/v1//x", "/%2e", "/a?b", "*", "/\x7f", "/v1/images/.."]),
    st.sampled_from([" ", " ", "  "]),
    st.sampled_from(["HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2", "http/1.1", "HTTP/1.1 "]),
)


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    lines = [draw(FIRST), "Host: a", *draw(st.lists(LINES, max_size=4))]
    text = (
        "".join(line + draw(EOL) for line in lines)
        + draw(EOL)
        + draw(st.sampled_from(["", "", "", "x", "GET / HTTP/1.1\r\n"]))
    )
    return text.encode("latin-1")


@settings(max_examples=600)
@given(data=heads())
@example(data=BROWSER)
def test_read_alike(data: bytes) -> None:
    """Whatever is recognised, Twisted's parser reads in the same way: nothing is smuggled between the lanes."""
    request = recognise(data)
    if request is not None:
        assert_read_alike(data, request)


@settings(max_examples=600)
@given(edits=st.lists(st.tuples(st.integers(0, len(BROWSER)), st.integers(0, 3), st.binary(max_size=3)), max_size=3))
def test_damaged_requests(edits: list[tuple[int, int, bytes]]) -> None:
    """The same of a browser's request with bytes cut out and put in anywhere."""
    data = BROWSER
    for place, cut, insert in edits:
        data = data[:place] + insert + data[place + cut :]
    request = recognise(data)
    if request is not None:
        assert_read_alike(data, request)


@pytest.mark.parametrize("name", [b"Range", b"range"])
def test_split_range(name: bytes) -> None:
    """The value of a range is found in the usual spelling, and in HTTP/2's, which proxies pass on."""
    before, after = LINE + b"Host: a\r\n" + name + b": ", b"\r\nAccept: */*\r\n\r\n"
    assert split_range(before + b"bytes=0-99" + after) == ((before, after), "bytes=0-99")
    assert split_range(LINE + b"Host: a\r\n\r\n") == ((LINE + b"Host: a\r\n\r\n", None), None)
