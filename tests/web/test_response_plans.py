"""Remembered plans: which requests have one, what it says, and how what is sent by it can end."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionLost
from twisted.internet.testing import StringTransport

from aero_storage.errors import ShortReadError, StatusAndReason
from aero_storage.http.head_reader import HeadReader
from aero_storage.http.request_head import RequestHead
from aero_storage.streaming.encrypting import Encrypting
from aero_storage.streaming.file_segment import COPIED_BYTES
from aero_storage.streaming.stream_place import StreamPlace
from aero_storage.streaming.throttle import Pace
from aero_storage.web.request import AeroRequest, RequestChannel

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

    def send_now(self, data: bytes | memoryview) -> int:
        if self.full:
            return 0
        self.sent += bytes(data)
        return len(data)

    def waits_for_turn(self, _count: int) -> bool:
        return False

    def send_body(self, body: bytes, offset: int, head: bytes) -> Deferred[None]:
        assert self.full
        self.unsent += len(head) + len(body) - offset
        return self.when_drained()

    def send_file(
        self, source: Any, offset: int, length: int, head: bytes = b"", place: StreamPlace | None = None
    ) -> Deferred[None]:
        assert place is not None
        assert place.is_held
        self.files.append((source, offset, length))
        if not self.full:
            self.sent += head + os.pread(source.fileno(), length, offset)
            return succeed(None)
        self.unsent += len(head) + length
        return self.when_drained()

    def when_drained(self) -> Deferred[None]:
        if not self.unsent:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self.waiting.append(waiting)
        return waiting

    def abortConnection(self) -> None:
        self.aborted = True


@attrs.define(eq=False)
class Client:
    """A connection of which only what a response needs is there."""

    sendfile: Any
    tracked: Any
    site: Any
    peer: str = "192.0.2.1"
    transport: Any = attrs.field(factory=StringTransport)
    pace: Pace | None = None
    encrypting: Encrypting | None = None
    refusal: StatusAndReason | None = None
    is_secure: bool = False
    busy: bool = True
    persistent: bool = True
    response: Any = None
    sent: int = 0
    """Responses that were sent."""

    def stays_open(self) -> bool:
        return self.persistent

    def response_waits(self, response: Any) -> None:
        self.response = response

    def response_sent(self) -> None:
        self.sent += 1

    def abort(self) -> None:
        self.sendfile.abortConnection()


@attrs.define(eq=False)
class Responses:
    """The responder of a daemon, and a client whose transport sends files."""

    stack: Any
    sender: Sender = attrs.field(factory=Sender)
    client: Client = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.client = Client(self.sender, self.sender, self.stack.parts.site)
        self.plans.clear()

    @property
    def plans(self) -> dict[Any, Any]:
        found: dict[Any, Any] = self.stack.parts.site._responder.plans._plans  # noqa: SLF001
        return found

    def ask(self, *headers: str, method: str = "GET", target: str = URL, peer: str = "192.0.2.1") -> bool:
        """Answer a request; whether it was known."""
        self.client.peer = peer
        lines = [f"{method} {target} HTTP/1.1", "Host: test", *headers, "", ""]
        raw = "\r\n".join(lines).encode()
        responder = self.stack.parts.site._responder  # noqa: SLF001
        planned = responder.plans.find(raw)
        if planned is not None:
            responder.respond(planned, self.client)
            return True
        reader = HeadReader()
        reader.receive(raw)
        head = reader.next()
        assert isinstance(head, RequestHead)
        AeroRequest(RequestChannel(self.client), head, raw).process()
        return False

    def assert_over(self) -> dict[str, Any]:
        """Nothing is held any more, and there is one line in the log."""
        assert self.stack.parts.handler._bytes._admission.taken == 0  # noqa: SLF001
        self.stack.parts.root.store.close()
        self.stack.pool.release()
        links = Path("/proc/self/fd").iterdir()
        assert not [link for link in links if os.path.realpath(link).startswith(str(self.stack.root))]
        (line,) = self.stack.log.requests[1:]
        found: dict[str, Any] = line
        return found


@pytest.fixture
def responses(stack: Any) -> Responses:
    """Over an image that is open already: somebody has asked for it."""
    stack.ask(URL, method="HEAD")
    return Responses(stack)


def test_small_range(responses: Responses) -> None:
    """A small range goes out in one write with its head, and ends there and then."""
    responses.ask("Range: bytes=5-1004", "X-Request-Id: r-1")
    head, _, body = responses.sender.sent.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 206 Partial Content\r\n")
    assert b"\r\nX-Request-Id: r-1\r\n" in head
    assert b"\r\nContent-Range: bytes 5-1004/1048576" in head
    assert body == IMAGE[5:1005]
    assert (responses.sender.files, responses.client.sent) == ([], 1)
    line = responses.assert_over()
    assert (line["outcome"], line["bytes_sent"], line["status"]) == ("complete", 1000, 206)


@pytest.mark.parametrize(("last", "is_file"), [(COPIED_BYTES - 1, False), (COPIED_BYTES, True)])
def test_large_ranges_are_sent_by_the_kernel(responses: Responses, last: int, *, is_file: bool) -> None:
    """What is small leaves in one piece with its head; the transport sends what is not."""
    responses.ask(f"Range: bytes=0-{last}")
    assert responses.sender.sent.endswith(b"\r\n\r\n" + IMAGE[: last + 1])
    assert bool(responses.sender.files) is is_file
    assert responses.assert_over()["bytes_sent"] == last + 1


def test_head(responses: Responses) -> None:
    """HEAD has the headers, and no file is touched."""
    responses.ask(method="HEAD")
    assert responses.sender.sent.endswith(b"\r\n\r\n")
    assert b"\r\nContent-Length: 1048576\r\n" in responses.sender.sent
    assert responses.assert_over()["bytes_sent"] == 0


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
def test_refusals(responses: Responses, headers: list[str], target: str, status: bytes) -> None:
    """What needs no bytes is answered as well."""
    responses.ask(*headers, target=target)
    assert responses.sender.sent.startswith(b"HTTP/1.1 " + status)
    assert responses.assert_over()["status"] == int(status)


def test_close(responses: Responses) -> None:
    """The head says what the connection says of its end, for known requests too."""
    responses.ask("Range: bytes=0-9")
    responses.client.persistent = False
    assert responses.ask("Range: bytes=10-19")
    assert responses.sender.sent.count(b"\r\nConnection: close\r\n") == 1


@pytest.mark.parametrize(
    ("method", "target"),
    [("GET", f"{URL}/meta"), ("GET", "/v1/images"), ("GET", "/healthz"), ("OPTIONS", URL), ("HEAD", "/readyz")],
)
def test_any_route_has_plans(responses: Responses, method: str, target: str) -> None:
    """A request without a file is known the second time as well, and answered as the first time."""
    assert [responses.ask(method=method, target=target) for _ in range(2)] == [False, True]
    first, second = responses.sender.sent.split(b"HTTP/1.1 ")[1:]
    assert without_id(first) == without_id(second)
    assert len(responses.stack.log.requests) == 3


@pytest.mark.parametrize(
    ("header", "target"),
    [
        ('If-None-Match: "a"', URL),
        ("If-Modified-Since: Sat, 29 Oct 1994 19:43:31 GMT", URL),
        ('If-Range: "a"', URL),
        ("Accept: */*", "/nowhere"),
        (f"X: {'x' * 5000}", URL),
    ],
)
def test_other_requests_have_none(responses: Responses, header: str, target: str) -> None:
    """A head with a precondition, without a route, or of great length is read each time."""
    assert [responses.ask(header, target=target) for _ in range(2)] == [False, False]
    assert responses.plans == {}


def test_memory_off(make_stack: Callable[..., Any]) -> None:
    """With --no-express nothing is remembered, and all is answered."""
    responses = Responses(make_stack(express="false"))
    assert [responses.ask("Range: bytes=0-9") for _ in range(2)] == [False, False]
    assert responses.sender.sent.count(b"HTTP/1.1 206 ") == 2


def without_id(response: bytes) -> bytes:
    return re.sub(rb"X-Request-Id: [^\r]*", b"", response)


def test_a_file_that_is_not_open(stack: Any) -> None:
    """A known request whose file has to be opened waits for that, with the same id and place."""
    responses = Responses(stack)
    responses.ask("Range: bytes=0-9")
    stack.reactor.advance(10)
    stack.pool.held = True
    responses.sender.sent = b""
    assert responses.ask("Range: bytes=10-19")
    assert responses.sender.sent == b""
    assert stack.parts.handler._bytes._admission.taken == 1  # noqa: SLF001
    stack.pool.release()
    assert responses.sender.sent.endswith(IMAGE[10:20])
    assert responses.client.sent == 2
    assert responses.assert_over()["outcome"] == "complete"


def test_remote_files(stack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where another machine has to be asked even for what is in memory, threads read."""
    monkeypatch.setattr("aero_storage.storage.local.directory.is_network_filesystem", lambda _: True)
    stack.ask(URL, method="HEAD")
    responses = Responses(stack)
    responses.ask("Range: bytes=0-9")
    assert responses.client.transport.value().endswith(b"\r\n\r\n" + IMAGE[:10])
    assert responses.sender.sent == b""
    assert responses.assert_over()["bytes_sent"] == 10


def test_a_queue(make_stack: Callable[..., Any]) -> None:
    """Where a place has to be waited for, a known request waits for it, and takes one."""
    stack = make_stack(max_concurrent_bytes_requests="1")
    stack.ask(URL, method="HEAD")
    responses = Responses(stack)
    place = stack.parts.handler._bytes._admission.try_acquire()  # noqa: SLF001
    responses.ask("Range: bytes=0-9")
    assert responses.sender.sent == b""
    place.release()
    assert responses.sender.sent.endswith(IMAGE[:10])
    assert responses.assert_over()["status"] == 206


def test_cold_bytes(responses: Responses, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small bodies that are not in memory are left to the transport, which has threads for that."""
    monkeypatch.setattr("aero_storage.storage.local.local_blob.read_resident_into", lambda *_: False)
    responses.ask("Range: bytes=0-99")
    assert [(offset, length) for _, offset, length in responses.sender.files] == [(0, 100)]
    assert responses.sender.sent.endswith(b"\r\n\r\n" + IMAGE[:100])
    assert responses.assert_over()["bytes_sent"] == 100


def test_many_ranges_in_one_plan(responses: Responses) -> None:
    """Requests that differ in their range alone share what was decided, and each gets its own bytes and id."""
    for first in range(0, 5000, 77):
        responses.ask(f"Range: bytes={first}-{first + 9}")
        assert responses.sender.sent.endswith(
            f"bytes {first}-{first + 9}/1048576\r\n\r\n".encode() + IMAGE[first : first + 10]
        )
    assert len(responses.plans) == 1
    ids = [line["request_id"] for line in responses.stack.log.requests]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("value", ["bytes=a-b", "", "bytes=5-", "bytes = 0 - 4", "bytes=0-0,2-3"])
def test_other_ranges_have_no_plan(responses: Responses, value: str) -> None:
    """A range that is not of the usual kind is looked at each time."""
    replies = []
    for _ in range(2):
        responses.sender.sent = b""
        responses.ask(f"Range: {value}")
        replies.append(responses.sender.sent.partition(b"\r\n")[0])
    assert replies[0] == replies[1]
    assert replies[0] != b"HTTP/1.1 200 OK"


def test_an_empty_range_is_no_plain_one(responses: Responses) -> None:
    """A head that is what a usual one leaves without its value is another head."""
    responses.ask("Range: bytes=0-9")
    responses.sender.sent = b""
    responses.ask("Range: ")
    assert responses.sender.sent.startswith(b"HTTP/1.1 416 ")


def test_a_plan_knows_no_peer(make_stack: Callable[..., Any]) -> None:
    """The same head from a proxy that is trusted and from anybody else is of different clients, each time."""
    stack = make_stack(trusted_proxy="10.0.0.0/8")
    stack.ask(URL, method="HEAD")
    responses = Responses(stack)
    for peer in ("10.0.0.1", "192.0.2.1", "10.0.0.2", "192.0.2.2"):
        responses.ask("X-Forwarded-For: 198.51.100.7", "Range: bytes=0-9", peer=peer)
    clients = [line["client"] for line in stack.log.requests[1:]]
    assert clients == ["198.51.100.7", "192.0.2.1", "198.51.100.7", "192.0.2.2"]
    assert len(responses.plans) == 1


def test_a_plan_follows_the_image(responses: Responses) -> None:
    """A plan outlives its image's content, and not what was decided for it."""
    responses.ask("Range: bytes=0-9")
    (responses.stack.root / "new").write_bytes(b"0123456789")
    (responses.stack.root / "new").rename(responses.stack.root / "disk.img")
    responses.stack.reactor.advance(2)
    responses.stack.ask(URL, method="HEAD")
    responses.sender.sent = b""
    responses.ask("Range: bytes=0-9")
    assert responses.sender.sent.endswith(b"Content-Range: bytes 0-9/10\r\n\r\n0123456789")


def test_plans_are_bounded(responses: Responses) -> None:
    """However many different heads come, only so many are remembered, and none with an id of its own."""
    for number in range(1500):
        responses.ask(f"User-Agent: {number}", method="HEAD")
        responses.ask(f"X-Request-Id: {number}", method="HEAD")
    assert len(responses.plans) <= 256
    responses.ask("X-Request-Id: mine", method="HEAD")
    assert responses.sender.sent.count(b"X-Request-Id: mine") == 1


def test_a_defect(responses: Responses, monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect of ours before anything is sent is logged, and the client gets a 500."""

    def fail(*_: object) -> None:
        raise RuntimeError("defect")

    monkeypatch.setattr("aero_storage.delivery.byte_handler.judge", fail)
    responses.ask()
    assert responses.sender.sent.startswith(b"HTTP/1.1 500 ")
    assert [message for level, message, _ in responses.stack.log.events if level == "error"] == ["request failed"]
    assert responses.assert_over()["status"] == 500


def slow(responses: Responses, *headers: str) -> None:
    responses.sender.full = True
    responses.ask(*headers)
    assert responses.client.response is not None
    assert responses.stack.parts.handler._bytes._admission.taken == 1  # noqa: SLF001
    assert len(responses.stack.log.requests) == 1


@pytest.mark.parametrize("headers", [[], ["Range: bytes=0-99"]])
def test_slow_client(responses: Responses, headers: list[str]) -> None:
    """Place and file are held until the kernel has the last byte."""
    slow(responses, *headers)
    assert responses.sender.unfinished
    responses.sender.unsent = 0
    responses.sender.waiting[0].callback(None)
    assert not responses.sender.unfinished
    assert responses.client.sent == 1
    assert responses.assert_over()["outcome"] == "complete"


@pytest.mark.parametrize("unsent", [0, 1000, len(IMAGE), len(IMAGE) + 500])
def test_client_leaves(responses: Responses, unsent: int) -> None:
    """A client that leaves is `disconnected`, with the bytes of the body that the kernel had."""
    slow(responses)
    responses.sender.unsent = unsent
    responses.client.response.lost()
    responses.sender.waiting[0].errback(ConnectionLost())
    line = responses.assert_over()
    assert (line["outcome"], line["bytes_sent"]) == ("disconnected", max(0, len(IMAGE) - unsent))
    assert responses.client.sent == 0


@pytest.mark.parametrize("error", [ShortReadError("the file has changed"), OSError(5, "Input/output error")])
def test_file_fails(responses: Responses, error: Exception) -> None:
    """A file that fails breaks the connection off, and the log says why."""
    slow(responses)
    responses.sender.waiting[0].errback(error)
    assert responses.sender.aborted
    assert responses.assert_over()["outcome"] == "aborted"
    assert [message for level, message, _ in responses.stack.log.events if level == "error"]


def test_server_stops(responses: Responses) -> None:
    """A response that the end of the server breaks off is `aborted`."""
    slow(responses)
    responses.client.response.shut()
    responses.client.response.lost()
    assert responses.assert_over()["outcome"] == "aborted"


def test_a_defect_while_sending(responses: Responses, monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect once bytes may be out breaks the connection off: nobody else may answer now."""

    def fail(*_: object) -> None:
        raise RuntimeError("defect")

    monkeypatch.setattr(Sender, "send_now", fail)
    responses.ask("Range: bytes=0-9")
    assert responses.sender.aborted
    assert responses.assert_over()["outcome"] == "aborted"
