"""The HTTP channel: heads that are refused, bodies that are not read, connections that end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.interfaces import IHalfCloseableDescriptor
from zope.interface import directlyProvides, providedBy

OK = b"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n"
LONG = b"a" * 20_000

REFUSED = {
    "no host": (b"GET /healthz HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
    "host label": (b"GET /healthz HTTP/1.1\r\nHost: " + b"a" * 70 + b"\r\n\r\n", 400),
    "host with a path": (b"GET /healthz HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
    "authority form": (b"GET example.org:80 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "other scheme": (b"GET ftp://a/healthz HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "bad authority": (b"GET http://a b/healthz HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "no version": (b"GET /healthz\r\n\r\n", 400),
    "version 2": (b"GET /healthz HTTP/2.0\r\nHost: a\r\n\r\n", 400),
    "no colon": (b"GET /healthz HTTP/1.1\r\nHost: a\r\nfoo\r\n\r\n", 400),
    "space in a name": (b"GET /healthz HTTP/1.1\r\nHost: a\r\nfoo : bar\r\n\r\n", 400),
    "NUL in a value": (b"GET /healthz HTTP/1.1\r\nHost: a\r\nfoo: \0\r\n\r\n", 400),
    "long target": (b"GET /" + LONG[:9000] + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    "longer target": (b"GET /" + LONG + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    "long header": (b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: " + LONG + b"\r\n\r\n", 431),
    "long head": (b"GET /healthz HTTP/1.1\r\nHost: a\r\n" + (b"X: " + LONG[:900] + b"\r\n") * 20 + b"\r\n", 431),
    "many headers": (b"GET /healthz HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 201 + b"\r\n", 431),
    "length of 5,000 digits": (
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        400,
    ),
    "two lengths": (b"GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
}


@pytest.mark.parametrize(("head", "status"), REFUSED.values(), ids=REFUSED)
def test_refused_heads(stack: Any, head: bytes, status: int) -> None:
    """A head that cannot be digested gets a complete 4xx with id, date and log line, and only one."""
    connection = stack.connect()
    connection.send(head)
    response = connection.response()
    assert response.status == status
    assert {"Date", "X-Request-Id", "Content-Length", "Content-Type"} <= {name for name, _ in response.headers}
    assert int(response["Content-Length"]) == len(response.body) <= 1024
    (line,) = stack.log.requests
    assert line["status"] == status
    assert line["request_id"] == response["X-Request-Id"]
    assert line["route"] == "<unknown>"
    assert stack.metric(f'http_requests_total{{method="{line["method"]}",route="<unknown>",status="{status}"}}') == 1


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/v1/images/SECRET\xe4", "/v1/images/<invalid>"),
        (b"/v1/images/SECRET\xe4/meta?SECRET", "/v1/images/<invalid>"),
        (b"/v1/images/SECRET SECRET/data", "/v1/images/<invalid>"),
        (b"/v1/images/\0SECRET", "/v1/images/<invalid>"),
        (b"/v1/images/disk.img?SECRET\xe4", "/v1/images/disk.img"),
        (b"/v1/images/disk.img/\xe4SECRET", "/v1/images/disk.img/<invalid>"),
        (b"/v1/images/disk.img/chunked/SECRET\xe4/manifest.json", "/v1/images/disk.img/<invalid>"),
        (b"/v1/images/" + b"SECRET" * 4000 + b"/data", "/v1/images/<invalid>"),
        (b"/v1/images/SECRET\rSECRET", "/v1/images/<invalid>"),
        (b"/nowhere\xe4\n\t", "/nowhere%E4"),
        (b"/" + b"~" * 9000, "/" + "~" * 255),
        (b"v1/images/SECRET", "<invalid>"),
        (b"SECRET.test:80", "<invalid>"),
        (b"ftp://SECRET/v1/images", "<invalid>"),
        (b"http://SECRET\xe4/v1/images", "<invalid>"),
        (b"", "<invalid>"),
    ],
)
def test_paths_of_refused_targets(stack: Any, target: bytes, path: str) -> None:
    """The log shows what was asked for, escaped and cut, and `<invalid>` for each name that breaks its rule."""
    connection = stack.connect()
    connection.send(b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n")
    assert connection.response().status in {400, 414}
    (line,) = stack.log.requests
    assert (line["method"], line["path"]) == ("GET", path)
    assert "image_id" not in line
    assert "SECRET" not in str(stack.log.events)


@pytest.mark.parametrize(
    "line", [b"\r\n\x16\x03\x01SECRET", b"SECRET", b"GET", b"SECRET /v1/images/SECRET\xe4", b"\r\n "]
)
def test_what_is_no_request_line(stack: Any, line: bytes) -> None:
    """Of it the log shows no word that is not known."""
    connection = stack.connect()
    connection.send(line + b"\r\n\r\n")
    assert connection.response().status == 400
    (logged,) = stack.log.requests
    assert logged["method"] in {"<other>", "GET"}
    assert logged["path"] in {"<invalid>", "/v1/images/<invalid>"}
    assert "SECRET" not in str(stack.log.events)


HOPELESS = {
    "SSH": b"SSH-2.0-OpenSSH_9.2\r",
    "no target": b"GET\r",
    "HTTP/0.9": b"GET /\r",
    "HTTP/2": b"PRI * HTTP/2",
    "bare LF": b"GET / HTTP/1.1\n",
    "control character in a target": b"GET /\x01",
    "two empty lines": b"\r\n\r",
    "an empty line with a bare LF": b"\n",
    "PROXY protocol": b"PROXY TCP4 1",
    "space in a name": b"GET / HTTP/1.1\r\nHost ",
    "control character in a value": b"GET / HTTP/1.1\r\nHost: a\r\nX: \x00",
    "length that is none": b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -",
}


@pytest.mark.parametrize("before", [b"", OK], ids=["first", "behind another"])
@pytest.mark.parametrize("data", HOPELESS.values(), ids=HOPELESS)
def test_what_can_never_become_a_request(stack: Any, before: bytes, data: bytes) -> None:
    """The first byte behind which no request can come gets its 400 at once, in one piece and byte by byte alike."""
    whole, cut = stack.connect(), stack.connect()
    whole.send(before + data)
    cut.send(before)
    for at in range(len(data)):
        assert len(refused_lines(stack)) == 1
        cut.send(data[at : at + 1])
    for connection in (whole, cut):
        *_, response = connection.responses()
        assert (response.status, response["Connection"]) == (400, "close")
        assert connection.transport.disconnecting
    one, two = refused_lines(stack)
    assert (one["path"], one["method"], one["reason"]) == (two["path"], two["method"], "head")


def refused_lines(stack: Any) -> list[dict[str, Any]]:
    return [line for line in stack.log.requests if line["status"] == 400]


def foreign_lines(stack: Any) -> list[tuple[str, str, dict[str, Any]]]:
    return [event for event in stack.log.events if "looks_like" in event[2]]


CLIENT_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
FOREIGN = {
    "TLS": (CLIENT_HELLO, "TLS on a plain port"),
    "NUL": (b"\x00", "no HTTP"),
    "SSL 2": (b"\x80.\x01", "no HTTP"),
    "RDP": (b"\x03\x00\x00\x13", "no HTTP"),
    "space": (b" GET / HTTP/1.1\r\n", "no HTTP"),
    "parenthesis": (b"(", "no HTTP"),
    "UTF-8 mark": (b"\xef\xbb\xbfGET / HTTP/1.1\r\n", "no HTTP"),
}


@pytest.mark.parametrize(("data", "protocol"), FOREIGN.values(), ids=FOREIGN)
def test_a_first_byte_that_begins_no_request(stack: Any, data: bytes, protocol: str) -> None:
    """A connection that speaks another protocol is closed at once, without an answer, and told of."""
    connection = stack.connect()
    connection.send(b"")  # so it is behind a PROXY header that came alone
    connection.send(data)
    connection.send(OK)
    assert connection.taken() == b""
    assert connection.transport.disconnecting
    ((level, message, fields),) = foreign_lines(stack)
    assert (level, message) == ("info", "connection closed: its first byte begins no HTTP request")
    assert fields == {"client": "192.0.2.1", "looks_like": protocol, "count": 1}


def test_foreign_protocols_are_told_of_once_a_minute(stack: Any) -> None:
    """Any number of such connections gives a line a minute, with their number."""
    for _ in range(100):
        connection = stack.connect()
        connection.send(CLIENT_HELLO)
        connection.lose()
    assert [fields["count"] for _, _, fields in foreign_lines(stack)] == [1]
    stack.reactor.advance(60)
    stack.connect().send(b"\x00")
    assert [fields["count"] for _, _, fields in foreign_lines(stack)] == [1, 100]


@pytest.mark.parametrize("byte", [*b"!#$%&'*+-.^_`|~09AZaz", 0x0D, 0x0A])
def test_a_first_byte_that_may_begin_a_request(stack: Any, byte: int) -> None:
    """A connection that begins with any byte of a token, or with a line end, is spoken to."""
    connection = stack.connect()
    connection.send(bytes([byte]))
    connection.send(b"\x00")
    assert connection.response().status == 400


@pytest.mark.parametrize("before", [OK, b"\r", b"\r\n", b"G"])
def test_only_the_first_byte_of_a_connection_counts(stack: Any, before: bytes) -> None:
    """Behind anything that was HTTP the same byte is a bad request."""
    connection = stack.connect()
    connection.send(before)
    connection.send(CLIENT_HELLO)
    assert connection.responses()[-1].status == 400


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST"])
@pytest.mark.parametrize(
    "field",
    [
        "Content-Length: 5",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: identity",
        "Content-Length: 1\r\nTransfer-Encoding: chunked",
    ],
)
def test_a_body_is_refused_unread(stack: Any, method: str, field: str) -> None:
    """A request that announces a body gets one 4xx and the connection closes; the body is no second request."""
    connection = stack.connect()
    connection.send(f"{method} /healthz HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n{field}\r\n\r\n".encode() + OK)
    response = connection.response(head=method == "HEAD")
    assert response.status == (405 if method == "POST" else 413)
    assert response["Connection"] == "close"
    assert connection.transport.disconnecting
    assert len(stack.log.requests) == 1


def test_lingering_close(stack: Any) -> None:
    """Where the transport can, the refusal half-closes, throws away what comes, and ends after two seconds."""
    connection = stack.connect()
    half_closed: list[bool] = []
    directlyProvides(connection.transport, IHalfCloseableDescriptor, providedBy(connection.transport))
    connection.transport.loseWriteConnection = lambda: half_closed.append(True)
    connection.get("/healthz", ("Content-Length", "5"))
    assert half_closed
    assert not connection.transport.disconnecting
    connection.send(b"12345" + OK)
    assert len(connection.responses()) == 1
    stack.reactor.advance(2.1)
    assert connection.transport.disconnecting
    assert not connection.transport.aborted


def test_peer_that_does_not_close(stack: Any) -> None:
    """Where the close waits for the peer's (TLS), a peer that keeps its end open is cut off after two seconds."""
    connection = stack.connect()
    connection.get("/healthz", ("Connection", "close"))
    assert connection.transport.disconnecting
    connection.send(OK)
    stack.reactor.advance(2.1)
    assert connection.transport.aborted
    assert len(stack.log.requests) == 1


def test_little_is_read_ahead(stack: Any) -> None:
    """While a response is made, or its client does not take it, no more than some requests are kept in memory."""
    stack.pool.held = True
    connection = stack.connect()
    connection.get("/v1/images/disk.img", ("Range", "bytes=0-9"))
    for _ in range(1000):
        assert connection.transport.producerState == "producing"
        connection.send(OK)
        if connection.transport.producerState == "paused":
            break
    assert connection.transport.producerState == "paused"
    stack.pool.release()
    stack.reactor.advance(0)
    assert connection.transport.producerState == "producing"
    assert len(connection.responses()) == len(stack.log.requests) > 100


def test_pipelined_requests_are_answered_in_order(stack: Any) -> None:
    """Requests sent at once get their answers in order, whatever each of them is."""
    connection = stack.connect()
    connection.get("/v1/images/disk.img", ("Range", "bytes=0-9"))
    connection.send(
        b"GET /v1/images/disk.img HTTP/1.1\r\nHost: a\r\nRange: bytes=10-19\r\n\r\n"
        b"GET /nope HTTP/1.1\r\nHost: a\r\n\r\n" + OK + b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
    )
    responses = connection.responses()
    assert [response.status for response in responses] == [206, 206, 404, 200, 200]
    assert [response.body for response in responses][:2] == [bytes(range(10)), bytes(range(10, 20))]


@pytest.mark.parametrize(
    ("version", "connection_header", "closes"),
    [
        ("HTTP/1.1", "", False),
        ("HTTP/1.1", "keep-alive", False),
        ("HTTP/1.1", "close", True),
        ("HTTP/1.1", "Close", True),
        ("HTTP/1.1", "keep-alive,close", True),
        ("HTTP/1.1", "x, close", True),
        ("HTTP/1.0", "", True),
        ("HTTP/1.0", "keep-alive", True),
    ],
)
def test_persistence(stack: Any, version: str, connection_header: str, closes: bool) -> None:  # noqa: FBT001
    """HTTP/1.1 stays open unless `close` is among the options; HTTP/1.0 closes."""
    connection = stack.connect()
    field = f"Connection: {connection_header}\r\n" if connection_header else ""
    connection.send(f"GET /healthz {version}\r\nHost: a\r\n{field}\r\n".encode())
    response = connection.response()
    assert response.status == 200
    assert ("Connection" in response) is closes
    assert connection.transport.disconnecting is closes


def test_half_closed_client_gets_its_answer(stack: Any) -> None:
    """A client that has sent its request and closed its half is answered, then the connection closes."""
    stack.pool.held = True
    connection = stack.connect()
    connection.get("/v1/images/disk.img", ("Range", "bytes=0-9"))
    connection.channel.readConnectionLost()
    assert not connection.transport.disconnecting
    stack.pool.release()
    assert connection.response().body == bytes(range(10))
    connection.channel.readConnectionLost()  # the transport is read again, and ends again
    assert connection.transport.disconnecting


def test_half_closed_client_gets_all_its_answers(stack: Any) -> None:
    """What a client has pipelined before it closed its half is answered in full, whenever the end is noticed."""
    stack.pool.held = True
    connection = stack.connect()
    for first in (0, 10, 20):
        connection.get("/v1/images/disk.img", ("Range", f"bytes={first}-{first + 9}"))
    connection.channel.readConnectionLost()
    stack.pool.release()
    assert [response.body for response in connection.responses()] == [
        bytes(range(10)),
        bytes(range(10, 20)),
        bytes(range(20, 30)),
    ]
    connection.channel.readConnectionLost()  # as a transport tells it, each time it is read again
    assert connection.transport.disconnecting


def test_half_close_in_the_middle_of_a_head(stack: Any) -> None:
    """A client that closes its half before its request is complete gets nothing, and the connection closes."""
    connection = stack.connect()
    connection.send(OK[:20])
    connection.channel.readConnectionLost()
    assert connection.transport.disconnecting
    assert stack.log.requests == []


def test_half_close_of_an_idle_connection_closes_it(stack: Any) -> None:
    """A client that closes its half between requests is done."""
    connection = stack.connect()
    connection.channel.readConnectionLost()
    assert connection.transport.disconnecting


def test_idle_connections_are_closed_quietly(stack: Any) -> None:
    """A silent connection is closed after a minute, without a log line."""
    connection = stack.connect()
    before = len(stack.log.events)
    stack.reactor.advance(61)
    assert connection.transport.disconnecting
    assert len(stack.log.events) == before


def test_idle_timer_spares_a_slow_download(stack: Any) -> None:
    """The idle timer does not run while a request is being answered."""
    stack.pool.held = True
    connection = stack.connect()
    connection.get("/v1/images/disk.img")
    stack.reactor.advance(3600)
    assert not connection.transport.disconnecting
    assert not connection.transport.aborted


def test_shut_breaks_off_requests_and_closes_idle_connections(stack: Any) -> None:
    """At shutdown what is under way is aborted and says so; idle connections close; then all are gone."""
    stack.pool.held = True
    idle, busy = stack.connect(), stack.connect()
    busy.get("/v1/images/disk.img")
    gone: list[None] = []
    stack.parts.site.shut().addCallback(gone.append)
    assert idle.transport.disconnecting
    assert busy.transport.aborted
    assert gone == []
    idle.lose()
    busy.lose()
    assert gone == [None]
    assert stack.log.requests[-1]["outcome"] == "aborted"


def test_headers_given_twice_are_one_list(stack: Any) -> None:
    """`Range` given twice is a list of two ranges, which nobody serves (RFC 9110 §5.3)."""
    fields = [("Range", "bytes=0-1"), ("Range", "bytes=4-5")]
    assert stack.ask("/v1/images/disk.img", *fields).status == 416


def test_alpn_offers_http_1_1_alone(make_stack: Callable[..., Any]) -> None:
    """TLS clients are never promised HTTP/2, whatever is installed."""
    assert make_stack().parts.site.acceptableProtocols() == [b"http/1.1"]


@pytest.mark.parametrize("express", ["true", "false"])
def test_an_empty_line_before_each_request(make_stack: Callable[..., Any], express: str) -> None:
    """One empty line before a request line is ignored, whether the head before it was remembered or parsed."""
    connection = make_stack(express=express).connect()
    for piece in (OK, b"\r\n", OK, b"\r\n" + OK):
        connection.send(piece)
    assert [response.status for response in connection.responses()] == [200, 200, 200]


def test_drain_closes_a_connection_whose_next_turn_finds_no_request(stack: Any) -> None:
    """A connection that waits for a turn while the site drains is closed if that turn has nothing to answer."""
    connection = stack.connect()
    connection.send(OK * 16 + b"\r\n")
    stack.parts.site.drain()
    stack.reactor.advance(0)
    assert connection.transport.disconnecting


@pytest.mark.parametrize("express", ["true", "false"])
def test_input_behind_the_last_request_is_thrown_away(make_stack: Callable[..., Any], express: str) -> None:
    """Nothing is kept behind the last request: unread input would reset the connection, and lose the response."""
    stack = make_stack(express=express)
    last = OK.replace(b"/healthz", b"/metrics")[:-2] + b"Connection: close\r\n\r\n"
    stack.connect().send(last)
    connection = stack.connect()
    connection.send(last)  # waits for the next exposition
    connection.send(LONG)
    assert connection.transport.producerState == "producing"
