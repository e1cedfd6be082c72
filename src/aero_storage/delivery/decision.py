"""The decision about a request for an open representation: conditions, ranges, limits, headers (http.md §5 and §6).

Pure: facts and a representation in, a reply out. The order of evaluation is that of http.md.
"""

from __future__ import annotations

import enum
from functools import lru_cache

import attrs

from aero_storage.delivery.facts import Facts
from aero_storage.delivery.policy import Policy
from aero_storage.delivery.reply import (
    ACCEPTS_RANGES,
    Refused,
    Reply,
    error,
    precondition_reply,
    response_headers,
    validator_headers,
)
from aero_storage.delivery.representation import Representation
from aero_storage.errors import RefusalReason
from aero_storage.http.conditional import UNCONDITIONAL, Validators, if_range_holds
from aero_storage.http.cors import MAX_RANGE_BYTES, Headers
from aero_storage.http.digests import REPR_DIGEST, repr_digest
from aero_storage.http.ranges import (
    ByteRange,
    RangeProblem,
    Segment,
    content_range,
    parse_range,
    resolve,
    unsatisfied_range,
)
from aero_storage.values import request_value

_UNSATISFIABLE = 416


class Refusal(enum.Enum):
    """Why a range is not sent, with the status of the response and the reason in the log."""

    PRECONDITION = ("If-Range does not hold", 412, RefusalReason.PRECONDITION)
    SYNTAX = ("broken, or missing where one is required", 416, RefusalReason.RANGE_SYNTAX)
    UNIT = ("of another unit where one of bytes is required", 416, RefusalReason.RANGE_UNIT)
    MULTIPLE = ("more than one", 416, RefusalReason.RANGE_TOO_MANY)
    UNSATISFIABLE = ("not satisfiable", 416, RefusalReason.RANGE_UNSATISFIABLE)
    TOO_MANY = ("more than are counted", 413, RefusalReason.RANGE_TOO_MANY)
    HEADER_TOO_LONG = ("in a header that is too long", 413, RefusalReason.RANGE_TOO_LONG)
    TOO_LONG = ("longer than --max-range-bytes", 413, RefusalReason.RANGE_TOO_LONG)

    def __init__(self, meaning: str, status: int, reason: RefusalReason) -> None:
        self.meaning = meaning
        self.status = status
        self.reason = reason


_PROBLEMS = {
    RangeProblem.BROKEN: Refusal.SYNTAX,
    RangeProblem.OTHER_UNIT: Refusal.UNIT,
    RangeProblem.MULTIPLE: Refusal.MULTIPLE,
    RangeProblem.TOO_MANY: Refusal.TOO_MANY,
    RangeProblem.OVERSIZED: Refusal.HEADER_TOO_LONG,
}


@request_value
class Decision:
    """Everything decided about a request except its range; requests that differ only in their range share it."""

    facts: Facts
    policy: Policy
    representation: Representation
    fixed: Reply | None
    """The reply, if it does not depend on the range; else None."""
    headers: Headers
    """The headers of 200 and 206."""
    range_applies: bool
    """Whether `Range` is honoured: `If-Range` is absent or matches."""
    range_required: bool
    """Whether a range is required (`--require-range`)."""
    date: int | None
    """`Last-Modified` of the representation in seconds since the epoch, whether it is shown or not."""
    in_future: bool
    """Whether that date was later than the `Date` of the response, and so not shown."""

    def holds_at(self, now: float) -> bool:
        """Return whether the decision is right for a response with the `Date` `now`, in seconds since the epoch."""
        return self.date is None or (self.date > now) is self.in_future

    def reply(self, requested: str | None) -> Reply:
        """Return the reply to such a request with the given `Range`, None without one."""
        if self.fixed is not None:
            return self.fixed
        selected = self._select(requested) if self.representation.ranges else None
        if isinstance(selected, Refusal):
            return _refuse(self.facts, self.policy, selected, self.representation.size)
        return _send(self.headers, self.representation, selected)

    def _select(self, text: str | None) -> Segment | Refusal | None:
        """Return the segment that `Range` selects, None for the whole representation, or why there is none."""
        range_required, range_applies = self.range_required, self.range_applies
        requested = None if text is None or not (range_applies or range_required) else parse_range(text)
        if requested is None:
            return Refusal.SYNTAX if range_required else None
        if isinstance(requested, RangeProblem):
            ignored = requested is RangeProblem.OTHER_UNIT and not range_required
            return None if ignored else _PROBLEMS[requested]
        if not range_applies:
            return Refusal.PRECONDITION
        return _fit(requested, self.representation.size, self.policy, range_required=range_required)


def judge(facts: Facts, policy: Policy, representation: Representation, now: float) -> Decision:
    """Decide everything except the range of a GET or HEAD for an open representation.

    `now` is the `Date` of the response, in seconds since the epoch.
    """
    shown = representation.shown_validators
    validators, date = representation.validators.at(now), shown.last_modified_second
    told = _shown_headers(representation, validators if shown is representation.validators else shown.at(now))
    return Decision(
        facts,
        policy,
        representation,
        _fixed_reply(facts, policy, representation, validators, told),
        response_headers(facts, policy, told) + _body_headers(representation.content_type),
        facts.preconditions is UNCONDITIONAL or if_range_holds(facts.preconditions, validators, now),
        policy.require_range and facts.method == "GET",
        date,
        date is not None and date > now,
    )


def _fixed_reply(
    facts: Facts, policy: Policy, representation: Representation, validators: Validators, shown: Headers
) -> Reply | None:
    if representation.max_bytes is not None and representation.size > representation.max_bytes:
        return error(facts, policy, 413, reason=RefusalReason.CHUNK_TOO_LONG)
    if facts.preconditions is UNCONDITIONAL:
        return None
    unmet = precondition_reply(facts, policy, validators, shown)
    if unmet is None or unmet.refused is not None:
        return unmet
    return attrs.evolve(unmet, version=representation.version)


def _shown_headers(representation: Representation, validators: Validators) -> Headers:
    """The headers that a 304 has too."""
    headers = validator_headers(validators) + representation.caching.headers
    if representation.ranges:
        headers += ACCEPTS_RANGES
    if representation.sha256 is not None:
        headers += ((REPR_DIGEST, repr_digest(representation.sha256)),)
    return headers + representation.links


@lru_cache(16)
def _body_headers(content_type: str) -> Headers:
    """The headers of 200 and 206 that a 304 has not."""
    return (
        ("Content-Type", content_type),
        ("Content-Encoding", "identity"),
        ("X-Content-Type-Options", "nosniff"),
    )


def _refuse(facts: Facts, policy: Policy, refusal: Refusal, size: int) -> Reply:
    extra: Headers = ()
    refused = Refused(refusal.reason)
    if refusal.status == _UNSATISFIABLE:
        extra = (("Content-Range", unsatisfied_range(size)),)
    elif refusal is Refusal.TOO_LONG:
        extra = ((MAX_RANGE_BYTES, str(policy.max_range_bytes)),)
        refused = Refused(refusal.reason, policy.max_range_bytes)
    return error(facts, policy, refusal.status, *extra, reason=refused)


def _send(headers: Headers, representation: Representation, selected: Segment | None) -> Reply:
    if representation.body is not None:
        return Reply(200, headers, representation.body)
    version = representation.version
    if selected is None:
        return Reply(200, headers, segment=Segment(representation.offset, representation.size), version=version)
    own = (("Content-Range", content_range(selected, representation.size)),)
    return Reply(206, headers, segment=selected, own=own, version=version)


def _fit(requested: ByteRange, size: int, policy: Policy, *, range_required: bool) -> Segment | Refusal:
    segment, most = resolve(requested, size), policy.max_range_bytes
    if segment is None:
        return Refusal.UNSATISFIABLE
    if most is None or segment.length <= most:
        return segment
    limited = requested.last is not None or policy.open_ended_ranges == "limit" or range_required
    return Refusal.TOO_LONG if limited else segment
