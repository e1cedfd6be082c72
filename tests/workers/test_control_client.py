"""A worker's line to its parent."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import attrs
import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from aero_storage.metrics import Counts, Gauge, Metrics, Registry
from aero_storage.workers.control_client import ControlClient
from aero_storage.workers.control_protocol import ControlChannel, Kind, Message

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


ALIVE = Message(Kind.ALIVE)


@attrs.define(eq=False)
class Worker:
    """A worker with its line, and what went out on it."""

    metrics: Metrics = attrs.field(factory=lambda: Metrics(Registry(), "1", 100, {Gauge.CONNECTIONS: lambda: 5}))
    orders: list[str] = attrs.field(factory=list)
    line: ControlClient = attrs.field(init=False)
    transport: StringTransport = attrs.field(factory=StringTransport)

    def __attrs_post_init__(self) -> None:
        stop, orphaned = (partial(self.orders.append, order) for order in ("stop", "orphaned"))
        self.line = ControlClient(self.metrics, stop, self.reload, orphaned, self, self)
        self.line.channel.makeConnection(self.transport)

    def reload(self, payload: bytes) -> None:
        self.orders.append(f"reload {payload!r}")

    def take_over(self, number: int, descriptors: Sequence[int]) -> None:
        self.orders.append(f"take over {number} {list(descriptors)}")

    def give_back(self, number: int) -> None:
        self.orders.append(f"give back {number}")

    def close(self) -> None:
        self.orders.append("close")

    def event(self, level: str, message: str, fields: Mapping[str, object] = {}) -> None:
        raise AssertionError((level, message, fields))

    def said(self) -> list[Message]:
        heard: list[Message] = []
        parent = ControlChannel(heard.append)
        parent.makeConnection(StringTransport())
        parent.dataReceived(self.transport.value())
        self.transport.clear()
        return heard

    def hear(self, message: Message) -> None:
        parent, transport = ControlChannel(lambda _: None), StringTransport()
        parent.makeConnection(transport)
        parent.send(message)
        self.line.channel.dataReceived(transport.value())


@pytest.fixture
def worker() -> Worker:
    return Worker()


def test_orders(worker: Worker) -> None:
    """The parent's orders are carried out, with what came with them."""
    worker.hear(Message(Kind.STOP))
    worker.hear(Message(Kind.RELOAD, payload=b"\x00 certificates"))
    assert worker.orders == ["stop", r"reload b'\x00 certificates'"]


def test_siblings(worker: Worker) -> None:
    """The sockets that came with a command are taken over, and left on command."""
    worker.line.channel.fileDescriptorReceived(1001)
    worker.line.channel.fileDescriptorReceived(1002)
    worker.hear(Message(Kind.TAKE_OVER, 2, descriptors=2))
    worker.hear(Message(Kind.TAKE_OVER, 3))
    worker.hear(Message(Kind.GIVE_BACK, 2))
    assert worker.orders == ["take over 2 [1001, 1002]", "take over 3 []", "give back 2"]


def test_stopping(worker: Worker) -> None:
    """One that begins to stop leaves the sockets of others before it says so."""
    worker.line.stopping()
    assert worker.orders == ["close"]
    assert worker.said() == [Message(Kind.STOPPING)]


def test_parent_gone(worker: Worker) -> None:
    """Without a parent there is no worker."""
    worker.line.channel.connectionLost(Failure(ConnectionError()))
    assert worker.orders == ["orphaned"]


def test_answers(worker: Worker) -> None:
    """Asked for its counts, it tells them, under the number of the question."""
    worker.metrics.bytes_sent("disk.img", 5)
    worker.hear(Message(Kind.COUNT, 9))
    (answer,) = worker.said()
    assert (answer.kind, answer.number) == (Kind.COUNTS, 9)
    assert answer.counts is not None
    assert answer.counts.bytes == {("__other__",): 0, ("disk.img",): 5}
    assert answer.counts.process["process_open_fds"] > 0


CHANGES: dict[str, Callable[[Metrics], None]] = {
    "request": lambda metrics: metrics.request_ended("/healthz", "GET", 200, 0.0),
    "bytes": lambda metrics: metrics.bytes_sent("disk.img", 1),
    "range": lambda metrics: metrics.range_answered(valid=True),
    "store": lambda metrics: metrics.store_failed("meta"),
    "reload": lambda metrics: metrics.catalog_loaded(1.0),
    "failure": lambda metrics: metrics.catalog_failed(),
    "certificate": lambda metrics: metrics.certificate_loaded(),
    "no certificate": lambda metrics: metrics.certificate_failed(),
    "delivered": lambda metrics: metrics.delivered("full", 1),
    "rejected": lambda metrics: metrics.request_rejected("timed_out"),
    "waited": lambda metrics: metrics.request_waited(0.1),
    "broken off": lambda metrics: metrics.broken_off("aborted"),
    "stalled": lambda metrics: metrics.stream_stalled(),
    "taken back": lambda metrics: metrics.place_taken_back(),
    "body": lambda metrics: metrics.waiting_body_closed(),
    "refused": lambda metrics: metrics.connection_refused("total"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_news(worker: Worker, change: Callable[[Metrics], None]) -> None:
    """Whatever is counted is told unasked, once each time it has changed."""
    for _ in range(2):
        change(worker.metrics)
        worker.line.push()
        (news,) = worker.said()
        assert (news.kind, news.number) == (Kind.COUNTS, 0)
        worker.line.push()
        assert worker.said() == [ALIVE]


def test_what_always_changes_is_no_news(worker: Worker) -> None:
    """That time passes is not told unasked: an idle worker only says that it lives."""
    worker.metrics.store_failed("meta")
    worker.line.push()
    worker.said()
    worker.metrics.reactor_delayed(0.1)
    worker.line.push()
    assert worker.said() == [ALIVE]
    worker.hear(Message(Kind.COUNT, 9))
    (answer,) = worker.said()
    assert answer.counts is not None
    assert answer.counts.gauges[Gauge.CONNECTIONS] == 5
    assert sum(answer.counts.reactor_delays[()][:-1]) == 1


def test_what_was_told_is_no_news(worker: Worker) -> None:
    """What went out with an answer or a question is not told again."""
    worker.metrics.store_failed("meta")
    worker.hear(Message(Kind.COUNT, 9))
    assert len(worker.said()) == 1
    worker.line.push()
    assert worker.said() == [ALIVE]


def test_total(worker: Worker) -> None:
    """It asks for the total with its own counts along, and gets the answer to its question, not another's."""
    worker.metrics.bytes_sent("disk.img", 5)
    first, second = (Deferred.fromCoroutine(worker.line.total()) for _ in range(2))
    got: list[tuple[str, Counts]] = []
    first.addCallback(lambda counts: got.append(("first", counts)))
    second.addCallback(lambda counts: got.append(("second", counts)))
    questions = worker.said()
    assert [question.kind for question in questions] == [Kind.SUM, Kind.SUM]
    assert all(question.counts is not None and question.counts.bytes for question in questions)
    worker.hear(Message(Kind.TOTAL, 99, Counts()))
    assert got == []
    worker.hear(Message(Kind.TOTAL, questions[1].number, Counts(reloaded_at=2.0)))
    worker.hear(Message(Kind.TOTAL, questions[0].number, Counts(reloaded_at=1.0)))
    assert got == [("second", Counts(reloaded_at=2.0)), ("first", Counts(reloaded_at=1.0))]


def test_nobody_waits_any_more(worker: Worker) -> None:
    """An answer to a client that has left in the meantime does no harm."""
    waiting = Deferred.fromCoroutine(worker.line.total())
    (question,) = worker.said()
    ended: list[Failure] = []
    waiting.addErrback(ended.append)
    waiting.cancel()
    assert ended[0].check(CancelledError)
    worker.hear(Message(Kind.TOTAL, question.number, Counts()))


def test_last_word(worker: Worker) -> None:
    """Before it hangs up it tells what is new; it waits until the parent has that."""
    worker.metrics.store_failed("meta")
    done: list[None] = []
    worker.line.close().addCallback(done.append)
    assert len(worker.said()) == 1
    assert worker.transport.disconnecting
    assert done == []
    worker.line.channel.connectionLost(Failure(ConnectionError()))
    assert done == [None]
