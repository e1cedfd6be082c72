"""Servers that keep the doctor for ever, or try to: every run has an end."""

from __future__ import annotations

import time
from contextlib import closing

import pytest
from tests.hostile_server import Server

from aero_storage.doctor.http_client import HttpClient, UnansweredError
from aero_storage.doctor.result import Severity
from aero_storage.doctor.runner import run_checks
from aero_storage.doctor.session import Session
from aero_storage.doctor.target import parse_target

TRICKLES = {
    "nothing": b"",
    "a header": b"HTTP/1.1 200 OK\r\nX: ",
    "a body": b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n",
}


@pytest.mark.parametrize("beginning", TRICKLES.values(), ids=TRICKLES)
def test_trickles(beginning: bytes) -> None:
    """All checks together end at the deadline, however little the server sends at a time, and the server fails."""
    began = time.monotonic()
    with Server(beginning, b"x" if beginning else b"") as server:
        target, _ = parse_target(server.url.removesuffix("/manifest.json"))
        with closing(HttpClient(target, timeout=10, ends=began + 0.4)) as client:
            report = run_checks(Session(client))
            assert client.is_overdue
    assert time.monotonic() - began < 3
    assert report.count(Severity.FAILURE) == 1
    assert report.count(Severity.SKIPPED) == len(report.results) - 1


def test_no_more_requests() -> None:
    """After the deadline no request is sent."""
    with Server(b"HTTP/1.1 204 No Content\r\n\r\n") as server:
        target, _ = parse_target(server.url.removesuffix("/manifest.json"))
        with (
            closing(HttpClient(target, ends=time.monotonic())) as client,
            pytest.raises(UnansweredError, match="--timeout"),
        ):
            client.ask("GET", "/")
        assert server.asked == 0


def test_interim_responses() -> None:
    """A server that sends interim responses without end is given up after a few of them."""
    flood = b"HTTP/1.1 100 Continue\r\n\r\n"
    with Server(flood, flood, 0.001) as server:
        target, _ = parse_target(server.url.removesuffix("/manifest.json"))
        with closing(HttpClient(target)) as client, pytest.raises(UnansweredError, match="interim"):
            client.ask("GET", "/")
