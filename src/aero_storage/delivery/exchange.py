"""One request from its head to its last byte: what it holds, and the one place where it ends."""

from __future__ import annotations

import enum

import attrs
from twisted.internet.interfaces import IReactorTime

from aero_storage.delivery.admission import Admission, Place
from aero_storage.delivery.facts import Facts, make_request_id
from aero_storage.delivery.routes import Resource
from aero_storage.disk import Disk
from aero_storage.logs import EventLog
from aero_storage.metrics import Metrics
from aero_storage.store.blob import Blob

_RANGE_REFUSALS = frozenset({412, 413, 416})
_BYTES = frozenset({Resource.IMAGE, Resource.CHUNK})


class Ending(enum.Enum):
    """How an exchange ended, in the words of the log."""

    COMPLETE = "complete"
    ABORTED = "aborted"
    """By us: the file failed, or the server stops."""
    DISCONNECTED = "disconnected"
    """By the client."""


@attrs.frozen
class Reporter:
    """Where ended exchanges are told: the request log (None: off) and the counters."""

    clock: IReactorTime
    disk: Disk
    metrics: Metrics
    log: EventLog | None


@attrs.define(eq=False)
class Exchange:
    """Owns all that a request takes, its place and its blob, and gives it back in `end`, exactly once."""

    facts: Facts
    _reporter: Reporter
    client: str | None = None
    """The peer's host."""
    request_id: str = attrs.field(factory=make_request_id)
    _started: float = attrs.field(init=False)
    _ended: bool = attrs.field(init=False, default=False)
    place: Place | None = attrs.field(init=False, default=None)
    waiting: bool = attrs.field(init=False, default=False)
    """Whether it stands in the queue for a place, with nothing done yet."""
    blob: Blob | None = attrs.field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        self._started = self._reporter.clock.seconds()

    async def take_place(self, admission: Admission) -> None:
        """Wait for a place under the cap, to be held until the end. Raises OverloadedError."""
        if self.place is not None:
            return
        self.waiting = True
        try:
            self.place = await admission.acquire()
        finally:
            self.waiting = False

    @property
    def ended(self) -> bool:
        """Whether it has come to its end."""
        return self._ended

    def take_place_now(self, admission: Admission) -> bool:
        """Take a place if there is one at once."""
        self.place = admission.try_acquire()
        return self.place is not None

    def give_up(self) -> None:
        """Release everything without a word: the request is answered in another exchange."""
        self._ended = True
        self._release()

    def end(self, ending: Ending, status: int, bytes_sent: int) -> None:
        """Release everything, count and log; a second call does nothing.

        `bytes_sent` are the bytes of the body that left the server.
        """
        if self._ended:
            return
        self._ended = True
        seconds = max(0.0, self._reporter.clock.seconds() - self._started)
        try:
            self._release()
        finally:
            self._count(status, bytes_sent, seconds)
            if self._reporter.log is not None:
                self._reporter.log.event("info", "request complete", self._line(ending, status, bytes_sent, seconds))

    def _release(self) -> None:
        if self.place is not None:
            self.place.release()
        if self.blob is not None:
            self.blob.close()

    def _count(self, status: int, bytes_sent: int, seconds: float) -> None:
        facts, metrics = self.facts, self._reporter.metrics
        metrics.request_ended(facts.route_label, facts.method_label, status, seconds)
        if facts.resource in _BYTES and facts.names.image_id is not None:
            metrics.bytes_sent(facts.names.image_id, bytes_sent)
        about_range = status == 206 or (status in _RANGE_REFUSALS and not facts.announces_body)  # noqa: PLR2004
        if facts.resource is Resource.IMAGE and about_range:
            metrics.range_answered(valid=status == 206)  # noqa: PLR2004

    def _line(self, ending: Ending, status: int, bytes_sent: int, seconds: float) -> dict[str, object]:
        facts = self.facts
        line: dict[str, object] = {
            "request_id": self.request_id,
            "method": facts.method_label,
            "path": facts.logged_path,
            "route": facts.route_label,
            "status": status,
            "outcome": ending.value,
            "bytes_sent": bytes_sent,
            "latency_seconds": round(seconds, 6),
            "client": self.client,
        }
        optional = {"image_id": facts.names.image_id, "user_id": facts.user_id}
        return line | {name: value for name, value in optional.items() if value is not None}
