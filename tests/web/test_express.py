"""The express lane: what it takes, what it leaves, and how what it took can end."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionLost

from aero_storage.delivery.routes import ROUTES, Plane
from aero_storage.errors import ShortReadError
from aero_storage.web.express import find_route
from aero_storage.web.sending import SMALL

IMAGE = bytes(range(256)) * 4096
URL = "/v1/images/disk.img"


@attrs.define(eq=False)
class Sender:
    """A transport that sends at once, or, while `full`, when it is told to."""

    full: bool = False
    sent: bytes = b""
    unsent: int = 0
    aborted: bool = False
    files: list[tuple[Any, int, int]] = attrs.field(factory=list)
    waiting: list[Deferred[None]] = attrs.field(factory=list)
    pace: None = None
    unfinished: bool = False

    def mark_unfinished(self) -> None:
        self.unfinished = True

    def mark_finished(self) -> None:
        self.unfinished = False

    def write_through(self, data: bytes | memoryview) -> bool:
        if self.full:
            self.unsent += len(data)
        else:
            self.sent += bytes(data)
        return not self.full

    def send_file(self, source: Any, offset: int, length: int, head: bytes = b"") -> Deferred[None]:
        self.files.append((source, offset, length))
        if not self.full:
            self.sent += head + os.pread(source.fileno(), length, offset)
            return succeed(None)
        self.unsent += len(head) + length
        return self.when_drained()

    def when_drained(self) -> Deferred[None]:
        waiting: Deferred[None] = Deferred()
        self.waiting.append(waiting)
        return waiting

    def abortConnection(self) -> None:
        self.aborted = True


@attrs.define(eq=False)
class Channel:
    """The connection."""

    delivery: Any = None
    persistent: list[bool] = attrs.field(factory=list)
    farewells: int = 0

    def delivery_begins(self, delivery: Any) -> None:
        self.delivery = delivery

    def delivered(self, *, persistent: bool) -> None:
        self.persistent.append(persistent)

    def say_farewell(self) -> None:
        self.farewells += 1


@attrs.define(eq=False)
class Lane:
    stack: Any
    sender: Sender = attrs.field(factory=Sender)
    channel: Channel = attrs.field(factory=Channel)

    def take(self, *headers: str, method: str = "GET", target: str = URL, peer: str = "192.0.2.1") -> bool:
        lines = [f"{method} {target} HTTP/1.1", "Host: test", *headers, "", ""]
        data = "\r\n".join(lines).encode()
        taken: bool = self.stack.parts.site.lane.take(data, peer, self.sender, self.channel)
        return taken

    def assert_over(self) -> dict[str, Any]:
        """Nothing is held any more, and there is one line in the log."""
        assert self.stack.parts.admission.taken == 0
        self.stack.parts.store.close()
        self.stack.pool.release()
        links = Path("/proc/self/fd").iterdir()
        assert not [link for link in links if os.path.realpath(link).startswith(str(self.stack.root))]
        (line,) = self.stack.log.requests[1:]
        found: dict[str, Any] = line
        return found


@pytest.fixture
def lane(stack: Any) -> Lane:
    """A lane whose image is open already: somebody has asked for it."""
    stack.ask(URL, method="HEAD")
    return Lane(stack)


def test_small_range(lane: Lane) -> None:
    """A small range goes out in one write with its head, and ends there and then."""
    assert lane.take("Range: bytes=5-1004", "X-Request-Id: r-1")
    head, _, body = lane.sender.sent.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 206 Partial Content\r\n")
    assert b"\r\nX-Request-Id: r-1\r\n" in head
    assert b"\r\nContent-Range: bytes 5-1004/1048576" in head
    assert body == IMAGE[5:1005]
    assert (lane.sender.files, lane.channel.persistent) == ([], [True])
    line = lane.assert_over()
    assert (line["outcome"], line["bytes_sent"], line["status"]) == ("complete", 1000, 206)


@pytest.mark.parametrize(("last", "is_file"), [(SMALL - 1, False), (SMALL, True)])
def test_large_ranges_are_sent_by_the_kernel(lane: Lane, last: int, *, is_file: bool) -> None:
    """What is not small is left to the kernel to copy."""
    assert lane.take(f"Range: bytes=0-{last}")
    assert lane.sender.sent.endswith(b"\r\n\r\n" + IMAGE[: last + 1])
    assert bool(lane.sender.files) is is_file
    assert lane.assert_over()["bytes_sent"] == last + 1


def test_head(lane: Lane) -> None:
    """HEAD has the headers, and no file is touched."""
    assert lane.take(method="HEAD")
    assert lane.sender.sent.endswith(b"\r\n\r\n")
    assert b"\r\nContent-Length: 1048576\r\n" in lane.sender.sent
    assert lane.assert_over()["bytes_sent"] == 0


@pytest.mark.parametrize(
    ("headers", "target", "status"),
    [
        (["Range: bytes=9999999-"], URL, b"416"),
        (['If-Match: "x"'], URL, b"412"),
        (["If-None-Match: *"], URL, b"304"),
        ([], "/v1/images/unknown", b"404"),
        ([], "/v1/images/..", b"404"),
    ],
)
def test_refusals(lane: Lane, headers: list[str], target: str, status: bytes) -> None:
    """What needs no bytes is answered as well."""
    assert lane.take(*headers, target=target)
    assert lane.sender.sent.startswith(b"HTTP/1.1 " + status)
    assert lane.assert_over()["status"] == int(status)


def test_close(lane: Lane) -> None:
    """`Connection: close` is answered with the same, and passed on."""
    assert lane.take("Connection: close")
    assert b"\r\nConnection: close\r\n" in lane.sender.sent
    assert lane.channel.persistent == [False]


def test_retiring(lane: Lane) -> None:
    """When the daemon is about to stop every response says that its connection closes, known requests' too."""
    assert lane.take("Range: bytes=0-9")
    lane.stack.parts.site.retire()
    lane.sender.sent = b""
    assert lane.take("Range: bytes=10-19")
    assert lane.sender.sent.count(b"\r\nConnection: close\r\n") == 1
    lane.sender.full = True
    assert lane.take("Range: bytes=20-29")
    lane.channel.delivery.complete()
    assert lane.channel.persistent == [True, False, False]


def nothing_happened(lane: Lane, requests: int = 1) -> None:
    assert (lane.sender.sent, lane.sender.unsent, lane.channel.persistent) == (b"", 0, [])
    assert len(lane.stack.log.requests) == requests


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", URL),
        ("OPTIONS", URL),
        ("GET", f"{URL}/meta"),
        ("GET", "/v1/images"),
        ("GET", "/healthz"),
        ("GET", f"{URL}/"),
    ],
)
def test_other_requests_are_left(lane: Lane, method: str, target: str) -> None:
    """Other methods and routes are for the general lane."""
    assert not lane.take(method=method, target=target)
    nothing_happened(lane)


def test_a_file_that_is_not_open_is_left(stack: Any) -> None:
    """What would have to be opened is for the general lane; the place that was taken is free again."""
    lane = Lane(stack)
    assert not lane.take()
    nothing_happened(lane, 0)
    assert stack.parts.admission.taken == 0


def test_remote_files_are_left(stack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where another machine has to be asked even for what is in memory, the general lane has threads."""
    monkeypatch.setattr("aero_storage.storage.local.directory.is_network_filesystem", lambda _: True)
    stack.ask(URL, method="HEAD")
    lane = Lane(stack)
    assert not lane.take()
    nothing_happened(lane)
    assert stack.parts.admission.taken == 0


def test_a_queue_is_left(make_stack: Callable[..., Any]) -> None:
    """Where a place would have to be waited for, the general lane waits."""
    stack = make_stack(max_concurrent_bytes_requests="1")
    stack.ask(URL, method="HEAD")
    lane = Lane(stack)
    place = stack.parts.admission.try_acquire()
    assert not lane.take()
    nothing_happened(lane)
    place.release()
    assert lane.take()


def test_cold_bytes(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small bodies that are not in memory are left to the transport, which has threads for that."""
    monkeypatch.setattr("aero_storage.web.sending.read_resident_into", lambda *_: False)
    assert lane.take("Range: bytes=0-99")
    assert [(offset, length) for _, offset, length in lane.sender.files] == [(0, 100)]
    assert lane.sender.sent.endswith(b"\r\n\r\n" + IMAGE[:100])
    assert lane.assert_over()["bytes_sent"] == 100


def test_many_ranges_in_one_plan(lane: Lane) -> None:
    """Requests that differ in their range alone share what was decided, and each gets its own bytes and id."""
    for first in range(0, 5000, 77):
        assert lane.take(f"Range: bytes={first}-{first + 9}")
        assert lane.sender.sent.endswith(
            f"bytes {first}-{first + 9}/1048576\r\n\r\n".encode() + IMAGE[first : first + 10]
        )
    assert len(lane.stack.parts.site.lane._plans) == 1  # noqa: SLF001
    ids = [line["request_id"] for line in lane.stack.log.requests]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("value", ["bytes=a-b", "", "bytes=5-", "bytes = 0 - 4", "bytes=0-0,2-3"])
def test_other_ranges_have_no_plan(lane: Lane, value: str) -> None:
    """A range that is not of the usual kind is looked at each time."""
    replies = []
    for _ in range(2):
        lane.sender.sent = b""
        assert lane.take(f"Range: {value}")
        replies.append(lane.sender.sent.partition(b"\r\n")[0])
    assert replies[0] == replies[1]
    assert replies[0] != b"HTTP/1.1 200 OK"


def test_an_empty_range_is_no_plain_one(lane: Lane) -> None:
    """A head that is what a usual one leaves without its value is another head."""
    assert lane.take("Range: bytes=0-9")
    lane.sender.sent = b""
    assert lane.take("Range: ")
    assert lane.sender.sent.startswith(b"HTTP/1.1 416 ")


def test_a_plan_knows_no_peer(make_stack: Callable[..., Any]) -> None:
    """The same head from a proxy that is trusted and from anybody else is of different clients, each time."""
    stack = make_stack(trusted_proxy="10.0.0.0/8")
    stack.ask(URL, method="HEAD")
    lane = Lane(stack)
    for peer in ("10.0.0.1", "192.0.2.1", "10.0.0.2", "192.0.2.2"):
        assert lane.take("X-Forwarded-For: 198.51.100.7", "Range: bytes=0-9", peer=peer)
    clients = [line["client"] for line in stack.log.requests[1:]]
    assert clients == ["198.51.100.7", "192.0.2.1", "198.51.100.7", "192.0.2.2"]
    assert len(stack.parts.site.lane._plans) == 1  # noqa: SLF001


def test_a_plan_follows_the_image(lane: Lane) -> None:
    """A plan outlives its image's content, and not what was decided for it."""
    assert lane.take("Range: bytes=0-9")
    (lane.stack.root / "new").write_bytes(b"0123456789")
    (lane.stack.root / "new").rename(lane.stack.root / "disk.img")
    lane.stack.reactor.advance(2)
    lane.stack.ask(URL, method="HEAD")
    lane.sender.sent = b""
    assert lane.take("Range: bytes=0-9")
    assert lane.sender.sent.endswith(b"Content-Range: bytes 0-9/10\r\n\r\n0123456789")


def test_plans_are_bounded(lane: Lane) -> None:
    """However many different heads come, only so many are remembered, and none with an id of its own."""
    for number in range(1500):
        assert lane.take(f"User-Agent: {number}", method="HEAD")
        assert lane.take(f"X-Request-Id: {number}", method="HEAD")
    assert len(lane.stack.parts.site.lane._plans) <= 256  # noqa: SLF001
    assert lane.take("X-Request-Id: mine", method="HEAD")
    assert lane.sender.sent.count(b"X-Request-Id: mine") == 1


def test_a_defect_is_left(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect of ours before anything is sent is logged, and the general lane says what the client sees."""

    def fail(*_: object) -> None:
        raise RuntimeError("defect")

    monkeypatch.setattr("aero_storage.delivery.byte_handler.judge", fail)
    assert not lane.take()
    nothing_happened(lane)
    assert [message for level, message, _ in lane.stack.log.events if level == "error"] == ["express lane failed"]
    assert lane.stack.parts.admission.taken == 0


def slow(lane: Lane, *headers: str) -> None:
    lane.sender.full = True
    assert lane.take(*headers)
    assert lane.channel.delivery is not None
    assert lane.stack.parts.admission.taken == 1
    assert len(lane.stack.log.requests) == 1


@pytest.mark.parametrize("headers", [[], ["Range: bytes=0-99"]])
def test_slow_client(lane: Lane, headers: list[str]) -> None:
    """Place and file are held until the kernel has the last byte."""
    slow(lane, *headers)
    assert lane.sender.unfinished
    lane.sender.unsent = 0
    lane.sender.waiting[0].callback(None)
    assert not lane.sender.unfinished
    assert lane.channel.persistent == [True]
    assert lane.assert_over()["outcome"] == "complete"


@pytest.mark.parametrize("unsent", [0, 1000, len(IMAGE), len(IMAGE) + 500])
def test_client_leaves(lane: Lane, unsent: int) -> None:
    """A client that leaves is `disconnected`, with the bytes of the body that the kernel had."""
    slow(lane)
    lane.sender.unsent = unsent
    lane.channel.delivery.lost()
    lane.sender.waiting[0].errback(ConnectionLost())
    line = lane.assert_over()
    assert (line["outcome"], line["bytes_sent"]) == ("disconnected", max(0, len(IMAGE) - unsent))
    assert lane.channel.persistent == []


@pytest.mark.parametrize("error", [ShortReadError("the file has changed"), OSError(5, "Input/output error")])
def test_file_fails(lane: Lane, error: Exception) -> None:
    """A file that fails breaks the connection off, and the log says why."""
    slow(lane)
    lane.sender.waiting[0].errback(error)
    assert lane.sender.aborted
    assert lane.assert_over()["outcome"] == "aborted"
    assert [message for level, message, _ in lane.stack.log.events if level == "error"]


def test_server_stops(lane: Lane) -> None:
    """A response that the end of the server breaks off is `aborted`."""
    slow(lane)
    lane.channel.delivery.aborted_by_us = True
    lane.channel.delivery.lost()
    assert lane.assert_over()["outcome"] == "aborted"


def test_a_defect_while_sending(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect once bytes may be out breaks the connection off: nobody else may answer now."""

    def fail(*_: object) -> None:
        raise RuntimeError("defect")

    monkeypatch.setattr(Sender, "write_through", fail)
    assert lane.take("Range: bytes=0-9")
    assert lane.sender.aborted
    assert lane.assert_over()["outcome"] == "aborted"


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.template)
def test_routes(route: Any) -> None:
    """Byte and chunk routes are known, with their names, and no others."""
    path = route.template.replace(":image_id", "a").replace(":version", "v").replace(":chunk_name", "0.bin")
    found = find_route(path)
    assert (found is not None) is (route.plane is Plane.DATA)
    if found is not None:
        assert found[0] is route
        assert found[1].valid
