"""Bodies that the daemon makes, for clients that do not read: what is held, who is closed, what the log says."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.streaming.tcp_pair import KIB, MIB, ConnectionPair, ManualReactor, closing, connect
from twisted.internet.address import IPv4Address

from aero_storage.streaming.waiting_bodies import WaitingBodies
from aero_storage.web.responder import PIECE_BYTES

META = "/v1/images/disk.img/meta"
LIST = "/v1/images"
Dial = Callable[[], ConnectionPair]


@pytest.fixture
def make_daemon(tmp_path: Path, make_stack: Callable[..., Any]) -> Callable[..., Any]:
    """Make a daemon whose list and metadata are a megabyte each."""

    def make(**settings: str) -> Any:
        images = tmp_path / "images"
        images.mkdir()
        (images / "manifest.json").write_text(
            json.dumps([{"id": "disk.img", "file": "disk.img", "name": "Disk", "description": "d" * MIB}])
        )
        return make_stack(**settings)

    return make


@pytest.fixture
def exits() -> Iterator[ExitStack]:
    with ExitStack() as exits:
        yield exits


def dialling(stack: Any, exits: ExitStack) -> Dial:
    """What connects to the daemon by TCP."""
    reactor = ManualReactor()
    exits.callback(reactor.close)

    def dial() -> ConnectionPair:
        channel = stack.parts.site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
        return exits.enter_context(closing(connect(reactor, stack.parts.pools.readers, [], protocol=channel)))

    return dial


def bodies_of(stack: Any) -> WaitingBodies:
    bodies: WaitingBodies = stack.parts.site._responder._bodies  # noqa: SLF001
    return bodies


def ask(pair: ConnectionPair, target: str) -> None:
    """Ask, and let the sockets fill: nobody reads."""
    pair.peer.send(f"GET {target} HTTP/1.1\r\nHost: test\r\n\r\n".encode("ascii"))
    pair.stall()


def body_of(pair: ConnectionPair) -> bytes:
    pair.run()
    return bytes(pair.taken).partition(b"\r\n\r\n")[2]


def test_clients_share_a_list(make_daemon: Callable[..., Any], exits: ExitStack) -> None:
    """Clients that do not read wait with one list, also if it was made anew between them, and nothing is copied."""
    stack = make_daemon()
    dial = dialling(stack, exits)
    pairs = [dial() for _ in range(6)]
    for pair in pairs:
        ask(pair, LIST)
        stack.reactor.advance(1)
    assert MIB < bodies_of(stack).held < MIB + KIB
    for pair in pairs:
        assert len(pair.server.dataBuffer) + pair.server._tempDataLen < 4 * KIB  # noqa: SLF001
        assert json.loads(body_of(pair))[0]["description"] == "d" * MIB
    assert bodies_of(stack).held == 0
    assert stack.metric("aero_storage_waiting_bodies_closed_total") == 0


@pytest.mark.parametrize("shared", [True, False])
def test_over_the_limit(make_daemon: Callable[..., Any], exits: ExitStack, *, shared: bool) -> None:
    """The connection that has waited longest without a byte taken is reset; its line says why. Others end well."""
    stack = make_daemon(max_waiting_body_bytes=str(5 * MIB // 2))
    dial = dialling(stack, exits)
    first, second, third = pairs = dial(), dial(), dial()
    if not shared:
        for pair in pairs:
            pair.protocol.sendfile = None
    ask(first, META)
    ask(second, META)
    first.take(300 * KIB)
    first.stall()  # it has taken some, so the second has waited longer
    assert stack.log.requests == []
    ask(third, META)
    second.turn(3)
    second.take()
    assert second.was_reset
    (line,) = stack.log.requests
    assert (line["outcome"], line["reason"], line["status"]) == ("aborted", "waiting_bodies", 200)
    assert 0 < line["bytes_sent"] < MIB
    assert len(body_of(first)) == len(body_of(third)) > MIB
    assert [line.get("reason") for line in stack.log.requests] == ["waiting_bodies", None, None]
    assert stack.metric("aero_storage_waiting_bodies_closed_total") == 1
    stack.reactor.advance(1)
    assert stack.metric('aero_storage_responses_broken_off_total{outcome="aborted"}') == 1


def completes(_stack: Any, pair: ConnectionPair) -> str:
    pair.run()
    return "complete"


def client_resets(_stack: Any, pair: ConnectionPair) -> str:
    pair.reset()
    pair.turn(3)
    return "disconnected"


def daemon_stops(stack: Any, pair: ConnectionPair) -> str:
    stack.parts.site.shut()
    pair.turn(3)
    return "aborted"


def client_stalls(stack: Any, pair: ConnectionPair) -> str:
    (stream,) = stack.parts.site.streams
    stream.shut()
    pair.turn(3)
    return "aborted"


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("end", [completes, client_resets, daemon_stops, client_stalls])
def test_every_end(
    make_daemon: Callable[..., Any], exits: ExitStack, end: Callable[[Any, ConnectionPair], str], *, shared: bool
) -> None:
    """However a response ends, its body counts no more, nothing listens for its bytes, and one line says how."""
    stack = make_daemon()
    pair = dialling(stack, exits)()
    if not shared:
        pair.protocol.sendfile = None
    ask(pair, META)
    assert stack.metric("aero_storage_waiting_body_bytes") == bodies_of(stack).held > MIB
    assert pair.server.on_taken is not None
    outcome = end(stack, pair)
    (line,) = [line for line in stack.log.requests if line["path"] == META]
    assert (line["outcome"], "reason" in line) == (outcome, False)
    assert bodies_of(stack).held == 0
    assert pair.server.on_taken is None


def test_a_small_body_that_leaves_at_once(stack: Any, exits: ExitStack) -> None:
    """It never counts, so nobody is closed for it."""
    pair = dialling(stack, exits)()
    before = bodies_of(stack).add(b"12345678", 0, pytest.fail)
    ask(pair, "/healthz")
    assert bodies_of(stack).held == 8
    assert body_of(pair) == b'{"status":"ok"}'
    before.leave()


def test_a_small_body_that_has_to_wait(stack: Any, exits: ExitStack) -> None:
    """Behind answers that nobody has read even a small one counts, and its rest is not copied."""
    pair = dialling(stack, exits)()
    request = b"GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n"
    pair.peer.send(request * 60)
    for _ in range(60):
        pair.stall()
        stack.reactor.advance(1)
    assert 0 < len(stack.log.requests) < 60
    assert KIB < bodies_of(stack).held < 64 * KIB
    assert len(pair.server.dataBuffer) + pair.server._tempDataLen < KIB  # noqa: SLF001


def test_pieces(make_daemon: Callable[..., Any], exits: ExitStack) -> None:
    """A connection that cannot share a body holds one piece of it at a time, which counts, and gets every byte."""
    stack = make_daemon()
    pair = dialling(stack, exits)()
    pair.protocol.sendfile = None
    ask(pair, META)
    assert 0 < pair.server.unsent <= PIECE_BYTES + KIB
    assert bodies_of(stack).held > MIB + PIECE_BYTES
    assert json.loads(body_of(pair))["description"] == "d" * MIB
    (line,) = stack.log.requests
    assert (line["outcome"], line["bytes_sent"]) == ("complete", len(body_of(pair)))


def test_killed_between_two_pieces(make_daemon: Callable[..., Any], exits: ExitStack) -> None:
    """The kernel would reset the connection, and not once all pieces are there: a body never ends short and clean."""
    stack = make_daemon()
    pair = dialling(stack, exits)()
    pair.protocol.sendfile = None
    ask(pair, META)
    option = pair.server.socket.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)
    assert struct.unpack("ii", option) == (1, 0)
    pair.run()
    option = pair.server.socket.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)
    assert struct.unpack("ii", option) == (0, 0)


def test_small_ranges_that_nobody_reads(stack: Any, exits: ExitStack) -> None:
    """Of a small range the rest waits in its file: no byte of it is in memory, and all come in the end."""
    image = (stack.root / "disk.img").read_bytes()
    pair = dialling(stack, exits)()
    asked = "GET /v1/images/disk.img HTTP/1.1\r\nHost: test\r\nRange: bytes=7-60006\r\n\r\n"
    pair.peer.send(asked.encode("ascii") * 12)
    for _ in range(12):
        pair.stall()
        stack.reactor.advance(0)
    assert len(stack.log.requests) < 11
    assert pair.server.unsent > KIB
    assert len(pair.server.dataBuffer) + pair.server._tempDataLen < KIB  # noqa: SLF001
    for _ in range(12):
        pair.run()
        stack.reactor.advance(0)
    assert pair.taken.count(image[7:60007]) == 12
    assert [line["bytes_sent"] for line in stack.log.requests] == [60000] * 12
