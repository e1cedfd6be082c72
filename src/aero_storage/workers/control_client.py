"""The worker's end of the control channel: receives commands, sends counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, Protocol

import attrs
from twisted.internet.defer import Deferred
from typing_extensions import override

from aero_storage.linux.sd_notify import Notifier
from aero_storage.logs.json_log import EventLog
from aero_storage.metrics import Counts, Metrics
from aero_storage.workers.control_protocol import ControlChannel, Kind, Message, to_document

PUSH_SECONDS = 1.0
"""Interval of messages that are sent unasked: a killed worker loses at most the counts of this time, and a worker
that sends none for longer is stuck."""


class Siblings(Protocol):
    """Takes over the listening sockets of other workers."""

    def take_over(self, number: int, descriptors: Sequence[int]) -> None:
        """Accept connections at the sockets of worker `number`; the descriptors are the callee's.

        Raises an exception if that fails; then it accepts at none of them.
        """
        ...

    def give_back(self, number: int) -> None:
        """Leave the sockets of worker `number`."""
        ...

    def close(self) -> None:
        """Leave the sockets of all other workers for good."""
        ...


@attrs.define(eq=False)
class ControlClient(Notifier):
    """Carries out the parent's commands and sends it the counts of `metrics`.

    `stop` and `reload` are called on the parent's command, `reload` with the payload of that command; `orphaned` when
    the channel to the parent is lost.
    """

    _metrics: Metrics
    _stop: Callable[[], object]
    _reload: Callable[[bytes], object]
    _orphaned: Callable[[], object]
    _siblings: Siblings
    _log: EventLog
    channel: ControlChannel = attrs.field(init=False)
    _last_sent: dict[str, Any] = attrs.field(init=False, factory=dict)
    _pending: dict[int, Deferred[Counts]] = attrs.field(init=False, factory=dict)
    _numbers: count[int] = attrs.field(init=False, factory=lambda: count(1))

    def __attrs_post_init__(self) -> None:
        self.channel = ControlChannel(self._received)
        self.channel.lost.addCallback(lambda _: self._orphaned())

    def push(self) -> None:
        """Send the counts if any has changed, else a sign of life.

        Gauges and process figures are sent only when the parent asks.
        """
        if _changing(self._metrics.counts) == self._last_sent:
            self.channel.send(Message(Kind.ALIVE))
        else:
            self._send_counts(Kind.COUNTS)

    @override
    def ready(self) -> None:
        self.channel.send(Message(Kind.READY))

    @override
    def reloading(self) -> None:
        pass  # the parent asked for it

    @override
    def stopping(self) -> None:
        self._siblings.close()
        self.channel.send(Message(Kind.STOPPING))

    async def total(self) -> Counts:
        """Return the counts of all workers and of the parent, with this worker's counts as of now."""
        number = next(self._numbers)
        answer: Deferred[Counts] = Deferred(lambda _: self._forget(number))
        self._pending[number] = answer
        self._send_counts(Kind.SUM, number)
        return await answer

    def _forget(self, number: int) -> None:
        self._pending.pop(number, None)

    def close(self) -> Deferred[None]:
        """Send the last counts and close the channel; fires once the parent has received them."""
        self.push()
        self.channel.transport.loseConnection()  # type: ignore[union-attr]
        return self.channel.lost

    def _send_counts(self, kind: Kind, number: int = 0) -> None:
        counts = self._metrics.snapshot()
        self._last_sent = _changing(counts)
        self.channel.send(Message(kind, number, counts))

    def _received(self, message: Message) -> None:
        match message.kind:
            case Kind.STOP:
                self._stop()
            case Kind.RELOAD:
                self._reload(message.payload)
            case Kind.COUNT:
                self._send_counts(Kind.COUNTS, message.number)
            case Kind.TAKE_OVER:
                self._take_over(message)
            case Kind.GIVE_BACK:
                self._siblings.give_back(message.number)
            case Kind.TOTAL if message.counts is not None and message.number in self._pending:
                self._pending.pop(message.number).callback(message.counts)

    def _take_over(self, message: Message) -> None:
        try:
            self._siblings.take_over(message.number, self.channel.take_descriptors(message.descriptors))
        except Exception as error:  # noqa: BLE001 - this worker is healthy, and serves on at its own sockets
            fields = {"child": message.number, "reason": f"{type(error).__name__}: {error}"}
            self._log.event("error", "cannot accept for another worker", fields)


def _changing(counts: Counts) -> dict[str, Any]:
    return to_document(attrs.evolve(counts, process={}, gauges={}, reactor_delays={}))
