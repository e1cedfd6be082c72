"""Servers that answer badly or not at all: what was asked ends in bounds, with a message of one line."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from tests.doctor.faulty_proxy import scripted

from aero_storage.doctor.http_client import MOST, BrokenOffError, BusyError, HttpClient, UnansweredError, deadline
from aero_storage.doctor.result import Severity
from aero_storage.doctor.runner import CHECKS, run_checks
from aero_storage.doctor.session import Session
from aero_storage.doctor.target import Target

EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
BUSY = b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@contextmanager
def client_of(*answers: bytes) -> Iterator[tuple[HttpClient, list[bytes], list[float]]]:
    pauses: list[float] = []
    with (
        scripted(*answers) as (port, heads),
        closing(HttpClient(Target("http", "127.0.0.1", port), pause=pauses.append)) as client,
    ):
        yield client, heads, pauses


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"HTTP/1.1 \x1b[31m OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"A-%d: b\r\n" % n for n in range(200)) + b"\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * 100_000 + b"\r\n\r\n",
    ],
    ids=["nothing", "another protocol", "no status", "many headers", "a long header"],
)
def test_no_answer(answer: bytes) -> None:
    """What is no answer is told as such, in one printable line."""
    with client_of(answer) as (client, _, _), pytest.raises(UnansweredError) as caught:
        client.ask("GET", "/x")
    assert str(caught.value).startswith("GET /x: ")
    assert str(caught.value).isprintable()


def test_body_without_end() -> None:
    """Of a body that is longer than wanted, no more than a piece over it is read, and the connection is given up."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000000\r\n\r\n"
    with client_of(head + bytes(4 * MOST), EMPTY) as (client, _, _):
        answer = client.ask("GET", "/x")
        assert not answer.is_complete
        assert len(answer.body) == MOST
        assert client.received <= 2 * MOST
        assert not client.ask("GET", "/y").is_reused


def test_body_that_breaks_off() -> None:
    """A body that ends before its length says how far it came."""
    half = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"
    with client_of(half) as (client, _, _), pytest.raises(BrokenOffError, match="broke off after 4 of 100 bytes"):
        client.ask("GET", "/x")


def test_redirect_is_shown() -> None:
    """A redirect is an answer like others: nothing else is asked."""
    answer = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    with client_of(answer) as (client, heads, _):
        assert client.ask("GET", "/x").status == 302
    assert len(heads) == 1


def test_full_server() -> None:
    """A full server is asked again after a pause, and believed the third time."""
    with client_of(BUSY, EMPTY) as (client, _, pauses):
        assert client.ask("GET", "/x").status == 200
    assert pauses == [1.0]
    with client_of(BUSY, BUSY, BUSY) as (client, _, _), pytest.raises(BusyError, match="429, 3 times"):
        client.ask("GET", "/x")


def test_idle_connection_that_was_closed() -> None:
    """A connection that the server closed while it was idle is replaced, as browsers do, and nobody hears of it."""
    kept = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    with client_of(kept, kept) as (client, heads, _):
        assert not client.ask("GET", "/x").is_reused
        assert not client.ask("GET", "/y").is_reused
    assert [head.split()[1] for head in heads] == [b"/x", b"/y"]


def test_deadline() -> None:
    """Whoever sends a byte now and then is cut off all the same: the reader wakes up with a TimeoutError."""
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(TimeoutError), deadline(ours, 0.01):
        ours.recv(1)


def test_nobody_listens() -> None:
    """Where nobody listens, that is the one failure, and how to start the daemon is what is said."""
    with closing(HttpClient(Target("http", "127.0.0.1", closed_port()))) as client:
        first, *rest = run_checks(Session(client)).results
    assert first.result.severity is Severity.FAILURE
    assert "refused" in first.result.seen
    assert "twistd aero-storage" in first.result.remedy
    assert {one.result.severity for one in rest} == {Severity.SKIPPED}
    assert len(rest) == len(CHECKS) - 1


def test_server_that_falls_silent() -> None:
    """After three questions without an answer the rest is left out: each might wait for its timeout."""
    with client_of(EMPTY, b"", b"", b"") as (client, heads, _):
        results = run_checks(Session(client)).results
    assert len(heads) == 4
    assert results[-1].result.severity is Severity.SKIPPED
    assert "stopped answering" in results[-1].result.seen


def test_no_certificate_to_look_at() -> None:
    """A server that is gone when its certificate is looked at is not said to have a bad one."""
    (check,) = [one for one in CHECKS if one.name == "certificate"]
    with closing(HttpClient(Target("https", "127.0.0.1", closed_port()))) as client:
        result = check.run(Session(client)).result
    assert result.severity is Severity.FAILURE
    assert "refused" in result.seen
    assert "fullchain" not in result.remedy
