"""What to answer once the representation is open: conditions, ranges, limits, headers (http.md §5 and §6).

Pure: facts and a representation in, a reply out. The order of evaluation is that of http.md.
"""

from __future__ import annotations

import attrs

from aero_storage.delivery.facts import Facts
from aero_storage.delivery.policy import Policy
from aero_storage.delivery.reply import Reply, error, plane_headers
from aero_storage.delivery.representation import Representation
from aero_storage.http.conditional import ConditionResult, evaluate, if_range_holds
from aero_storage.http.cors import Headers
from aero_storage.http.dates import NANOSECONDS, format_http_date
from aero_storage.http.ranges import (
    ByteRange,
    RangeProblem,
    Segment,
    content_range,
    parse_range,
    resolve,
    unsatisfied_range,
)


@attrs.frozen
class Decision:
    """All that is decided of a request but for its range; requests that differ in nothing else have it in common."""

    facts: Facts
    policy: Policy
    representation: Representation
    settled: Reply | None
    """The reply, where the range plays no part."""
    headers: Headers
    """Those of 200 and 206."""
    fresh: bool
    """Whether `If-Range` lets `Range` be honoured."""
    strict: bool
    """Whether a whole body is never sent."""

    def reply(self, wanted: str | None) -> Reply:
        """The reply to such a request whose `Range` is `wanted`."""
        if self.settled is not None:
            return self.settled
        selected = self._select(wanted) if self.representation.ranges else None
        if isinstance(selected, int):
            return _refuse(self.facts, self.policy, selected, self.representation.size)
        return _send(self.headers, self.representation, selected)

    def _select(self, text: str | None) -> Segment | int | None:
        """The segment that `Range` asks for, None for the whole representation, or the status of a refusal."""
        strict, fresh = self.strict, self.fresh
        wanted = None if text is None or not (fresh or strict) else parse_range(text)
        if wanted is None or wanted is RangeProblem.OTHER_UNIT:
            return 416 if strict else None
        if isinstance(wanted, RangeProblem):
            return 413 if wanted is RangeProblem.OVERSIZED else 416
        if not fresh:
            return 412
        return _fit(wanted, self.representation.size, self.policy, strict=strict)


def judge(facts: Facts, policy: Policy, representation: Representation) -> Decision:
    """Decide all but the range of a GET or HEAD for a representation that is open."""
    return Decision(
        facts,
        policy,
        representation,
        settled=_settle(facts, policy, representation),
        headers=_body_headers(plane_headers(facts, policy), representation),
        fresh=if_range_holds(facts.preconditions, representation.validators),
        strict=policy.require_range and facts.method == "GET",
    )


def decide(facts: Facts, policy: Policy, representation: Representation) -> Reply:
    """The reply to a GET or HEAD for a representation that is open."""
    return judge(facts, policy, representation).reply(facts.range)


def _settle(facts: Facts, policy: Policy, representation: Representation) -> Reply | None:
    if representation.max_bytes is not None and representation.size > representation.max_bytes:
        return error(facts, policy, 413)
    outcome = evaluate(facts.preconditions, representation.validators)
    if outcome is ConditionResult.FAILED:
        return error(facts, policy, 412)
    if outcome is ConditionResult.NOT_MODIFIED:
        return Reply(304, (*plane_headers(facts, policy), *_validator_headers(representation)))
    return None


def _validator_headers(representation: Representation) -> Headers:
    date = representation.validators.last_modified if representation.shown_date is None else representation.shown_date
    second = None if date is None else date // NANOSECONDS
    return (
        ("ETag", representation.validators.etag),
        *((("Last-Modified", format_http_date(second)),) if second is not None else ()),
        ("Cache-Control", representation.cache_control),
        *((("Accept-Ranges", "bytes"),) if representation.ranges else ()),
    )


def _body_headers(plane: Headers, representation: Representation) -> Headers:
    """The headers of 200 and 206."""
    return (
        *plane,
        *_validator_headers(representation),
        ("Content-Type", representation.content_type),
        ("Content-Encoding", "identity"),
        ("X-Content-Type-Options", "nosniff"),
    )


def _refuse(facts: Facts, policy: Policy, status: int, size: int) -> Reply:
    if status == 416:  # noqa: PLR2004
        return error(facts, policy, status, ("Content-Range", unsatisfied_range(size)))
    return error(facts, policy, status)


def _send(headers: Headers, representation: Representation, selected: Segment | None) -> Reply:
    if representation.body is not None:
        return Reply(200, headers, representation.body)
    if selected is None:
        return Reply(200, headers, segment=Segment(representation.offset, representation.size))
    own = (("Content-Range", content_range(selected, representation.size)),)
    return Reply(206, headers, segment=selected, own=own)


def _fit(wanted: ByteRange, size: int, policy: Policy, *, strict: bool) -> Segment | int:
    segment = resolve(wanted, size)
    if segment is None:
        return 416
    limited = not wanted.open_ended or policy.open_ended_ranges == "limit" or strict
    return 413 if limited and segment.length > policy.max_range_bytes else segment
