"""A response as a value, and the responses common to a plane: preflights and errors."""

from __future__ import annotations

import json

import attrs

from aero_storage.delivery.facts import Facts
from aero_storage.delivery.policy import Policy
from aero_storage.delivery.routes import Plane, Resource
from aero_storage.errors import RefusalReason
from aero_storage.http import caching
from aero_storage.http.conditional import ConditionResult, Validators, evaluate
from aero_storage.http.cors import DATA_EXPOSED, METADATA_EXPOSED, Headers, exposed_names
from aero_storage.http.dates import format_http_date
from aero_storage.http.ranges import Segment
from aero_storage.values import request_value

ACCEPTS_RANGES: Headers = (("Accept-Ranges", "bytes"),)

_NO_BODY = frozenset({204, 304})
_EXPOSED = {Plane.DATA: DATA_EXPOSED, Plane.METADATA: METADATA_EXPOSED}
_TEXTS = {
    400: "bad request",
    401: "a bearer token is required",
    403: "wrong bearer token",
    404: "not found",
    405: "method not allowed",
    408: "the request head did not come to its end in time",
    412: "precondition failed",
    413: "content too large: no route takes a body",
    414: "the request target is too long",
    429: "too many requests",
    431: "the request head is too large",
    500: "internal error",
    503: "overloaded: try again later",
}


@attrs.frozen
class Refused:
    """The fields of a refused request in the log (http.md §8)."""

    reason: RefusalReason
    max_range_bytes: int | None = None
    """The limit that a range exceeds."""


@request_value
class Reply:
    """Status, headers, and a short body or a segment of the blob that the request opened."""

    status: int
    common: Headers = ()
    """Headers shared by many replies, as one tuple."""
    body: bytes = b""
    segment: Segment | None = None
    own: Headers = ()
    """Headers of this reply alone."""
    refused: Refused | None = None
    version: str | None = None
    """The version of the image that the reply is about, for the log (http.md §8)."""

    @property
    def headers(self) -> Headers:
        """All headers of the decision."""
        return (*self.common, *self.own)

    @property
    def length(self) -> int | None:
        """The value of `Content-Length`, also for HEAD; None for statuses without one (RFC 9110 §8.6)."""
        if self.segment is not None:
            return self.segment.length
        return None if self.status in _NO_BODY else len(self.body)


def plane_headers(facts: Facts, policy: Policy, own: Headers = ()) -> Headers:
    """Return the headers of every response of a plane: CORS, and CORP on the data plane (http.md §7).

    `own` are further headers of the response, which scripts may have to read.
    """
    plane = facts.plane
    headers = policy.cors.headers(facts.origin, exposed_names(_EXPOSED.get(plane), own))
    return headers + policy.resource_policy if plane is Plane.DATA else headers


def response_headers(facts: Facts, policy: Policy, own: Headers) -> Headers:
    """Return the headers of a response: those of its plane and its own, with one `Vary`."""
    return caching.with_one_vary(plane_headers(facts, policy, own) + own)


def validator_headers(validators: Validators) -> Headers:
    """Return `ETag` and, if there is a date, `Last-Modified`."""
    second = validators.last_modified_second
    tag = ("ETag", validators.etag)
    return (tag,) if second is None else (tag, ("Last-Modified", format_http_date(second)))


def precondition_reply(facts: Facts, policy: Policy, validators: Validators, headers: Headers) -> Reply | None:
    """Evaluate the preconditions of a GET or HEAD (RFC 9110 §13.2.2): a 412, a 304, or None if it goes on.

    `headers` are those of the 304, besides the ones of its plane.
    """
    result = evaluate(facts.preconditions, validators)
    if result is ConditionResult.FAILED:
        return error(facts, policy, 412, reason=RefusalReason.PRECONDITION)
    return Reply(304, response_headers(facts, policy, headers)) if result is ConditionResult.NOT_MODIFIED else None


def preflight(facts: Facts, policy: Policy) -> Reply:
    """Return the 204 to an `OPTIONS` on any known route."""
    headers = policy.cors.preflight(facts.origin)
    return Reply(204, headers + policy.resource_policy if facts.plane is Plane.DATA else headers)


def error(
    facts: Facts,
    policy: Policy,
    status: int,
    *extra: tuple[str, str],
    reason: RefusalReason | Refused | None,
    text: str | None = None,
) -> Reply:
    """Return an error in the form of its plane: data empty, metadata JSON, else a short text.

    `reason` is for the log, None if there is no word for it. `text` is for the client, in place of that of the
    status; it never contains text from the client.
    """
    refused = Refused(reason) if isinstance(reason, RefusalReason) else reason
    headers = response_headers(facts, policy, extra)
    if facts.plane is Plane.DATA:
        headers = (*headers, ("Cache-Control", caching.ERROR), *_accept_ranges(facts))
        return Reply(status, headers, refused=refused)
    headers, text = (*headers, ("Cache-Control", caching.NO_STORE)), text or _TEXTS[status]
    if facts.plane is Plane.METADATA:
        content_type, body = "application/json", json_body({"error": text})
    else:
        content_type, body = "text/plain; charset=utf-8", f"{text}\n".encode()
    return Reply(status, (*headers, ("Content-Type", content_type)), body, refused=refused)


def _accept_ranges(facts: Facts) -> Headers:
    return ACCEPTS_RANGES if facts.resource is Resource.IMAGE else ()


def json_body(value: object) -> bytes:
    """Return `value` as compact JSON in UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
