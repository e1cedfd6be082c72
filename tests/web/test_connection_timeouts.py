"""Connections that are slow, idle, or too many, through the whole stack."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.conftest import Connection, Transport
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

OK = b"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n"
RANGE = ("Range", "bytes=0-9")
IMAGE = "/v1/images/disk.img"


def dial(stack: Any, peer: Any = None) -> Connection:
    channel, transport = stack.parts.site.buildProtocol(peer), Transport()
    if peer is not None:
        transport.peerAddr = peer
    channel.makeConnection(transport)
    return Connection(channel, transport, stack.reactor)


def seconds(stack: Any, number: int) -> None:
    stack.reactor.pump([1] * number)


def refused(stack: Any, reason: str) -> float:
    found: float = stack.metric(f'aero_storage_connections_refused_total{{reason="{reason}"}}')
    return found


@pytest.mark.parametrize("begun", [OK[:-2], OK[:20], OK[:1], OK[:-1]], ids=["headers", "host", "byte", "end"])
def test_a_head_that_does_not_end(stack: Any, begun: bytes) -> None:
    """A head that drips in gets its 408 after twenty seconds, with all that other responses have, and a close."""
    connection = stack.connect()
    for at in range(19):
        connection.send(begun[at : at + 1])
        seconds(stack, 1)
    assert connection.taken() == b""
    connection.send(begun[19:])
    seconds(stack, 2)
    response = connection.response()
    assert (response.status, response["Connection"]) == (408, "close")
    assert {"Date", "X-Request-Id", "Content-Length"} <= {name for name, _ in response.headers}
    assert connection.transport.disconnecting
    (line,) = stack.log.requests
    assert (line["status"], line["request_id"]) == (408, response["X-Request-Id"])
    connection.send(OK)  # too late
    seconds(stack, 30)
    assert connection.taken() == b""
    assert connection.transport.aborted


def test_a_second_head_that_does_not_end(stack: Any) -> None:
    """The time of a later head begins with its first byte, not with the opening."""
    connection = stack.connect()
    connection.send(OK)
    assert connection.response().status == 200
    seconds(stack, 50)
    connection.send(OK[:-2])
    seconds(stack, 19)
    assert connection.taken() == b""
    seconds(stack, 3)
    assert connection.response().status == 408


def test_a_request_line_that_does_not_end(stack: Any) -> None:
    """Its log line shows nothing of the request before."""
    connection = stack.connect()
    connection.send(OK)
    assert connection.response().status == 200
    connection.send(OK[:10])
    seconds(stack, 23)
    assert connection.response().status == 408
    assert [line["path"] for line in stack.log.requests] == ["/healthz", "<invalid>"]


def test_nothing_at_all(stack: Any) -> None:
    """A connection on which nothing has come is closed after the same time, without a word and without a line."""
    connection = stack.connect()
    before = len(stack.log.events)
    seconds(stack, 19)
    assert not connection.transport.disconnecting
    seconds(stack, 2)
    assert connection.transport.disconnecting
    assert (connection.taken(), len(stack.log.events)) == (b"", before)


@pytest.mark.parametrize("express", ["true", "false"])
def test_idle(make_stack: Callable[..., Any], express: str) -> None:
    """A connection is closed when nothing has come for a minute after the last response, without a word."""
    stack = make_stack(express=express)
    connection = stack.connect()
    for _ in range(4):
        connection.get(IMAGE, RANGE)
        assert connection.response().status == 206
        seconds(stack, 59)
        assert not connection.transport.disconnecting
    seconds(stack, 3)
    assert connection.transport.disconnecting
    assert connection.taken() == b""
    seconds(stack, 16)
    assert connection.transport.aborted


def test_timeouts_are_settings(make_stack: Callable[..., Any]) -> None:
    """Both can be set."""
    stack = make_stack(header_timeout_secs="2", idle_timeout_secs="5")
    slow, idle = stack.connect(), stack.connect()
    slow.send(OK[:5])
    idle.send(OK)
    idle.taken()
    stack.reactor.pump([0.25] * 13)
    assert slow.response().status == 408
    assert not idle.transport.disconnecting
    stack.reactor.pump([0.25] * 14)
    assert idle.transport.disconnecting


def test_a_response_that_waits_has_no_timeout(stack: Any) -> None:
    """While a disk keeps us waiting no time runs, with a next head begun behind the request, too."""
    stack.pool.held = True
    connection = stack.connect()
    connection.get(IMAGE, RANGE)
    connection.send(OK[:10])
    seconds(stack, 500)
    stack.pool.release()
    assert connection.response().status == 206
    connection.send(OK[10:])
    assert connection.response().status == 200


def test_one_too_many(make_stack: Callable[..., Any]) -> None:
    """Over the limit the first request is answered 503 like all errors of its plane, and logged; then it closes."""
    stack = make_stack(max_connections="2")
    first, second, third = (stack.connect() for _ in range(3))
    assert len(stack.parts.site.connections) == 3
    third.get(IMAGE, RANGE, ("Origin", "https://a.test"))
    third.get(IMAGE, RANGE)
    response = third.response()
    assert (response.status, response["Retry-After"], response["Connection"]) == (503, "1", "close")
    assert (response["Access-Control-Allow-Origin"], response["Cross-Origin-Resource-Policy"]) == ("*", "same-site")
    assert third.transport.disconnecting
    assert [line["status"] for line in stack.log.requests] == [503]
    for one in (first, second):
        one.get(IMAGE, RANGE)
        assert one.response().status == 206
    first.lose()
    third.lose()
    fourth = stack.connect()
    fourth.get(IMAGE, RANGE)
    assert fourth.response().status == 206
    assert ("warn", "connections refused", {"reason": "total", "limit": 2, "count": 1}) in stack.log.events
    fourth.lose()
    assert refused(stack, "total") == 1


def test_probes_are_answered_when_all_places_are_taken(make_stack: Callable[..., Any]) -> None:
    """A daemon that is full is alive, and tells in its metrics that it is full."""
    stack = make_stack(max_connections="1")
    busy = stack.connect()
    assert stack.ask("/healthz").status == 200
    assert stack.ask("/v1/images").status == 503
    assert refused(stack, "total") == 3
    busy.lose()
    assert stack.ask("/v1/images").status == 200


def test_one_too_many_that_asks_nothing(make_stack: Callable[..., Any]) -> None:
    """Who is over the limit has two seconds to ask, not twenty."""
    stack = make_stack(max_connections="1")
    stack.connect()
    silent, slow = stack.connect(), stack.connect()
    slow.send(OK[:5])
    seconds(stack, 4)
    assert (silent.transport.disconnecting, silent.taken()) == (True, b"")
    assert slow.response().status == 408


def test_far_too_many(make_stack: Callable[..., Any]) -> None:
    """When enough are being told that there is no room, the next are reset, and all is counted once logged."""
    stack = make_stack(max_connections="1")
    first = stack.connect()
    told = [stack.connect() for _ in range(64)]
    beyond = [stack.connect() for _ in range(10)]
    assert not any(one.transport.aborted for one in (first, *told))
    assert all(one.transport.aborted for one in beyond)
    for one in (*told, *beyond):
        one.lose()
    first.lose()
    assert refused(stack, "total") == 74
    assert len([message for _, message, _ in stack.log.events if message == "connections refused"]) == 1


def test_idle_connections_make_way(make_stack: Callable[..., Any]) -> None:
    """When all places are taken, the connection that has been silent longest is closed for a new one."""
    stack = make_stack(max_connections="3")
    busy = stack.connect()
    stack.pool.held = True
    busy.get(IMAGE)
    old, older = stack.connect(), stack.connect()
    older.send(OK)
    seconds(stack, 5)
    old.send(OK)
    seconds(stack, 5)
    new = stack.connect()
    assert (older.transport.disconnecting, old.transport.disconnecting) == (True, False)
    new.send(OK)
    assert new.response().status == 200
    assert not busy.transport.disconnecting
    assert len([one for one in stack.log.events if one[1] == "connections refused"]) == 0


def test_per_client(make_stack: Callable[..., Any]) -> None:
    """A client over her limit gets a 429; others, and those behind a UNIX socket, are served."""
    stack = make_stack(max_connections_per_client="1")
    here = IPv6Address("TCP", "::ffff:192.0.2.7", 1)
    one, two = dial(stack, here), dial(stack, IPv4Address("TCP", "192.0.2.7", 2))
    others = [dial(stack, IPv4Address("TCP", "192.0.2.8", 1)), *(dial(stack, UNIXAddress(b"")) for _ in range(3))]
    for connection in (one, two, *others):
        connection.get(IMAGE, RANGE)
    statuses = [connection.response().status for connection in (one, two, *others)]
    assert statuses == [206, 429, 206, 206, 206, 206]
    assert [line["client"] for line in stack.log.requests] == ["192.0.2.7"] * 2 + ["192.0.2.8"] + ["unix"] * 3
    one.lose()
    two.lose()
    again = dial(stack, here)
    again.get(IMAGE, RANGE)
    assert again.response().status == 206
    assert refused(stack, "client") == 1


def test_refused_client_is_told_when_to_come_back(make_stack: Callable[..., Any]) -> None:
    """The 429 has `Retry-After`, as that of a full queue has."""
    stack = make_stack(max_connections_per_client="1")
    stack.connect()
    assert stack.ask(IMAGE)["Retry-After"] == "1"


@pytest.mark.parametrize("target", [IMAGE, "/v1/images", f"{IMAGE}/meta"])
def test_no_descriptor_for_a_file(stack: Any, monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    """A file that cannot be opened because there is no descriptor is a 503 to be tried again, and one line of log."""

    def fail(*_arguments: object, **_options: object) -> int:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr("aero_storage.storage.local.directory.os.open", fail)
        answers = [stack.ask(target) for _ in range(3)]
    assert [(answer.status, answer["Retry-After"]) for answer in answers] == [(503, "1")] * 3
    assert len([one for one in stack.log.events if one[1] == "out of file descriptors"]) == 1
    assert stack.ask(target).status == 200
