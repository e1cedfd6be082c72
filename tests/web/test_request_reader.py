"""Turns: one connection does not hold the others up, whatever it sends at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.web import http_headers

from aero_storage.web.request_reader import TURN_REQUESTS

OK = b"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n"
METRICS = b"HEAD /metrics HTTP/1.1\r\nHost: test\r\n\r\n"
NEW = b"GET /v1/images/disk.img HTTP/1.1\r\nHost: test\r\nRange: bytes=0-9\r\nX-N: %d\r\n\r\n"
IMAGE = "/v1/images/disk.img"


def answered(stack: Any) -> int:
    return len(stack.log.requests)


@pytest.mark.parametrize("express", ["true", "false"])
@pytest.mark.parametrize("request_text", [OK, METRICS], ids=["healthz", "metrics"])
def test_a_turn_has_an_end(make_stack: Callable[..., Any], express: str, request_text: bytes) -> None:
    """Of 1,400 requests in one packet a turn answers sixteen; others are served in between, and all are answered."""
    stack = make_stack(express=express)
    greedy, other = stack.connect(), stack.connect()
    greedy.send(request_text * 1400)
    assert 1 <= answered(stack) <= TURN_REQUESTS
    before = answered(stack)
    other.send(OK)
    assert answered(stack) == before + 1
    stack.reactor.advance(0)
    assert answered(stack) == 1401


def test_all_connections_share_the_time_of_a_turn(stack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty packets of pipelined requests take a millisecond of a turn together, not each; one more is let in."""
    pipelining = [stack.connect() for _ in range(30)]
    pipelining[0].send(OK)
    respond, turns = type(stack.parts.site._responder).respond, []  # noqa: SLF001

    def slowly(*arguments: Any) -> None:
        stack.reactor.rightNow += 0.0003
        respond(*arguments)

    monkeypatch.setattr(type(stack.parts.site._responder), "respond", slowly)  # noqa: SLF001
    for connection in pipelining:
        connection.send(OK * 40)
    assert answered(stack) <= 1 + 30 + 4
    while stack.reactor.getDelayedCalls() and answered(stack) < 1201:
        before = answered(stack)
        one_turn(stack)
        turns.append(answered(stack) - before)
    assert answered(stack) == 1201
    assert max(turns) <= 4
    counts = [len(connection.responses()) for connection in pipelining]
    assert counts == [41] + [40] * 29


def one_turn(stack: Any) -> None:
    """What a reactor does between two looks at its sockets: calls that are due, and not those that come meanwhile."""
    due = [call for call in stack.reactor.getDelayedCalls() if call.getTime() <= stack.reactor.seconds()]
    work = [(call.func, call.args, call.kw) for call in due]
    for call in due:
        call.cancel()
    for function, arguments, keywords in work:
        function(*arguments, **keywords)


def test_everybody_has_a_turn(stack: Any) -> None:
    """Connections that wait are answered in the order in which they came: none waits for another's end."""
    for name in (b"first", b"second"):
        stack.connect().send(b"GET /healthz HTTP/1.1\r\nHost: test\r\nX-Request-Id: %b\r\n\r\n" % name * 100)
    stack.reactor.advance(0)
    counts = (*[TURN_REQUESTS] * 6, 4)
    expected = [name for count in counts for name in ["first"] * count + ["second"] * count]
    assert [line["request_id"] for line in stack.log.requests] == expected


def test_new_heads_have_turns_as_well(stack: Any) -> None:
    """Heads that nobody has seen before go through parser and router, and count as much."""
    connection = stack.connect()
    connection.send(b"".join(NEW % number for number in range(100)))
    assert answered(stack) <= TURN_REQUESTS
    stack.reactor.advance(0)
    assert answered(stack) == 100
    assert [response.status for response in connection.responses()] == [206] * 100


def test_a_turn_ends_by_time(stack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests that take long end a turn before there are sixteen of them."""
    connection = stack.connect()
    connection.send(OK)
    respond = type(stack.parts.site._responder).respond  # noqa: SLF001

    def slowly(*arguments: Any) -> None:
        stack.reactor.rightNow += 0.0004
        respond(*arguments)

    monkeypatch.setattr(type(stack.parts.site._responder), "respond", slowly)  # noqa: SLF001
    connection.send(OK * 16)
    assert answered(stack) == 1 + 3


def test_behind_a_response_that_waited(stack: Any) -> None:
    """What is pipelined behind a body that had to wait goes on in a turn of its own."""
    stack.pool.held = True
    connection = stack.connect()
    connection.get(IMAGE, ("Range", "bytes=0-9"))
    connection.send(OK * 20)
    assert answered(stack) == 0
    stack.pool.release()
    assert answered(stack) == 1
    assert connection.channel.waiting is None  # it waits for us, not for its client
    stack.reactor.advance(0)
    assert answered(stack) == 21


def test_the_client_goes_between_two_turns(stack: Any) -> None:
    """What is left of a connection that is lost is not answered."""
    connection = stack.connect()
    connection.send(OK * 100)
    before = answered(stack)
    connection.lose()
    stack.reactor.advance(1)
    assert answered(stack) == before
    assert stack.reactor.getDelayedCalls() == []


def test_the_client_closes_its_half_between_two_turns(stack: Any) -> None:
    """All that a client has sent before it closed its half is answered; then the connection closes."""
    connection = stack.connect()
    connection.send(OK * 100 + OK[:10])
    connection.channel.readConnectionLost()
    assert not connection.transport.disconnecting
    stack.reactor.advance(0)
    assert answered(stack) == 100
    assert connection.transport.disconnecting


@pytest.mark.parametrize("target", ["/healthz?" + "a&" * 4000, "/healthz?lease=x&a=%zz;;&=&&"])
def test_a_query_costs_nothing(stack: Any, monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    """No query and no cookie is parsed that nobody reads: hostile ones are answered like any request."""

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("somebody parses")

    monkeypatch.setattr("twisted.web.http.parse_qs", fail)
    monkeypatch.setattr("twisted.web.http.Request.parseCookies", fail)
    cookies = "; ".join(f"a{number}=b" for number in range(1000))
    response = stack.ask(target, ("Cookie", cookies))
    assert response.status == 200
    assert stack.log.requests[-1]["path"] == "/healthz"


def test_no_name_of_a_header_is_remembered(stack: Any) -> None:
    """Twisted remembers 10,000 header names of any length for ever; what clients send is none of them."""
    hostile = "X-" + "y" * 4000
    stack.ask("/healthz", (hostile, "1"))
    stack.ask("/nowhere", (hostile, "1"))
    stack.ask("/v1/images/disk.img/meta", (hostile, "1"), ("If-None-Match", "*"))
    remembered = http_headers._nameEncoder._canonicalHeaderCache  # noqa: SLF001 - Twisted's own memory
    assert not any(hostile.lower() in str(name).lower() for name in remembered)
