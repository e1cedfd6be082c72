"""The metadata plane: the list of images and the metadata of one, as JSON (http.md §4 and §14)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import attrs

from aero_storage.catalog.model import Image
from aero_storage.delivery.facts import Facts
from aero_storage.delivery.policy import Policy
from aero_storage.delivery.reply import Reply, json_body, plane_headers, precondition_reply, validator_headers
from aero_storage.delivery.representation import OCTETS, image_validators, known_sha256, version_caching, version_of
from aero_storage.http import caching
from aero_storage.http.conditional import Validators
from aero_storage.http.dates import format_rfc3339
from aero_storage.http.extents.documents import Body
from aero_storage.storage.blob import BlobStatus

_TAG_DIGITS = 32


def describe(image: Image, status: BlobStatus) -> dict[str, object]:
    """Return the JSON object of an image, without unset keys."""
    validators = image_validators(image, status)
    document = {
        "id": image.id,
        "name": image.name,
        "description": image.description,
        "size_bytes": status.size,
        "etag": validators.etag,
        "sha256": known_sha256(image, status),
        "version": version_of(image, status),
        "last_modified": format_rfc3339(validators.last_modified or 0),
        "content_type": OCTETS,
        "recommended_chunk_size_bytes": image.recommended_chunk_size_bytes,
        "public": image.public,
    }
    return {key: value for key, value in document.items() if value is not None}


def image_reply(facts: Facts, policy: Policy, image: Image, status: BlobStatus, now: float) -> Reply:
    """Return the metadata of one image; the entity-tag is that of the image, as clients use it for the image.

    `now` is the `Date` of the response, in seconds since the epoch.
    """
    validators = image_validators(image, status).at(now)
    return _answer(facts, policy, json_body(describe(image, status)), validators)


@attrs.frozen
class Listing:
    """The array of all images as JSON, and its entity-tag."""

    body: bytes
    etag: str


def make_listing(found: Iterable[tuple[Image, BlobStatus]]) -> Listing:
    """Encode the array of all images; takes half a second for 50,000: call it off the reactor's thread.

    Images are encoded one by one: one long call of the JSON encoder would block other threads.
    """
    body = b"[" + b",".join(json_body(describe(image, status)) for image, status in found) + b"]"
    return Listing(body, f'"images-{hashlib.sha256(body).hexdigest()[:_TAG_DIGITS]}"')


def list_reply(facts: Facts, policy: Policy, listing: Listing) -> Reply:
    """Return the array of all images; the entity-tag is a digest of it."""
    return _answer(facts, policy, listing.body, Validators(listing.etag, None))


def extents_reply(facts: Facts, policy: Policy, image: Image, body: Body) -> Reply:
    """Return the extents of an image; under the URL of a version they may be kept as its bytes may (http.md §14)."""
    is_moving = facts.names.version is None
    cache_control = caching.REVALIDATE if is_moving else version_caching(facts, policy, image)
    return _answer(facts, policy, body.data, Validators(body.etag, None), cache_control)


def _answer(
    facts: Facts, policy: Policy, body: bytes, validators: Validators, cache_control: str = caching.REVALIDATE
) -> Reply:
    headers = (
        ("Cache-Control", cache_control),
        *validator_headers(validators),
        ("Content-Type", "application/json"),
    )
    unmet = precondition_reply(facts, policy, validators, headers)
    return unmet or Reply(200, (*plane_headers(facts, policy), *headers), body)
