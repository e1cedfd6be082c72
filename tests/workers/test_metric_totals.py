"""The parent's books: sums that are exact, never wait for ever, and never go down."""

from __future__ import annotations

import attrs
import pytest
from twisted.internet.task import Clock

from aero_storage.metrics import Counts, Gauge
from aero_storage.workers.control_protocol import Kind, Message
from aero_storage.workers.metric_totals import ANSWER_SECONDS, MetricTotals


def counted(number: float, **process: float) -> Counts:
    return Counts(bytes={("disk.img",): number}, process=process)


def bytes_of(counts: Counts | None) -> float:
    assert counts is not None
    return counts.bytes["disk.img",]


@attrs.define(eq=False)
class Worker:
    """A worker that counts, and answers when it is told to."""

    number: int
    totals: MetricTotals
    count: float = 0
    said: list[Message] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.totals.join(self.number, self.said.append)

    def heard(self) -> Message:
        return self.said.pop(0)

    def ask(self, number: int = 1) -> None:
        self.totals.receive(self.number, Message(Kind.SUM, number, counted(self.count)))

    def tell(self, number: int = 0) -> None:
        self.totals.receive(self.number, Message(Kind.COUNTS, number, counted(self.count)))

    def answer(self) -> None:
        message = self.heard()
        assert message.kind is Kind.COUNT
        self.tell(message.number)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def totals(clock: Clock) -> MetricTotals:
    return MetricTotals(clock, lambda: counted(0.5))


@pytest.fixture
def workers(totals: MetricTotals) -> list[Worker]:
    """Three workers that have counted 1, 10 and 100 and have said nothing yet."""
    return [Worker(number + 1, totals, 10**number) for number in range(3)]


def test_total_of_all(workers: list[Worker]) -> None:
    """A worker that asks gets the sum of the parent's counts, its own and what the others answer."""
    one, two, three = workers
    one.ask(7)
    two.answer()
    assert one.said == []
    three.answer()
    answer = one.heard()
    assert (answer.kind, answer.number) == (Kind.TOTAL, 7)
    assert bytes_of(answer.counts) == 111.5


def test_alone(totals: MetricTotals) -> None:
    """A worker whose siblings are all dead is answered at once."""
    alone = Worker(1, totals, 3)
    alone.ask()
    assert bytes_of(alone.heard().counts) == 3.5


def test_stuck(workers: list[Worker], clock: Clock) -> None:
    """A worker that does not answer is waited for a second, and summed with what it told last."""
    one, two, three = workers
    two.tell()
    two.count = 90
    one.ask()
    three.answer()
    clock.advance(ANSWER_SECONDS - 0.1)
    assert one.said == []
    clock.advance(0.2)
    assert bytes_of(one.heard().counts) == 111.5
    two.answer()  # late, and not lost
    one.ask()
    three.answer()
    two.answer()
    assert bytes_of(one.heard().counts) == 191.5


def test_news_is_no_answer(workers: list[Worker]) -> None:
    """Counts that come unasked are older than the question: the answer is waited for."""
    one, two, three = workers
    one.ask()
    three.answer()
    two.tell()
    assert one.said == []
    two.count = 90
    two.answer()
    assert bytes_of(one.heard().counts) == 191.5


def test_stuck_for_long(workers: list[Worker], clock: Clock) -> None:
    """A worker that never answers is not asked without end, and soon not waited for; once it answers, it is again."""
    one, two, three = workers
    for _ in range(100):
        one.ask()
        three.answer()
        clock.advance(ANSWER_SECONDS)
        one.heard()
    assert 1 <= len(two.said) <= 10
    while two.said:
        two.answer()
    one.ask()
    three.answer()
    assert one.said == []
    two.answer()
    assert bytes_of(one.heard().counts) == 111.5


def test_several_at_once(workers: list[Worker]) -> None:
    """Workers that ask at the same time each get their answer."""
    one, two, three = workers
    one.ask()
    two.ask()
    for worker in (two, one, three, three):
        worker.answer()
    assert [bytes_of(worker.heard().counts) for worker in (one, two)] == [111.5, 111.5]


def test_death_while_it_is_asked(workers: list[Worker], totals: MetricTotals) -> None:
    """A worker that dies before it answers holds nobody up."""
    one, two, three = workers
    two.tell()
    one.ask()
    three.answer()
    totals.leave(2)
    assert bytes_of(one.heard().counts) == 111.5


def test_death_after_the_wait(workers: list[Worker], totals: MetricTotals, clock: Clock) -> None:
    """A worker that dies with questions open that nobody waits for any more does no harm."""
    one, two, _ = workers
    two.tell()
    one.ask()
    clock.advance(ANSWER_SECONDS)
    totals.leave(2)
    assert bytes_of(totals.total()) == 11.5


def test_death_of_the_asker(workers: list[Worker], totals: MetricTotals) -> None:
    """What a worker sent along with its question is kept when it dies before the answer."""
    one, two, three = workers
    one.ask()
    totals.leave(1)
    successor = Worker(1, totals)
    two.answer()
    three.answer()
    assert bytes_of(totals.total()) == 111.5
    assert successor.said == []


def test_the_dead_count_on(workers: list[Worker], totals: MetricTotals) -> None:
    """What dead workers had counted stays in the sum, beside what their successors count."""
    for _ in range(3):
        for worker in workers:
            worker.tell()
            totals.leave(worker.number)
            totals.join(worker.number, worker.said.append)
    assert bytes_of(totals.total()) == 3 * 111 + 0.5


def test_shown_is_known(workers: list[Worker], totals: MetricTotals) -> None:
    """Whatever a total has shown is in the books: no death that follows makes a counter go down."""
    one, two, three = workers
    one.count = 5
    one.ask()
    two.answer()
    three.answer()
    shown = bytes_of(one.heard().counts)
    for number in (1, 2, 3):
        totals.leave(number)
        assert bytes_of(totals.total()) == shown


def test_processes(clock: Clock) -> None:
    """Processor time of the dead stays, their memory and files do not; the start is the earliest of all."""
    start, cpu, memory = "process_start_time_seconds", "process_cpu_seconds_total", "process_resident_memory_bytes"
    totals = MetricTotals(clock, lambda: counted(0, **{start: 50.0, cpu: 1.0, memory: 10.0}))
    for number in (1, 2):
        totals.join(number, lambda _: None)
        counts = counted(0, **{start: 100.0 - number, cpu: 2.0, memory: 20.0})
        totals.receive(number, Message(Kind.COUNTS, 0, counts))
    assert totals.total().process == {start: 50.0, cpu: 5.0, memory: 50.0}
    totals.leave(1)
    assert totals.total().process == {start: 50.0, cpu: 5.0, memory: 30.0}


def test_the_present(clock: Clock) -> None:
    """What is now is the sum of all that live: of a worker that died nothing is left, and its counts stay."""
    totals = MetricTotals(clock, Counts)
    for number in (1, 2):
        totals.join(number, lambda _: None)
        gauges: dict[str, float] = {Gauge.CONNECTIONS: 10.0 * number, Gauge.PLACES_USED: number / 4}
        counts = Counts(gauges=gauges, rejections={("timed_out",): 1})
        totals.receive(number, Message(Kind.COUNTS, 0, counts))
    assert totals.total().gauges == {Gauge.CONNECTIONS: 30.0, Gauge.PLACES_USED: 0.5}
    totals.leave(2)
    assert totals.total().gauges == {Gauge.CONNECTIONS: 10.0, Gauge.PLACES_USED: 0.25}
    assert totals.total().rejections["timed_out",] == 2
