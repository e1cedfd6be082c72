"""The decision about a request for an open representation: conditions, ranges, limits, headers (http.md §5 and §6).

Pure: facts and a representation in, a reply out. The order of evaluation is that of http.md.
"""

from __future__ import annotations

import attrs

from aero_storage.delivery.facts import Facts
from aero_storage.delivery.policy import Policy
from aero_storage.delivery.reply import Reply, error, plane_headers, precondition_reply, validator_headers
from aero_storage.delivery.representation import Representation
from aero_storage.http.conditional import Validators, if_range_holds
from aero_storage.http.cors import Headers
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
        if isinstance(selected, int):
            return _refuse(self.facts, self.policy, selected, self.representation.size)
        return _send(self.headers, self.representation, selected)

    def _select(self, text: str | None) -> Segment | int | None:
        """Return the segment that `Range` selects, None for the whole representation, or the status of an error."""
        range_required, range_applies = self.range_required, self.range_applies
        requested = None if text is None or not (range_applies or range_required) else parse_range(text)
        if requested is None or requested is RangeProblem.OTHER_UNIT:
            return 416 if range_required else None
        if isinstance(requested, RangeProblem):
            return 413 if requested is RangeProblem.OVERSIZED else 416
        if not range_applies:
            return 412
        return _fit(requested, self.representation.size, self.policy, range_required=range_required)


def judge(facts: Facts, policy: Policy, representation: Representation, now: float) -> Decision:
    """Decide everything except the range of a GET or HEAD for an open representation.

    `now` is the `Date` of the response, in seconds since the epoch.
    """
    validators, date = representation.validators.at(now), representation.shown_validators.last_modified_second
    shown = _shown_headers(representation, now)
    return Decision(
        facts,
        policy,
        representation,
        fixed=_fixed_reply(facts, policy, representation, validators, shown),
        headers=_body_headers(plane_headers(facts, policy), representation, shown),
        range_applies=if_range_holds(facts.preconditions, validators, now),
        range_required=policy.require_range and facts.method == "GET",
        date=date,
        in_future=date is not None and date > now,
    )


def _fixed_reply(
    facts: Facts, policy: Policy, representation: Representation, validators: Validators, shown: Headers
) -> Reply | None:
    if representation.max_bytes is not None and representation.size > representation.max_bytes:
        return error(facts, policy, 413)
    return precondition_reply(facts, policy, validators, shown)


def _shown_headers(representation: Representation, now: float) -> Headers:
    """The headers that a 304 has too."""
    return (
        *validator_headers(representation.shown_validators.at(now)),
        ("Cache-Control", representation.cache_control),
        *((("Accept-Ranges", "bytes"),) if representation.ranges else ()),
    )


def _body_headers(plane: Headers, representation: Representation, shown: Headers) -> Headers:
    """The headers of 200 and 206."""
    return (
        *plane,
        *shown,
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


def _fit(requested: ByteRange, size: int, policy: Policy, *, range_required: bool) -> Segment | int:
    segment = resolve(requested, size)
    if segment is None:
        return 416
    limited = not requested.open_ended or policy.open_ended_ranges == "limit" or range_required
    return 413 if limited and segment.length > policy.max_range_bytes else segment
