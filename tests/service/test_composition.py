"""The parts of a daemon in memory, as `compose` joins them: each is told what it has to know of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from aero_storage.logs.json_log import JsonLines
from aero_storage.metrics import Counts
from aero_storage.web.stall_detector import StallDetector

if TYPE_CHECKING:
    from collections.abc import Callable

URL = "/v1/images/disk.img"


class Full:
    """A sink without room."""

    def write(self, text: str) -> None:
        raise OSError(text)

    def flush(self) -> None:
        raise AssertionError("nothing was written")


def counts_of(stack: Any) -> Counts:
    counts: Counts = stack.parts.handler.reporter.metrics.snapshot()
    return counts


def test_rejections_are_counted(make_stack: Callable[..., Any]) -> None:
    """A request that gets no place is a 429, and counts with its reason."""
    stack = make_stack(max_concurrent_bytes_requests="1", bytes_queue_timeout_secs="0")
    stack.pool.held = True
    stack.connect().get(URL)
    assert stack.ask(URL).status == 429
    assert counts_of(stack).rejections["queue_full",] == 1


def test_waits_are_measured(make_stack: Callable[..., Any]) -> None:
    """A request that got its place from the queue counts with the time that it waited."""
    stack = make_stack(max_concurrent_bytes_requests="1")
    stack.pool.held = True
    connections = [stack.connect() for _ in range(2)]
    for connection in connections:
        connection.get(URL)
    assert not sum(counts_of(stack).queue_waits[()][:-1])
    stack.reactor.advance(0.25)
    stack.pool.release()
    assert [connection.response().status for connection in connections] == [200, 200]
    *buckets, seconds = counts_of(stack).queue_waits[()]
    assert (sum(buckets), seconds) == (1, 0.25)


def test_a_queue_takes_places_back(make_stack: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """When a request begins to wait, the stall detector looks for a place that can be had; not before."""
    looks: list[StallDetector] = []
    monkeypatch.setattr(StallDetector, "make_room", lambda self: looks.append(self))  # noqa: PLW0108 - a method
    stack = make_stack(max_concurrent_bytes_requests="1")
    stack.pool.held = True
    stack.connect().get(URL)
    assert looks == []
    stack.connect().get(URL)
    assert looks == [stack.parts.site.stalls]


def test_requests_of_one_client(make_stack: Callable[..., Any]) -> None:
    """Behind a trusted proxy the limit of one client is that of its requests; over it is a 429, which is logged."""
    stack = make_stack(max_connections_per_client="1", trusted_proxy="192.0.2.0/24")
    stack.pool.held = True
    stack.connect().get(URL, ("X-Forwarded-For", "198.51.100.7"))
    assert stack.ask(URL, ("X-Forwarded-For", "198.51.100.7")).status == 429
    assert counts_of(stack).refusals["client",] == 1
    assert ("warn", "connections refused", {"reason": "client", "limit": 1}) in [
        (level, message, {key: fields[key] for key in ("reason", "limit") if key in fields})
        for level, message, fields in stack.log.events
    ]


def test_no_limit_of_one_client(make_stack: Callable[..., Any]) -> None:
    """Without a limit, requests of one client are not counted."""
    stack = make_stack(trusted_proxy="192.0.2.0/24")
    for _ in range(3):
        stack.connect().get(URL, ("X-Forwarded-For", "198.51.100.7"))
    assert stack.ask(URL, ("X-Forwarded-For", "198.51.100.7")).status == 200


def test_total_of_all_workers(make_stack: Callable[..., Any]) -> None:
    """A worker's `/metrics` shows the total that it asks for, not its own counts."""

    async def total() -> Counts:
        return Counts(bytes={("elsewhere",): 7}, process=counts_of(stack).process)

    stack = make_stack(total=total)
    assert stack.metric('image_bytes_served_total{image_id="elsewhere"}') == 7


def test_dropped_lines_are_counted(make_stack: Callable[..., Any]) -> None:
    """Lines that the log of this daemon drops are in its counts."""
    log = JsonLines(Full(), "info")
    stack = make_stack(log)
    before = counts_of(stack).lines_dropped[()]
    log.event("info", "lost")
    assert counts_of(stack).lines_dropped[()] == before + 1


def test_a_shortage_closes_idle_connections(make_stack: Callable[..., Any]) -> None:
    """The guard of descriptors makes room by closing an idle connection, as long as there is one."""
    stack = make_stack()
    connection = stack.connect()
    connection.get("/healthz")
    stack.reactor.pump([1.0] * 5)
    make_room = stack.parts.accept_guard._make_room  # noqa: SLF001
    assert make_room()
    assert connection.transport.disconnecting or connection.transport.aborted
