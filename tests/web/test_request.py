"""A request as Twisted Web sees it: any of its resources can be rendered over a connection of ours."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.error import ConnectionDone
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import Interface


class Hello(Resource):
    """A page."""

    isLeaf = True

    def render(self, request: Any) -> bytes:
        request.setHeader(b"Content-Type", b"text/plain")
        return b"hello"


class IPage(Interface):
    """Finds the page of a request."""


GET = b"GET /some%%20where?a=1 HTTP/1.1\r\nHost: test\r\nX-Two: a\r\nX-Two: b\r\n%b\r\n"


class Page(Resource):
    """Keeps its requests, and leaves what becomes of them to a test."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[Any] = []
        self.lost: list[object] = []

    def render(self, request: Any) -> int:
        self.requests.append(request)
        request.notifyFinish().addErrback(self.lost.append)
        return NOT_DONE_YET


@pytest.fixture
def page(stack: Any) -> Page:
    stack.parts.site.resource = page = Page()
    return page


def test_a_resource_of_twisted(stack: Any) -> None:
    """A finished page goes out with its headers, and the connection serves the next request."""
    stack.parts.site.resource = Hello()
    connection = stack.connect()
    for _ in range(2):
        connection.get("/page")
        response = connection.response()
        assert (response.status, response.body, response["Content-Type"]) == (200, b"hello", "text/plain")
    assert not connection.transport.disconnecting


def test_close_is_told(stack: Any) -> None:
    """`Connection: close` is answered with the same, and carried out."""
    stack.parts.site.resource = Hello()
    connection = stack.connect()
    connection.get("/", ("Connection", "close"))
    assert connection.response()["Connection"] == "close"
    assert connection.transport.disconnecting


def test_what_a_request_says(stack: Any, page: Page) -> None:
    """Method, target, path and headers are those of the head; the query is not parsed."""
    connection = stack.connect()
    connection.send(GET % b"")
    (request,) = page.requests
    assert (request.method, request.uri, request.path) == (b"GET", b"/some%20where?a=1", b"/some%20where")
    assert (request.getHeader("x-two"), request.args, request.clientproto) == ("a, b", {}, b"HTTP/1.1")
    assert (request.getClientAddress().host, request.isSecure()) == ("192.0.2.1", False)
    assert (request.getHost(), request.transport) == (connection.transport.getHost(), connection.transport)
    assert (request.cookies, request.received_cookies) == ([], {})


def test_what_a_resource_keeps_with_a_request(stack: Any, page: Page) -> None:
    """Components and cookies are there once a resource asks for them, and stay."""
    connection = stack.connect()
    connection.send(GET % b"")
    (request,) = page.requests
    request.setComponent(IPage, page)
    assert request.getComponent(IPage) is page
    request.addCookie("a", "b")
    request.setHeader("Content-Length", "0")
    request.finish()
    assert connection.response()["Set-Cookie"] == "a=b"


def test_ends_are_not_known_after_the_end(stack: Any, page: Page) -> None:
    """A resource that first asks for the addresses when the connection is lost learns that it is."""
    connection = stack.connect()
    connection.send(GET % b"")
    connection.lose()
    with pytest.raises(ConnectionDone):
        _ = page.requests[0].host


def test_a_streamed_page(stack: Any, page: Page) -> None:
    """Without a length Twisted sends in chunks; a pipelined request waits for the last one."""
    connection = stack.connect()
    connection.send((GET % b"") * 2)
    assert len(page.requests) == 1
    page.requests[0].write(b"one")
    page.requests[0].write(b"two")
    page.requests[0].finish()
    data = connection.taken()
    assert data.startswith(b"HTTP/1.1 200 OK\r\n")
    assert data.endswith(b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")
    assert len(page.requests) == 2


def test_a_producer(stack: Any, page: Page) -> None:
    """What makes a body is paused and resumed by the transport."""
    connection = stack.connect()
    connection.send(GET % b"")
    (request,) = page.requests
    producer = object()
    request.registerProducer(producer, True)  # noqa: FBT003 - IConsumer
    assert connection.transport.producer is producer
    request.unregisterProducer()
    assert connection.transport.producer is None


def test_the_client_goes(stack: Any, page: Page) -> None:
    """A request whose connection is lost hears of it."""
    connection = stack.connect()
    connection.send(GET % b"")
    connection.lose()
    assert len(page.lost) == 1


def test_a_defect_after_the_head(stack: Any, page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """A resource that fails once its head is out breaks the connection off."""

    def fail(request: Any) -> None:
        request.write(b"x")
        raise KeyError

    monkeypatch.setattr(page, "render", fail)
    connection = stack.connect()
    with pytest.raises(KeyError):
        connection.send(GET % b"")
    assert connection.transport.aborted
