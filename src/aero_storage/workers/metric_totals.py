"""The parent's books: what each worker has counted, and the total of all, those that are gone included."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import attrs
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.interfaces import IReactorTime

from aero_storage.metrics import Counts
from aero_storage.workers.control_protocol import Kind, Message

ANSWER_SECONDS = 1.0
"""How long a worker may take to tell its counts; a stuck one is summed with what it told last."""

_MOST_QUESTIONS = 8
"""Unanswered questions to one worker: a stuck one is not asked for ever, as each question stays in memory."""


@attrs.define(eq=False)
class _WorkerCounts:
    """A worker, as far as its counts go."""

    send: Callable[[Message], object]
    told: Counts = attrs.field(factory=Counts)
    """What it said last."""
    questions: dict[int, Deferred[None]] = attrs.field(factory=dict)


@attrs.define(eq=False)
class MetricTotals:
    """Sums the counts of all workers and of the parent's own process, which `own` tells.

    A worker sends what it has counted along with its question, and shows the answer: whatever anybody has seen is in
    the books, so that no counter goes down when a worker is killed a moment later.
    """

    _clock: IReactorTime
    _own: Callable[[], Counts]
    _workers: dict[int, _WorkerCounts] = attrs.field(init=False, factory=dict)
    _gone: Counts = attrs.field(init=False, factory=Counts)
    _numbers: count[int] = attrs.field(init=False, factory=lambda: count(1))

    def join(self, worker: int, send: Callable[[Message], object]) -> None:
        """A worker has been started; `send` tells it something."""
        self._workers[worker] = _WorkerCounts(send)

    def leave(self, worker: int) -> None:
        """It has ended, and all that it said has been received: keep what it had counted."""
        gone = self._workers.pop(worker)
        self._gone.add(gone.told.remains())
        for question in list(gone.questions.values()):
            question.callback(None)

    def receive(self, worker: int, message: Message) -> None:
        """It says something."""
        correspondent = self._workers[worker]
        if message.counts is not None:
            correspondent.told = message.counts
        if message.kind is Kind.SUM:
            Deferred.fromCoroutine(self._answer(worker, correspondent, message.number))
        elif message.number in correspondent.questions:
            correspondent.questions.pop(message.number).callback(None)

    def total(self) -> Counts:
        """What has been counted, as far as it is known here."""
        total = Counts()
        for counts in (self._own(), self._gone, *(worker.told for worker in self._workers.values())):
            total.add(counts)
        return total

    async def _answer(self, asker: int, correspondent: _WorkerCounts, number: int) -> None:
        others = [other for worker, other in self._workers.items() if worker != asker]
        await DeferredList([self._ask(other) for other in others])
        correspondent.send(Message(Kind.TOTAL, number, self.total()))

    def _ask(self, worker: _WorkerCounts) -> Deferred[None]:
        """Fires when the worker has told its counts, or for good reason has not."""
        if len(worker.questions) >= _MOST_QUESTIONS:
            return succeed(None)
        number = next(self._numbers)
        question: Deferred[None] = Deferred()
        worker.questions[number] = question
        worker.send(Message(Kind.COUNT, number))
        return question.addTimeout(ANSWER_SECONDS, self._clock, lambda _result, _seconds: None)
