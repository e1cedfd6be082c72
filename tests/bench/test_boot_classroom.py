"""A recorded boot, and its replay against a server of the tests' own."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from bench.boot.classroom import Step, classroom, replay, steps
from bench.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterator

ASKED: list[str] = []


class Ranges(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        ASKED.append(extent := self.headers["Range"])
        self.send_response(429 if extent == "bytes=9-9" else 206)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing on standard error."""


@pytest.fixture
def port() -> Iterator[int]:
    ASKED.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Ranges) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def line(second: float, latency: float, extent: str, status: int = 206) -> dict[str, Any]:
    stamp = f"2026-11-28T12:00:{second:06.3f}+00:00"
    return {"timestamp": stamp, "latency_seconds": latency, "range": extent, "status": status}


def test_pauses_are_between_requests() -> None:
    """A pause is from the end of one request to the begin of the next; only answers with a range count."""
    lines = [line(2.0, 0.5, "10-19"), line(1.0, 0.25, "0-9"), line(2.1, 0.4, "20-29"), line(1.5, 0.1, "0-9", 404)]
    assert [(round(step.pause, 6), step.extent) for step in steps(lines)] == [
        (0, "0-9"),
        (0.5, "10-19"),
        (0, "20-29"),
    ]


def test_replay_asks_in_order(port: int) -> None:
    """The requests are those of the record, each after its pause; what is refused is told."""
    pauses: list[float] = []
    done = replay(port, "/image", [Step(0.0, "0-1"), Step(3.0, "9-9"), Step(1.0, "4-5")], pauses.append)
    assert ASKED == ["bytes=0-1", "bytes=9-9", "bytes=4-5"]
    assert pauses == [0.0, 3.0, 1.0]
    assert done.refused == [429]


def test_classroom_replays_alone_and_together(port: int) -> None:
    """One replay alone and one for each seat, and every refusal counts."""
    room = classroom(port, "/image", "v86", [Step(0.0, "0-1"), Step(0.0, "9-9")], seats=4)
    assert (len(ASKED), room.seats, room.refused) == (10, 4, 5)
    assert room.slowest > 0 < room.alone


def test_boot_without_requests_is_an_error(port: int) -> None:
    """A record without a range cannot be replayed."""
    with pytest.raises(BenchError, match="no boot was recorded of v86"):
        classroom(port, "/image", "v86", [])
