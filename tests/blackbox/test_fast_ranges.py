"""http.md §5, §8 and §9: ranges that are answered the fast way are answered, logged and counted like all others."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from tests.blackbox.harness import running, until
from tests.blackbox.image_roots import DISK, small_root
from tests.blackbox.raw_http import head

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.blackbox.harness import Daemon, Line

LENGTH = 65_536
PATH = "/v1/images/disk"
MOST = 400
"""Responses of LENGTH bytes, more than any socket takes that nobody reads from."""

LABELS = {"route": "/v1/images/:image_id", "method": "GET"}


@pytest.fixture(scope="module")
def daemon(home: Callable[[str], Path]) -> Iterator[Daemon]:
    path = home("fast")
    small_root(path / "images")
    with running(path) as running_daemon:
        yield running_daemon


def _range(number: int) -> bytes:
    return head("GET", PATH, {"Range": f"bytes={number}-{number + LENGTH - 1}"})


def _told(daemon: Daemon, since: int) -> list[Line]:
    return [line for line in daemon.lines(since) if line["message"] == "request complete" and line.get("range")]


def _is_told(daemon: Daemon, since: int, count: int) -> bool:
    """Whether so many responses have ended, which the log tells within a moment."""
    deadline = time.monotonic() + 0.5
    while len(_told(daemon, since)) < count and time.monotonic() < deadline:
        time.sleep(0.005)
    return len(_told(daemon, since)) >= count


def test_a_range_that_the_socket_takes_in_part_arrives_whole(daemon: Daemon) -> None:
    """Its rest follows when the client reads; it is logged and counted once, as are the ranges before it."""
    before, since = daemon.metrics(), daemon.log_size()
    with daemon.dial(receive_buffer=4096) as conn:
        sent = 0
        for number in range(MOST):
            conn.send(_range(number))
            sent += 1
            if not _is_told(daemon, since, sent):
                break
        assert 2 < sent < MOST, "the socket was never full"
        for number in range(sent):
            reply = conn.reply()
            assert (reply.status, reply.body) == (206, DISK[number : number + LENGTH])
        conn.send(_range(7))
        assert conn.reply().body == DISK[7 : 7 + LENGTH]
    until(lambda: len(_told(daemon, since)) > sent)
    lines = _told(daemon, since)
    assert [line["range"] for line in lines[:sent]] == [f"{number}-{number + LENGTH - 1}" for number in range(sent)]
    assert {(line["outcome"], line["bytes_sent"], line["status"]) for line in lines} == {("complete", LENGTH, 206)}
    assert len({line["request_id"] for line in lines}) == sent + 1
    total = sent + 1
    daemon.rises(before, total, "http_requests_total", status="206", **LABELS)
    daemon.rises(before, total * LENGTH, "image_bytes_served_total", image_id="disk")
    daemon.rises(before, total, "http_request_duration_seconds_count", **LABELS)
