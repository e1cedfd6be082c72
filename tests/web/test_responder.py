"""Every way in which a response can end, and what is given back each time."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.python.failure import Failure

from aero_storage.delivery.reply import Reply
from aero_storage.storage.local.local_blob import LocalBlob
from aero_storage.web.responder import start

IMAGE = bytes(range(256)) * 4096
URL = "/v1/images/disk.img"
REPLY = Reply(200)


def open_images(stack: Any) -> int:
    """Descriptors of this process that are open on files of the images root."""
    links = Path("/proc/self/fd").iterdir()
    return sum(os.path.realpath(link).startswith(str(stack.root)) for link in links)


def places(stack: Any) -> int:
    taken: int = stack.parts.admission.taken
    return taken


def assert_nothing_is_held(stack: Any) -> None:
    stack.parts.root.store.close()  # what is still in use stays open
    stack.pool.release()
    assert open_images(stack) == 0
    assert places(stack) == 0


def test_whole_image(stack: Any) -> None:
    """A plain GET streams every byte; log and counters know them."""
    response = stack.ask(URL)
    assert (response.status, response.body) == (200, IMAGE)
    (line,) = stack.log.requests
    assert (line["outcome"], line["bytes_sent"], line["client"]) == ("complete", len(IMAGE), "192.0.2.1")
    assert stack.metric('image_bytes_served_total{image_id="disk.img"}') == len(IMAGE)
    assert_nothing_is_held(stack)


def test_remote_files_are_read_in_threads(stack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even to a transport that sends files: to ask what of them is in memory may be to wait."""
    monkeypatch.setattr("aero_storage.storage.local.directory.is_network_filesystem", lambda _: True)
    connection = stack.connect()
    connection.channel.sendfile = object()
    connection.get(URL, ("Range", "bytes=5-700000"))
    response = connection.response()
    assert (response.status, response.body) == (206, IMAGE[5:700001])
    assert_nothing_is_held(stack)


def test_head_reads_nothing(stack: Any) -> None:
    """HEAD has the headers of GET and never touches the bytes."""
    get = stack.ask(URL, ("Range", "bytes=5-"))
    connection = stack.connect()
    connection.get(URL, ("Range", "bytes=5-"), method="HEAD")
    head = connection.response(head=True)
    changing = {"Date", "X-Request-Id"}
    assert [pair for pair in head.headers if pair[0] not in changing] == [
        pair for pair in get.headers if pair[0] not in changing
    ]
    assert (head.status, head.body) == (206, b"")
    assert stack.log.requests[-1]["bytes_sent"] == 0
    assert_nothing_is_held(stack)


def test_client_leaves_before_the_file_is_open(stack: Any) -> None:
    """A blob that is opened for a client that has left is closed again, and its place is free at once."""
    stack.pool.held = True
    connection = stack.connect()
    connection.get(URL)
    assert places(stack) == 1
    connection.lose()
    assert places(stack) == 0
    assert stack.log.requests[-1]["outcome"] == "disconnected"
    assert stack.log.requests[-1]["status"] == 499
    assert_nothing_is_held(stack)


def test_client_leaves_in_the_middle(stack: Any) -> None:
    """A client that leaves while bytes flow frees everything; what left the server is what is counted."""
    stack.pool.held = True
    connection = stack.connect()
    connection.get(URL)
    stack.pool.open()
    stack.pool.step()
    sent = len(connection.taken().partition(b"\r\n\r\n")[2])
    connection.lose()
    (line,) = stack.log.requests
    assert (line["outcome"], line["status"], line["bytes_sent"]) == ("disconnected", 200, sent)
    assert 0 < sent < len(IMAGE)
    assert_nothing_is_held(stack)


@pytest.mark.parametrize("how", ["truncate", "rewrite", "grow"])
def test_file_changes_in_the_middle(stack: Any, how: str) -> None:
    """A file that is changed in place is another version: the response breaks off and is never padded."""
    stack.pool.held = True
    connection = stack.connect()
    connection.get(URL)
    stack.pool.open()
    stack.pool.step()
    path = stack.root / "disk.img"
    if how == "truncate":
        os.truncate(path, 1000)
    elif how == "rewrite":
        path.write_bytes(bytes(len(IMAGE)))
    else:
        with path.open("ab") as file:
            file.write(b"more")
    os.utime(path, ns=(1, 1))  # no clock is fine enough to tell a rewrite within one tick of the kernel
    stack.pool.release()
    assert connection.transport.aborted
    body = connection.taken().partition(b"\r\n\r\n")[2]
    assert body == IMAGE[: len(body)]
    assert len(body) < len(IMAGE)
    connection.lose()
    assert stack.log.requests[-1]["outcome"] == "aborted"
    assert_nothing_is_held(stack)


@pytest.mark.parametrize("how", ["unlink", "replace"])
def test_file_is_replaced_in_the_middle(stack: Any, how: str) -> None:
    """A file that is removed or replaced by rename streams to its end from the old one."""
    stack.pool.held = True
    connection = stack.connect()
    connection.get(URL)
    stack.pool.open()
    path = stack.root / "disk.img"
    if how == "unlink":
        path.unlink()
    else:
        (stack.root / ".new").write_bytes(b"new")
        (stack.root / ".new").rename(path)
    stack.pool.release()
    assert connection.response().body == IMAGE
    assert_nothing_is_held(stack)


def test_a_defect_is_a_clean_500(stack: Any) -> None:
    """An exception that nobody foresaw ends in a 500 of the plane's shape and a traceback in the log."""
    stack.parts.handler._bytes = None  # noqa: SLF001
    response = stack.ask(URL)
    assert (response.status, response.body) == (500, b"")
    level, message, fields = stack.log.events[-2]
    assert (level, message) == ("error", "request failed")
    assert "AttributeError" in fields["traceback"]
    assert fields["request_id"] == response["X-Request-Id"]
    assert_nothing_is_held(stack)


def test_a_defect_in_the_middle_breaks_off(stack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception that nobody foresaw, once bytes flow, resets the connection: no other text gets into the body."""
    stack.pool.held = True
    connection = stack.connect()
    connection.get(URL)
    stack.pool.open()
    stack.pool.step()

    def fail(*_: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr(LocalBlob, "read", fail)
    stack.pool.release()
    assert connection.transport.aborted
    body = connection.taken().partition(b"\r\n\r\n")[2]
    assert body == IMAGE[: len(body)]
    connection.lose()
    assert stack.log.requests[-1]["outcome"] == "aborted"
    assert any("MemoryError" in fields.get("traceback", "") for _, _, fields in stack.log.events)
    assert_nothing_is_held(stack)


def test_no_thread_to_be_had(stack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where work cannot be handed to a thread any more, place and descriptor come back, and the request is told."""
    stack.pool.held = True
    connection = stack.connect()
    connection.get(URL, ("Range", "bytes=0-9"))
    stack.pool.open()

    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(type(stack.pool), "callInThread", refuse)
    connection.lose()
    stack.parts.root.store.close()
    assert places(stack) == 0
    assert open_images(stack) == 0
    assert stack.log.requests[-1]["outcome"] == "disconnected"
    stack.pool.jobs.clear()


def test_waiting_client_leaves(make_stack: Callable[..., Any]) -> None:
    """A client that leaves the queue takes nothing with it, and the next one is served."""
    stack = make_stack(max_concurrent_bytes_requests="1", bytes_queue_timeout_secs="5")
    stack.pool.held = True
    first, second, third = stack.connect(), stack.connect(), stack.connect()
    for connection in (first, second, third):
        connection.get(URL, ("Range", "bytes=0-9"))
    second.lose()
    stack.pool.release()
    assert first.response().body == IMAGE[:10]
    assert third.response().body == IMAGE[:10]
    assert second.taken() == b""
    assert_nothing_is_held(stack)


def test_waiting_client_closes(make_stack: Callable[..., Any]) -> None:
    """A client that closes while it waits for a place is given up at once: its turn goes to those who are there."""
    stack = make_stack(max_concurrent_bytes_requests="1", bytes_queue_timeout_secs="5")
    stack.pool.held = True
    first, second, third = stack.connect(), stack.connect(), stack.connect()
    for connection in (first, second, third):
        connection.get(URL, ("Range", "bytes=0-9"))
    second.channel.readConnectionLost()
    assert second.transport.aborted
    second.lose()
    assert stack.log.requests[-1]["outcome"] == "disconnected"
    first.channel.readConnectionLost()  # this one is being answered
    assert not first.transport.aborted
    stack.pool.release()
    assert first.response().body == third.response().body == IMAGE[:10]
    assert_nothing_is_held(stack)


def test_queue_times_out(make_stack: Callable[..., Any]) -> None:
    """Over the cap a request waits as long as it is told to, then gets 429."""
    stack = make_stack(max_concurrent_bytes_requests="1", bytes_queue_timeout_secs="5")
    stack.pool.held = True
    first, second = stack.connect(), stack.connect()
    first.get(URL)
    second.get(URL)
    stack.reactor.advance(4.9)
    assert second.taken() == b""
    stack.reactor.advance(0.2)
    response = second.response()
    assert (response.status, response["Retry-After"]) == (429, "1")
    assert "Access-Control-Allow-Origin" in response
    assert "Cross-Origin-Resource-Policy" in response
    first.lose()
    assert_nothing_is_held(stack)


def test_paused_stream_reads_no_further(stack: Any) -> None:
    """A full transport stops the stream after what is read ahead, and nothing waits in a thread."""
    stack.pool.held = True
    connection = stack.connect()
    connection.get(URL)
    stack.pool.open()
    connection.transport.producer.pauseProducing()
    stack.pool.step()
    for _ in range(5):
        if stack.pool.jobs:
            stack.pool.step()
    assert not stack.pool.jobs
    assert connection.taken().partition(b"\r\n\r\n")[2] == b""
    connection.transport.producer.resumeProducing()
    stack.pool.release()
    assert connection.taken() == IMAGE
    assert stack.log.requests[-1]["outcome"] == "complete"
    assert_nothing_is_held(stack)


def test_start_what_need_not_wait() -> None:
    """A coroutine that ends at once costs no Deferred; what it waited for had been there."""
    done: list[str] = []

    async def work() -> Reply:
        done.append(await succeed("there"))
        return REPLY

    assert start(work()) is REPLY
    assert done == ["there"]


def test_start_what_has_to_wait() -> None:
    """A coroutine that has to wait goes on when it may, as often as it must, and what it raises arrives."""
    first, second = Deferred[str](), Deferred[str]()
    done: list[str] = []

    async def inner(waited: Deferred[str]) -> None:
        done.append(await waited)

    async def work() -> Reply:
        done.append("begun")
        await inner(first)
        await inner(second)
        raise KeyError

    started = start(work())
    assert isinstance(started, Deferred)
    assert done == ["begun"]
    first.callback("first")
    assert done == ["begun", "first"]
    failures: list[Failure] = []
    started.addErrback(failures.append)
    second.callback("second")
    assert done == ["begun", "first", "second"]
    assert failures[0].check(KeyError)


def test_start_and_cancel() -> None:
    """To cancel it is to cancel what it waits for."""
    cancelled: list[bool] = []
    waited = Deferred[None](lambda _: cancelled.append(True))

    async def work() -> Reply:
        await waited
        return REPLY

    started = start(work())
    assert isinstance(started, Deferred)
    started.cancel()
    assert cancelled
    assert isinstance(started.result, Failure)
    assert started.result.check(CancelledError)
    started.addErrback(lambda _: None)


def test_start_what_fails() -> None:
    """What a coroutine raises at once is raised."""

    async def work() -> Reply:
        raise KeyError

    with pytest.raises(KeyError):
        start(work())
