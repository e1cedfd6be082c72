"""The record of an ended request: a line in the request log, and the counters."""

from __future__ import annotations

from collections.abc import Callable

import attrs
from twisted.internet.interfaces import IReactorTime

from aero_storage.delivery.facts import Facts
from aero_storage.delivery.reply import Refused, Reply
from aero_storage.delivery.routes import Plane, Resource
from aero_storage.delivery.shared_forms import MESSAGE, USUAL, SharedForms, fields_of, fields_of_refusal
from aero_storage.disk import Disk
from aero_storage.errors import RefusalReason
from aero_storage.http.leases.judgement import Verdict
from aero_storage.http.leases.results import LeaseResult
from aero_storage.http.leases.verification import Lease
from aero_storage.logs.json_log import EventLog, Form, make_form
from aero_storage.metrics import Metrics, RangeTally
from aero_storage.storage.store import Opened

_PARTIAL = 206
_RANGE_REFUSALS = frozenset({412, 413, 416})
_BYTES = frozenset({Resource.IMAGE, Resource.CHUNK})
_RANGE, _VERSION, _ORIGIN = "range", "version", "origin_bytes"
_LEASE, _USER = "lease", "user_id"
_BLANKS = dict.fromkeys(USUAL, "%s")
_NOTED = {
    "request_id": '"%s"',
    "bytes_sent": "%s",
    "latency_seconds": "%s",
    "client": "%s",
    _RANGE: '"%s"',
    _VERSION: '"%s"',
}
"""The blanks of a line about a range that was sent, and how each is written."""


NoteRange = Callable[[str, str, str, int, str, str, float], None]
"""Takes request id, the client's host as JSON, the range as `0-9`, its length, that as text, version, seconds."""

LeaseFields = tuple[tuple[str, str | None], ...]
"""The fields of a line about a lease: the same for all requests with one token."""


@attrs.frozen
class Reporter:
    """The destinations of access records: the request log (None: off) and the counters."""

    clock: IReactorTime
    disk: Disk
    metrics: Metrics
    log: EventLog | None
    shared_forms: SharedForms | None = attrs.field(init=False)

    @shared_forms.default
    def _share_forms(self) -> SharedForms | None:
        return None if self.log is None else SharedForms(self.log)


@attrs.define(eq=False)
class AccessRecord:
    """Logs and counts requests with equal facts; their common fields are computed once."""

    facts: Facts
    reporter: Reporter
    is_kept: bool = False
    """Whether further requests will use it: then forms of its own pay."""
    _forms: dict[tuple[tuple[str, ...], Refused | None, LeaseFields], Form] = attrs.field(init=False, factory=dict)
    """By what the line has beside the usual blanks, what it says of a refusal, and of a lease."""
    _range_form: Form | None = attrs.field(init=False, default=None)
    """The form of a line with a range and a version, which is no refusal; None before the first."""
    _range_lease: Lease | None = attrs.field(init=False, default=None)
    """The lease that `_range_form` tells of."""
    _has_origin: bool = attrs.field(init=False, default=False)
    """Whether `_range_form` has a blank for the bytes of an origin."""
    note: NoteRange | None = attrs.field(init=False, default=None)
    """Records a range of a public image that was sent whole; None before the first line of such a one."""
    _route: str = attrs.field(init=False)
    _method: str = attrs.field(init=False)
    _counted_image: str | None = attrs.field(init=False)
    """The image id for the per-image byte counters; None if bytes are not counted."""
    _is_image: bool = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        facts = self.facts
        self._route, self._method, resource = facts.route_label, facts.method_label, facts.resource
        self._is_image = resource is Resource.IMAGE
        self._counted_image = facts.names.image_id if resource in _BYTES else None
        if self.reporter.log is None:
            self.note = self._make_note(lambda *_values: None)

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

    def _make_note(self, form: Form) -> NoteRange:
        """Return what counts a range and fills in `form`; the first one begins the count."""
        tally: RangeTally | None = None

        def note(  # noqa: PLR0913, PLR0917 - what there is to say
            request_id: str, client: str, part: str, length: int, size: str, version: str, seconds: float
        ) -> None:
            nonlocal tally
            if tally is None:
                image_id = self.facts.names.image_id or ""
                tally = self.reporter.metrics.tally_of_ranges(self._route, self._method, image_id)
            tally.add(length, seconds)
            form(request_id, size, f"{seconds:.6f}", client, part, version)

        return note

    def write(
        self,
        reply: Reply | None,
        opened: Opened | None,
        *blanks: str,
        reason: RefusalReason | None = None,
        verdict: Verdict | None = None,
    ) -> None:
        """Write a line to the request log, if there is one; `blanks` are JSON.

        Their order: request id, status, outcome, bytes sent, seconds, the client's host. `reply` is what was decided,
        for bytes of `opened`; None if the client left before. `reason` says why a response was broken off,
        `verdict` what its tokens were worth.
        """
        form = self._range_form if reason is None and reply is not None and reply.version is not None else None
        if form is not None and (None if verdict is None else verdict.lease) is not self._range_lease:
            form = None
        if form is not None and reply is not None and reply.status == _PARTIAL and reply.segment is not None:
            first = reply.segment.offset  # nearly all lines of a busy server: no further call
            part, version = f'"{first}-{first + reply.segment.length - 1}"', f'"{reply.version}"'
            if opened is not None and self._has_origin:
                form(*blanks, part, version, str(opened.origin_bytes))
            else:
                form(*blanks, part, version)
        elif self.reporter.log is not None:
            self._write(self.reporter.log, reply, opened, blanks, reason, verdict)

    def _write(  # noqa: PLR0913, PLR0917 - what there is to say
        self,
        log: EventLog,
        reply: Reply | None,
        opened: Opened | None,
        blanks: tuple[str, ...],
        reason: RefusalReason | None,
        verdict: Verdict | None,
    ) -> None:
        refused = Refused(reason) if reason is not None else None if reply is None else reply.refused
        known, lease = self._known(reply, opened), () if verdict is None else _lease_fields(verdict)
        shared = self.reporter.shared_forms
        if shared is not None and not (self.is_kept or lease):
            shared.write(self.facts, self._route, self._method, blanks, known, refused)
            return
        key = tuple(known), refused, lease
        form = self._forms.get(key) or self._make_form(log, *key)
        if refused is None and self._is_image and _RANGE in known and _VERSION in known:
            self._range_form, self._has_origin = form, _ORIGIN in known
            self._range_lease = None if verdict is None else verdict.lease
            is_plain = self._range_lease is None and not self._has_origin
            self.note = self.note or self._note_in(log) if is_plain else None
        form(*blanks, *known.values())

    def _note_in(self, log: EventLog) -> NoteRange:
        fields = (
            fields_of(self.facts) | {"status": _PARTIAL, "outcome": "complete"} | dict.fromkeys((_RANGE, _VERSION))
        )
        return self._make_note(make_form(log, "info", MESSAGE, fields, _NOTED))

    def _known(self, reply: Reply | None, opened: Opened | None) -> dict[str, str]:
        """The fields of a line beside the usual blanks, as JSON."""
        known: dict[str, str] = {}
        if reply is not None:
            part = reply.segment
            if part is not None and self._is_about_part(reply, opened):
                known[_RANGE] = f'"{part.offset}-{part.offset + part.length - 1}"'
            if reply.version is not None:
                known[_VERSION] = f'"{reply.version}"'
        if opened is not None and self.facts.plane is Plane.DATA and opened.origin_bytes is not None:
            known[_ORIGIN] = str(opened.origin_bytes)
        return known

    def _is_about_part(self, reply: Reply, opened: Opened | None) -> bool:
        """Whether the segment of a reply is a part of the image; not the whole, or bytes of a chunk's own file."""
        return reply.status == _PARTIAL if self._is_image else opened is not None and opened.raw

    def _make_form(self, log: EventLog, more: tuple[str, ...], refused: Refused | None, lease: LeaseFields) -> Form:
        fields = fields_of(self.facts) | dict.fromkeys(more) | fields_of_refusal(refused) | dict(lease)
        fields = {name: value for name, value in fields.items() if name != _USER or value is not None}
        blanks = _BLANKS | dict.fromkeys(more, "%s")
        form = self._forms[more, refused, lease] = make_form(log, "info", MESSAGE, fields, blanks)
        return form


def _lease_fields(verdict: Verdict) -> LeaseFields:
    """Name the token that decided; of what a lease opened, its `sub` is the user, and nothing else is."""
    name = verdict.name
    if name is None:
        return ()
    if verdict.result is not LeaseResult.OK or verdict.lease is None:
        return ((_LEASE, name),)
    return (_LEASE, name), (_USER, verdict.lease.claims.subject)
