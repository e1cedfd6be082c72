"""The metadata plane: the list of images and the metadata of one, as JSON (http.md §4)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import attrs

from aero_storage.catalog.model import Image
from aero_storage.delivery.facts import Facts
from aero_storage.delivery.policy import Policy
from aero_storage.delivery.reply import Reply, json_body, precondition_reply, response_headers, validator_headers
from aero_storage.delivery.representation import OCTETS, image_validators, known_sha256, version_of
from aero_storage.http import caching
from aero_storage.http.caching import Caching
from aero_storage.http.conditional import Validators
from aero_storage.http.dates import format_rfc3339
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
    return _answer(facts, policy, json_body(describe(image, status)), validators, caching_of(image, policy))


def caching_of(image: Image, policy: Policy) -> Caching:
    """Return how caches may keep the metadata of an image; under leases, those of a private one not at all."""
    return caching.private_metadata() if policy.leases and not image.public else Caching(caching.REVALIDATE)


@attrs.frozen
class Listing:
    """The array of all images as JSON, and its entity-tag."""

    body: bytes
    etag: str
    shows_private: bool = False


def make_listing(found: Iterable[tuple[Image, BlobStatus]]) -> Listing:
    """Encode the array of all images; takes half a second for 50,000: call it off the reactor's thread.

    Images are encoded one by one: one long call of the JSON encoder would block other threads.
    """
    images = list(found)
    body = b"[" + b",".join(json_body(describe(image, status)) for image, status in images) + b"]"
    tag = f'"images-{hashlib.sha256(body).hexdigest()[:_TAG_DIGITS]}"'
    return Listing(body, tag, shows_private=any(not image.public for image, _ in images))


def list_reply(facts: Facts, policy: Policy, listing: Listing) -> Reply:
    """Return the array of all images; the entity-tag is a digest of it."""
    return _answer(facts, policy, listing.body, Validators(listing.etag, None), _listing_caching(listing, policy))


def _listing_caching(listing: Listing, policy: Policy) -> Caching:
    """Return how caches may keep the list: under leases it hangs on what is presented, whichever images it shows."""
    if policy.leases and listing.shows_private:
        return caching.private_metadata()
    return Caching(caching.REVALIDATE, by_credentials=policy.leases)


def _answer(facts: Facts, policy: Policy, body: bytes, validators: Validators, kept: Caching) -> Reply:
    headers = (*kept.headers, *validator_headers(validators), ("Content-Type", "application/json"))
    unmet = precondition_reply(facts, policy, validators, headers)
    return unmet or Reply(200, response_headers(facts, policy, headers), body)
