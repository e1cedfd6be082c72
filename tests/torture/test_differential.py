"""The differential client complains about servers that do wrong: what they did, and the seed that shows it again."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count

import pytest
from torture.fuzzing.differential import Batch, compare_answers, exchange, faults
from torture.fuzzing.hostile_connections import HostileConnection, Piece, hostile_connection
from torture.fuzzing.smuggling import SMUGGLED

PIECES = HostileConnection((Piece(b"a", 1), Piece(b"bc", 1)), waits=True)


class Canned(socketserver.BaseRequestHandler):
    """Reads all, then says what it was told to say; without an answer it waits for the client to go."""

    server: Server

    def handle(self) -> None:
        got = bytearray()
        while part := self.request.recv(1 << 16):
            got += part
        answer = self.server.say(bytes(got))
        if answer is None:
            self.server.over.wait(10)
        else:
            self.request.sendall(answer)


class Server(socketserver.ThreadingTCPServer):
    request_queue_size = 50

    def __init__(self, say: Callable[[bytes], bytes | None]) -> None:
        super().__init__(("127.0.0.1", 0), Canned)
        self.say, self.over = say, threading.Event()


@contextmanager
def serving(*says: Callable[[bytes], bytes | None]) -> Iterator[list[int]]:
    """Run servers for the length of a with block; their ports."""
    with ExitStack() as held:
        servers = [held.enter_context(Server(say)) for say in says]
        threads = [threading.Thread(target=server.serve_forever, args=(0.01,)) for server in servers]
        for server, thread in zip(servers, threads, strict=True):
            thread.start()
            held.callback(thread.join)
            held.callback(server.shutdown)
            held.callback(server.over.set)
        yield [server.server_address[1] for server in servers]


def answer(status: int, own: str = "1", body: str = "") -> bytes:
    head = f"HTTP/1.1 {status} X\r\nDate: {own}\r\nX-Request-Id: {own}\r\nContent-Length: {len(body)}\r\n\r\n"
    return (head + body).encode("ascii")


def hammered(*says: Callable[[bytes], bytes | None], wanted: int = 6, patience: float = 5.0) -> Batch:
    with serving(*says) as ports:
        return compare_answers(ports, "test", wanted, patience)


def test_nothing_wrong() -> None:
    """Answers that differ in their date and id only are the same; all are counted, interim ones are not."""
    batch = hammered(
        lambda _: b"HTTP/1.1 100 Continue\r\n\r\n" + answer(200, "1") + answer(404, "1"),
        lambda _: b"HTTP/1.1 100 Continue\r\n\r\n" + answer(200, "2") + answer(404, "2"),
    )
    assert batch.complaints == []
    assert batch.statuses == {200: 4, 404: 4}
    assert batch.connections == 4
    assert batch.sent == 2 * sum(piece.heads for one in (0, 1) for piece in hostile_connection(f"test {one}").pieces)


@pytest.mark.parametrize("other", [answer(404), answer(200, body="x"), answer(200) * 2, b""])
def test_lanes_that_differ(other: bytes) -> None:
    """In a status, a byte of a body, or how many they answer."""
    batch = hammered(lambda _: answer(200), lambda _: other)
    assert all("): not the same answers: [[200], " in text for text in batch.complaints)
    assert len(batch.complaints) >= 2


def test_difference_is_shown() -> None:
    """The place where two answers part, without what may differ."""
    with serving(lambda _: answer(200, "1", "ab"), lambda _: answer(200, "2", "ax")) as ports:
        (complaint,) = faults(exchange(ports, PIECES))
    around = [f" 200 X\r\nContent-Length: 2\r\n\r\n{body}".encode("ascii") for body in ("ab", "ax")]
    assert complaint == f"not the same answers: [[200], [200]], from byte 38 on {around}"


def test_server_error() -> None:
    """A 5xx is told with the seed that brings it about, and what was sent."""
    batch = hammered(lambda _: answer(503), wanted=1)
    (complaint,) = batch.complaints
    assert complaint.startswith("hostile_connection('test 0'): an error of the server: [[503]]; sent: ")
    assert repr(hostile_connection("test 0").text)[:200] in complaint


def test_smuggled() -> None:
    """An answer that bears the id of the request in the body."""
    hostile = next(one for one in map(hostile_connection, map(str, count())) if SMUGGLED in one.text)
    with serving(lambda _: answer(413), lambda _: answer(413) + answer(200, "smuggled")) as ports:
        innocent, guilty = exchange(ports, hostile)
    assert faults([innocent]) == []
    assert faults([guilty]) == ["a smuggled request was answered: [[413, 200]]"]


def test_no_end() -> None:
    """A connection that is not closed within its time; five complaints are enough."""
    batch = hammered(lambda _: None, wanted=100, patience=0.02)
    assert len(batch.complaints) == batch.connections == 5
    assert all("): no end of the connection: [[]]" in text for text in batch.complaints)


def test_no_answers() -> None:
    """A server that closes without a word is not tried for ever."""
    batch = hammered(lambda _: b"", wanted=3)
    assert batch.complaints == ["4 connections got only 0 answers"]


def test_exchange_sends_all() -> None:
    """Piece by piece, whether or not each is answered."""
    with serving(lambda got: answer(200, body=got.decode("ascii"))) as ports:
        (peer,) = exchange(ports, PIECES)
    assert peer.answer.endswith(b"\r\n\r\nabc")
    assert (peer.heads, peer.ended, peer.statuses) == (2, True, [200])
