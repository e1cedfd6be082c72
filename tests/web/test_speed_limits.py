"""Limits on speed, with the whole stack: what they hold for, and what they leave alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from tests.streaming.tcp_pair import ConnectionPair, ManualReactor, closing, connect
from twisted.internet.address import IPv4Address

from aero_storage.streaming.throttle import TICK_SECONDS

RATE = 1_000_000
BURST = 150_000
IMAGE = bytes(range(256)) * 4096
URL = "/v1/images/disk.img"
Dial = Callable[[Any], ConnectionPair]


@pytest.fixture
def stack(make_stack: Callable[..., Any]) -> Any:
    """A daemon that sends no faster than RATE to each connection."""
    return make_stack(max_bytes_per_second=str(RATE))


@pytest.fixture
def dial() -> Iterator[Dial]:
    """Connect to a daemon by a real socket, with which the kernel copies."""
    with ExitStack() as exits:
        reactor = ManualReactor()
        exits.callback(reactor.close)

        def make(stack: Any) -> ConnectionPair:
            channel = stack.parts.site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
            made = connect(reactor, stack.parts.pools.readers, [], buffers=None, protocol=channel)
            return exits.enter_context(closing(made))

        yield make


def test_where_the_kernel_does_not_copy(stack: Any) -> None:
    """By TLS and UNIX sockets, too, bytes come no faster than they may, and all of them."""
    connection, body = stack.connect(), b""
    connection.get(URL)
    head, _, body = connection.taken().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert BURST - RATE * TICK_SECONDS / 2 <= len(body) <= BURST
    for tick in range(1, 40):
        stack.reactor.advance(TICK_SECONDS)
        body += connection.taken()
        assert len(body) <= BURST + RATE * TICK_SECONDS * tick
    assert body == IMAGE
    assert stack.log.requests[0]["outcome"] == "complete"


def test_small_bodies_count(stack: Any, dial: Dial) -> None:
    """What is answered at once counts as well: when a burst is used up small ranges have to wait."""
    pair = dial(stack)
    pair.peer.send(f"GET {URL} HTTP/1.1\r\nHost: test\r\nRange: bytes=0-49999\r\n\r\n".encode() * 4)
    pair.run()
    assert [line["bytes_sent"] for line in stack.log.requests] == [50_000] * 3
    stack.reactor.advance(TICK_SECONDS)
    pair.run()
    assert [line["bytes_sent"] for line in stack.log.requests] == [50_000] * 4


def test_a_limit_below_a_small_body(make_stack: Callable[..., Any], dial: Dial) -> None:
    """A body that is more than a burst comes in pieces."""
    stack = make_stack(max_total_bytes_per_second="40000")
    pair = dial(stack)
    pair.peer.send(f"GET {URL} HTTP/1.1\r\nHost: test\r\nRange: bytes=0-9999\r\n\r\n".encode())
    pair.run()
    assert 5_000 <= len(pair.taken) < 10_000
    for _ in range(6):
        stack.reactor.advance(TICK_SECONDS)
        pair.run()
    assert pair.taken.endswith(IMAGE[:10_000])


def test_all_else_is_free(stack: Any) -> None:
    """Errors, metadata, health and HEAD are not held back, and take nothing from what may be sent."""
    connection = stack.connect()
    for target, method in ((URL, "HEAD"), ("/healthz", "GET"), (f"{URL}/meta", "GET"), ("/v1/images/no", "GET")):
        connection.get(target, method=method)
        assert connection.taken()
    assert connection.channel.pace.left == BURST


def test_no_limit(make_stack: Callable[..., Any], dial: Dial) -> None:
    """Without a limit connections have no pace to keep."""
    stack = make_stack()
    assert stack.connect().channel.pace is None
    pair = dial(stack)
    assert pair.server.pace is None
