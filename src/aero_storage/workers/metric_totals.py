"""Counts of all workers in the parent, and their total, including workers that have ended."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import attrs
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.interfaces import IReactorTime

from aero_storage.metrics import Counts
from aero_storage.workers.control_protocol import Kind, Message

ANSWER_SECONDS = 1.0
"""Timeout for a worker to send its counts; for a stuck worker its last known counts are used."""

_MOST_QUESTIONS = 8
"""Limit of unanswered questions to one worker: each stays in memory, so a stuck worker is not asked further."""


@attrs.define(eq=False)
class _WorkerCounts:
    """The counts of one worker, and the open questions to it."""

    send: Callable[[Message], object]
    last_counts: Counts = attrs.field(factory=Counts)
    """The counts it sent last."""
    pending: dict[int, Deferred[None]] = attrs.field(factory=dict)


@attrs.define(eq=False)
class MetricTotals:
    """Sums the counts of all workers and of the parent's own process, which `own` returns.

    A worker sends its counts with its request for the total, and shows the reply. So every total that was shown is
    recorded here, and no counter goes down when a worker is killed later.
    """

    _clock: IReactorTime
    _own: Callable[[], Counts]
    _workers: dict[int, _WorkerCounts] = attrs.field(init=False, factory=dict)
    _gone: Counts = attrs.field(init=False, factory=Counts)
    _numbers: count[int] = attrs.field(init=False, factory=lambda: count(1))

    def join(self, worker: int, send: Callable[[Message], object]) -> None:
        """Add a started worker; `send` sends it a message."""
        self._workers[worker] = _WorkerCounts(send)

    def leave(self, worker: int) -> None:
        """Remove a worker that has ended, after its last message; its counts stay in the total."""
        gone = self._workers.pop(worker)
        self._gone.add(gone.last_counts.after_exit())
        for question in list(gone.pending.values()):
            question.callback(None)

    def receive(self, worker: int, message: Message) -> None:
        """Handle a message from a worker."""
        asker = self._workers[worker]
        if message.counts is not None:
            asker.last_counts = message.counts
        if message.kind is Kind.SUM:
            Deferred.fromCoroutine(self._answer(worker, asker, message.number))
        elif message.number in asker.pending:
            asker.pending.pop(message.number).callback(None)

    def total(self) -> Counts:
        """Return the sum of all counts received so far."""
        total = Counts()
        for counts in (self._own(), self._gone, *(worker.last_counts for worker in self._workers.values())):
            total.add(counts)
        return total

    async def _answer(self, asking_worker: int, asker: _WorkerCounts, number: int) -> None:
        others = [other for worker, other in self._workers.items() if worker != asking_worker]
        await DeferredList([self._ask(other) for other in others])
        asker.send(Message(Kind.TOTAL, number, self.total()))

    def _ask(self, worker: _WorkerCounts) -> Deferred[None]:
        """Ask a worker for its counts; fires once they are here, or the worker has ended or timed out."""
        if len(worker.pending) >= _MOST_QUESTIONS:
            return succeed(None)
        number = next(self._numbers)
        question: Deferred[None] = Deferred()
        worker.pending[number] = question
        worker.send(Message(Kind.COUNT, number))
        return question.addTimeout(ANSWER_SECONDS, self._clock, lambda _result, _seconds: None)
