"""What to answer once the representation is open: conditions, ranges, limits, headers (contract §5 and §6).

Pure: facts and a representation in, a reply out. The order of evaluation is that of the contract.
"""

from __future__ import annotations

import attrs

from aero_storage.catalog.model import Image
from aero_storage.delivery.facts import Facts
from aero_storage.delivery.policy import Policy
from aero_storage.delivery.reply import Reply, error, plane_headers
from aero_storage.delivery.routes import Resource
from aero_storage.protocol import caching
from aero_storage.protocol.conditional import Outcome, Validators, evaluate, if_range_holds
from aero_storage.protocol.cors import Headers
from aero_storage.protocol.dates import format_http_date
from aero_storage.protocol.ranges import (
    ByteRange,
    RangeProblem,
    Segment,
    content_range,
    parse_range,
    resolve,
    unsatisfied_range,
)

OCTETS = "application/octet-stream"
"""Media type of images and chunk objects."""


@attrs.frozen
class Representation:
    """What is behind a URL of the data plane: a size in bytes, validators, and how it may be sent."""

    size: int
    validators: Validators
    cache_control: str
    content_type: str = OCTETS
    ranges: bool = True
    """Whether `Range` is honoured."""
    max_bytes: int | None = None
    """Largest size that is sent at all; None for any."""


def image_validators(image: Image, found: Validators) -> Validators:
    """The validators of an image: what its catalog entry says, else what its file says (contract §3)."""
    return Validators(
        image.etag or found.etag,
        found.last_modified if image.last_modified is None else image.last_modified,
    )


def image_representation(facts: Facts, policy: Policy, image: Image, size: int, found: Validators) -> Representation:
    """The bytes of an image; `size` and `found` are those of its open file."""
    public = caching.publicly_cacheable(public_image=image.public, credentials=facts.credentials)
    return Representation(
        size,
        image_validators(image, found),
        caching.image_bytes(public=public, max_age=policy.public_max_age),
    )


def chunk_representation(facts: Facts, policy: Policy, image: Image, size: int, found: Validators) -> Representation:
    """A chunk object or a chunk manifest; `size` and `found` are those of its own file (contract §6)."""
    public = caching.publicly_cacheable(public_image=image.public, credentials=facts.credentials)
    is_chunk = facts.resource is Resource.CHUNK
    moving = facts.names.version is None and image.chunked_version is not None
    return Representation(
        size,
        found,
        caching.image_bytes(public=public, max_age=policy.public_max_age)
        if moving
        else caching.immutable_object(public=public),
        content_type=OCTETS if is_chunk else "application/json",
        ranges=False,
        max_bytes=policy.max_chunk_bytes if is_chunk else None,
    )


def decide(facts: Facts, policy: Policy, representation: Representation) -> Reply:
    """The reply to a GET or HEAD for a representation that is open."""
    if representation.max_bytes is not None and representation.size > representation.max_bytes:
        return error(facts, policy, 413)
    outcome = evaluate(facts.preconditions, representation.validators)
    if outcome is Outcome.FAILED:
        return error(facts, policy, 412)
    common = (*plane_headers(facts, policy), *_validator_headers(representation))
    if outcome is Outcome.NOT_MODIFIED:
        return Reply(304, common)
    selected = _select(facts, policy, representation) if representation.ranges else None
    if isinstance(selected, int):
        return _refuse(facts, policy, selected, representation.size)
    return _send(common, representation, selected)


def _validator_headers(representation: Representation) -> Headers:
    second = representation.validators.last_modified_second
    return (
        ("ETag", representation.validators.etag),
        *((("Last-Modified", format_http_date(second)),) if second is not None else ()),
        ("Cache-Control", representation.cache_control),
        *((("Accept-Ranges", "bytes"),) if representation.ranges else ()),
    )


def _refuse(facts: Facts, policy: Policy, status: int, size: int) -> Reply:
    if status == 416:  # noqa: PLR2004
        return error(facts, policy, status, ("Content-Range", unsatisfied_range(size)))
    return error(facts, policy, status)


def _send(common: Headers, representation: Representation, selected: Segment | None) -> Reply:
    headers = (
        *common,
        ("Content-Type", representation.content_type),
        ("Content-Encoding", "identity"),
        ("X-Content-Type-Options", "nosniff"),
    )
    if selected is None:
        return Reply(200, headers, segment=Segment(0, representation.size))
    return Reply(206, (*headers, ("Content-Range", content_range(selected, representation.size))), segment=selected)


def _select(facts: Facts, policy: Policy, representation: Representation) -> Segment | int | None:
    """The segment that `Range` asks for, None for the whole representation, or the status of a refusal."""
    strict = policy.require_range and facts.method == "GET"
    fresh = if_range_holds(facts.preconditions, representation.validators)
    wanted = None if facts.range is None or not (fresh or strict) else parse_range(facts.range)
    if wanted is None or wanted is RangeProblem.OTHER_UNIT:
        return 416 if strict else None
    if isinstance(wanted, RangeProblem):
        return 413 if wanted is RangeProblem.OVERSIZED else 416
    if not fresh:
        return 412
    return _fit(wanted, representation.size, policy, strict=strict)


def _fit(wanted: ByteRange, size: int, policy: Policy, *, strict: bool) -> Segment | int:
    segment = resolve(wanted, size)
    if segment is None:
        return 416
    limited = not wanted.open_ended or policy.limit_open_ended or strict
    return 413 if limited and segment.length > policy.max_range_bytes else segment
