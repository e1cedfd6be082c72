"""The record of an ended request: a line in the request log, and the counters."""

from __future__ import annotations

import attrs
from twisted.internet.interfaces import IReactorTime

from aero_storage.delivery.facts import Facts
from aero_storage.delivery.routes import Resource
from aero_storage.disk import Disk
from aero_storage.logs.json_log import EventLog, Form, make_form
from aero_storage.metrics import Metrics
from aero_storage.storage.store import Opened

_PARTIAL = 206
_RANGE_REFUSALS = frozenset({412, 413, 416})
_BYTES = frozenset({Resource.IMAGE, Resource.CHUNK})
_BLANKS = ("request_id", "status", "outcome", "bytes_sent", "latency_seconds", "client")


@attrs.frozen
class Reporter:
    """The destinations of access records: the request log (None: off) and the counters."""

    clock: IReactorTime
    disk: Disk
    metrics: Metrics
    log: EventLog | None


@attrs.define(eq=False)
class AccessRecord:
    """Logs and counts requests with equal facts; their common fields are computed once."""

    facts: Facts
    reporter: Reporter
    _form: Form | None = attrs.field(init=False, default=None)
    _route: str = attrs.field(init=False)
    _method: str = attrs.field(init=False)
    _counted_image: str | None = attrs.field(init=False)
    """The image id for the per-image byte counters; None if bytes are not counted."""
    _is_image: bool = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        facts = self.facts
        self._route, self._method = facts.route_label, facts.method_label
        self._counted_image = facts.names.image_id if facts.resource in _BYTES else None
        self._is_image = facts.resource is Resource.IMAGE

    def count(self, status: int, bytes_sent: int, seconds: float, opened: Opened | None = None) -> None:
        """Count a request that ended after `seconds`; `bytes_sent` bytes of its body, from `opened`, were sent."""
        metrics = self.reporter.metrics
        metrics.request_ended(self._route, self._method, status, seconds)
        if bytes_sent and self._counted_image is not None:
            metrics.bytes_sent(self._counted_image, bytes_sent)
            if self._is_image:
                metrics.delivered("range" if status == _PARTIAL else "full", bytes_sent)
            else:
                metrics.delivered("virtual_chunk" if opened is not None and opened.raw else "chunk", bytes_sent)
        if self._is_image:
            if status == _PARTIAL:
                metrics.range_answered(valid=True)
            elif status in _RANGE_REFUSALS and not self.facts.announces_body:
                metrics.range_answered(valid=False)

    def write(self, *blanks: object, reason: str = "") -> None:
        """Write a line to the request log, if there is one; `blanks` are numbers or JSON.

        Their order: request id, status, outcome, bytes sent, seconds, the client's host. `reason` says why a response
        was aborted.
        """
        log = self.reporter.log
        if log is None:
            return
        if reason:
            make_form(log, "info", "request complete", {**self._fields(), "reason": reason}, _BLANKS)(*blanks)
            return
        if self._form is None:
            self._form = make_form(log, "info", "request complete", self._fields(), _BLANKS)
        self._form(*blanks)

    def _fields(self) -> dict[str, object]:
        facts = self.facts
        fields: dict[str, object] = {
            "request_id": None,
            "method": self._method,
            "path": facts.logged_path,
            "route": self._route,
            "status": None,
            "outcome": None,
            "bytes_sent": None,
            "latency_seconds": None,
            "client": None,
        }
        optional = {"image_id": facts.names.image_id, "user_id": facts.user_id}
        return fields | {name: value for name, value in optional.items() if value is not None}
