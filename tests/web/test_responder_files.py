"""Responses over real sockets, where the kernel copies the file: what is logged, what is given back, each time."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.streaming.tcp_pair import MIB, ConnectionPair, ManualReactor, closing, connect, descriptors, pattern
from twisted.internet.address import IPv4Address

from aero_storage.storage.local.local_blob import LocalBlob
from aero_storage.streaming.change_reports import REPORT_SECONDS
from aero_storage.streaming.sendfile import SendfileServer

IMAGE = pattern(6 * MIB)
URL = "/v1/images/disk.img"
Dial = Callable[[], ConnectionPair]


@pytest.fixture(autouse=True)
def cold(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether files are to be taken for cold: put something in."""
    answers: list[bool] = []
    monkeypatch.setattr("aero_storage.storage.local.local_blob.is_resident", lambda *_: not answers)
    return answers


@pytest.fixture
def dial(stack: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Dial]:
    """Connect to the daemon by TCP. No byte may be read on the way but by the kernel; all descriptors come back."""
    (stack.root / "disk.img").write_bytes(IMAGE)

    def read(*_: object) -> bytes:
        raise AssertionError("nobody reads here")

    monkeypatch.setattr(LocalBlob, "read", read)
    before = descriptors()
    with ExitStack() as exits:
        reactor = ManualReactor()
        exits.callback(reactor.close)

        def make() -> ConnectionPair:
            channel = stack.parts.site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
            shared = stack.parts.sending
            pair = connect(reactor, shared.disk, [], protocol=channel, in_flight=shared.in_flight)
            return exits.enter_context(closing(pair))

        yield make
    stack.parts.root.store.close()  # what is still in use stays open
    stack.pool.release()
    assert descriptors() == before
    assert stack.parts.admission.taken == 0


RESETS = "file changed in place: connections reset"


def ask(pair: ConnectionPair, *headers: str, method: str = "GET") -> None:
    pair.peer.send("\r\n".join([f"{method} {URL} HTTP/1.1", "Host: test", *headers, "", ""]).encode())
    pair.turn(2)


def bodies(pair: ConnectionPair) -> list[bytes]:
    """The bodies of all responses so far, by their Content-Length."""
    data, found = bytes(pair.taken), []
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        found.append(data[:length])
        data = data[length:]
    return found


def result_of(stack: Any) -> tuple[str, int, int]:
    line = stack.log.requests[0]
    return line["outcome"], line["status"], line["bytes_sent"]


@pytest.mark.parametrize("is_cold", [True, False])
def test_whole_image(stack: Any, dial: Dial, cold: list[bool], *, is_cold: bool) -> None:
    """A GET streams every byte, and is complete when the kernel has the last, not sooner."""
    cold.extend([True] * is_cold)
    pair = dial()
    ask(pair)
    pair.stall()
    assert not stack.log.requests
    pair.run()
    assert bodies(pair) == [IMAGE]
    assert result_of(stack) == ("complete", 200, len(IMAGE))
    assert stack.metric('image_bytes_served_total{image_id="disk.img"}') == len(IMAGE)


def test_pipelined(stack: Any, dial: Dial) -> None:
    """Requests that come together are answered in order, files and errors alike."""
    pair = dial()
    ask(pair, "Range: bytes=5-2000000")
    ask(pair, "Range: bytes=9-")
    ask(pair, "Range: bytes=9999999-")
    ask(pair, "Range: bytes=0-0")
    for _ in range(4):
        pair.run()
        stack.reactor.advance(0)  # what is pipelined goes on in the next turn
    assert bodies(pair) == [IMAGE[5:2000001], IMAGE[9:], b"", IMAGE[:1]]
    assert [line["status"] for line in stack.log.requests] == [206, 206, 416, 206]


def test_close_after_the_response(stack: Any, dial: Dial) -> None:
    """A connection that is to be closed ends cleanly behind the last byte."""
    pair = dial()
    ask(pair, "Connection: close")
    pair.run()
    assert bodies(pair) == [IMAGE]
    assert pair.at_end
    assert result_of(stack) == ("complete", 200, len(IMAGE))


def test_head(stack: Any, dial: Dial) -> None:
    """HEAD touches no byte of the file."""
    pair = dial()
    ask(pair, method="HEAD")
    pair.run()
    assert pair.taken.endswith(b"\r\n\r\n")
    assert result_of(stack) == ("complete", 200, 0)


def test_client_resets(stack: Any, dial: Dial) -> None:
    """A client that resets is disconnected; what is logged is what the kernel had, to the byte."""
    pair = dial()
    ask(pair)
    pair.stall()
    pair.take(MIB)
    pair.stall()
    sent = len(IMAGE) - pair.server.unsent
    pair.reset()
    pair.turn(3)
    assert result_of(stack) == ("disconnected", 200, sent)
    assert 0 < sent < len(IMAGE)


def test_client_resets_while_a_thread_reads(
    stack: Any, dial: Dial, cold: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that leaves while its bytes are fetched is noticed at once, and its work is never done."""
    pair = dial()
    cold.append(True)
    stack.pool.held = True
    ask(pair)
    stack.pool.open()
    assert len(stack.pool.jobs) == 1  # the fetch
    pair.reset()
    pair.turn(3)
    assert result_of(stack) == ("disconnected", 200, 0)
    monkeypatch.setattr(LocalBlob, "populate", None)
    stack.pool.step()


@pytest.mark.parametrize("how", ["truncate", "touch"])
def test_file_changes(stack: Any, dial: Dial, how: str) -> None:
    """A file that changes in the middle is a response that breaks off, with a reason in the log."""
    pair = dial()
    ask(pair)
    pair.stall()
    path: Path = stack.root / "disk.img"
    if how == "truncate":
        os.truncate(path, 3 * MIB)
    else:
        os.utime(path, ns=(0, 1))
    pair.run()
    assert pair.was_reset
    kind, status, sent = result_of(stack)
    assert (kind, status) == ("aborted", 200)
    assert len(bodies(pair)[0]) <= sent < len(IMAGE)
    assert IMAGE.startswith(bodies(pair)[0])
    stack.reactor.advance(REPORT_SECONDS)
    told = [message for level, message, _ in stack.log.events if level in {"warn", "error"}]
    assert told == ["a file in use cannot be watched: changes in place are found by looks alone", RESETS]


def test_file_is_replaced(stack: Any, dial: Dial) -> None:
    """A file that is replaced by rename streams to its end from the old one."""
    pair = dial()
    ask(pair)
    pair.stall()
    (stack.root / ".new").write_bytes(b"new")
    (stack.root / ".new").rename(stack.root / "disk.img")
    pair.run()
    assert bodies(pair) == [IMAGE]


def test_shutdown(stack: Any, dial: Dial) -> None:
    """When the server stops, a stream is aborted by us, and its bytes are counted."""
    pair = dial()
    ask(pair)
    pair.stall()
    sent = len(IMAGE) - pair.server.unsent
    stack.parts.site.shut()
    pair.turn(3)
    pair.take()
    assert pair.was_reset
    assert result_of(stack) == ("aborted", 200, sent)


def test_killed_while_it_sends(dial: Dial, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first byte of a body on that does not leave in one piece, the kernel would reset the connection."""
    options: list[tuple[int, ...]] = []
    send = SendfileServer._send  # noqa: SLF001 - the call before the kernel's

    def watched(transport: SendfileServer, pieces: Sequence[bytes], flags: int) -> int:
        options.append(struct.unpack("ii", transport.socket.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)))
        return send(transport, pieces, flags)

    monkeypatch.setattr(SendfileServer, "_send", watched)
    pair = dial()
    ask(pair, "Range: bytes=0-1048575")
    pair.run()
    assert bodies(pair) == [IMAGE[:MIB]]
    assert set(options) == {(1, 0)}
    assert struct.unpack("ii", pair.server.socket.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)) == (0, 0)
