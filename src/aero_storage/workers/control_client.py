"""A worker's line to its parent: orders come in, counts go out."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from aero_storage.metrics import Counts, Metrics
from aero_storage.workers.control_protocol import ControlChannel, Kind, Message, to_document

PUSH_SECONDS = 1.0
"""How often changed counts are told unasked: so much is lost of a worker that is killed."""


@attrs.define(eq=False)
class ControlClient:
    """Obeys the parent, and keeps it informed of what `metrics` have counted.

    `stop` and `reload` are called when the parent says so, `orphaned` when it is gone.
    """

    _metrics: Metrics
    _stop: Callable[[], object]
    _reload: Callable[[], object]
    _orphaned: Callable[[], object]
    channel: ControlChannel = attrs.field(init=False)
    _told: dict[str, Any] = attrs.field(init=False, factory=dict)
    _questions: dict[int, Deferred[Counts]] = attrs.field(init=False, factory=dict)
    _numbers: count[int] = attrs.field(init=False, factory=lambda: count(1))

    def __attrs_post_init__(self) -> None:
        self.channel = ControlChannel(self._received)
        self.channel.lost.addCallback(lambda _: self._orphaned())

    def push(self) -> None:
        """Tell the counts if any has changed; what changes all the time can wait until somebody asks."""
        counted = _changing(self._metrics.counts)
        if counted != self._told:
            self._tell(Kind.COUNTS)

    def ready(self) -> None:
        """See Notifier: the worker serves, or has read the catalog again."""
        self.channel.send(Message(Kind.READY))

    def reloading(self) -> None:
        """See Notifier: the parent, who has asked for it, knows."""

    def stopping(self) -> None:
        """See Notifier: the parent sees the end itself."""

    async def total(self) -> Counts:
        """The counts of all workers and of the parent; exactly those of ours among them that it is told now."""
        number = next(self._numbers)
        answer: Deferred[Counts] = Deferred(lambda _: self._forget(number))
        self._questions[number] = answer
        self._tell(Kind.SUM, number)
        return await answer

    def _forget(self, number: int) -> None:
        self._questions.pop(number, None)

    def hang_up(self) -> Deferred[None]:
        """Say the last word, and close the line; fires when the parent has it."""
        self.push()
        self.channel.transport.loseConnection()  # type: ignore[union-attr]
        return self.channel.lost

    def _tell(self, kind: Kind, number: int = 0) -> None:
        counts = self._metrics.snapshot()
        self._told = _changing(counts)
        self.channel.send(Message(kind, number, counts))

    def _received(self, message: Message) -> None:
        match message.kind:
            case Kind.STOP:
                self._stop()
            case Kind.RELOAD:
                self._reload()
            case Kind.COUNT:
                self._tell(Kind.COUNTS, message.number)
            case Kind.TOTAL if message.counts is not None and message.number in self._questions:
                self._questions.pop(message.number).callback(message.counts)


def _changing(counts: Counts) -> dict[str, Any]:
    return to_document(attrs.evolve(counts, process={}, gauges={}, reactor_delays={}))
