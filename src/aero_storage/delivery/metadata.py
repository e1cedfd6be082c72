"""The metadata plane: the list of images and the metadata of one, as JSON (http.md §4 and §14)."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType

import attrs

from aero_storage.catalog.model import Image
from aero_storage.delivery.boot_profiles import ProfileBody
from aero_storage.delivery.facts import Facts
from aero_storage.delivery.policy import Policy
from aero_storage.delivery.reply import (
    Reply,
    error,
    json_body,
    precondition_reply,
    response_headers,
    validator_headers,
)
from aero_storage.delivery.representation import (
    OCTETS,
    image_validators,
    known_sha256,
    version_caching,
    version_of,
)
from aero_storage.errors import RefusalReason
from aero_storage.http import caching
from aero_storage.http.caching import Caching
from aero_storage.http.conditional import Validators
from aero_storage.http.cors import Headers
from aero_storage.http.dates import format_rfc3339
from aero_storage.http.extents.documents import Body
from aero_storage.http.identifiers import NAME_RULE
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


def image_reply(  # noqa: PLR0913 - by name only
    facts: Facts, policy: Policy, image: Image, status: BlobStatus, *, now: float, links: Headers = ()
) -> Reply:
    """Return the metadata of one image; the entity-tag is that of the image, as clients use it for the image.

    `now` is the `Date` of the response, in seconds since the epoch. `links` lead to what the image has.
    """
    validators = image_validators(image, status).at(now)
    return _answer(facts, policy, json_body(describe(image, status)), validators, caching_of(image, policy), links)


def profile_reply(facts: Facts, policy: Policy, image: Image, body: ProfileBody) -> Reply:
    """Return a profile of an image; the entity-tag is made of the body."""
    return _answer(facts, policy, body.data, Validators(body.etag, None), caching_of(image, policy))


def caching_of(image: Image, policy: Policy) -> Caching:
    """Return how caches may keep the metadata of an image; under leases, those of a private one not at all."""
    return caching.private_metadata() if policy.leases and not image.public else Caching(caching.REVALIDATE)


@attrs.frozen
class HiddenEntry:
    """A private image that the list shows to holders of leases alone."""

    version: str | None
    number: int
    """Its place among the hidden ones."""
    offset: int
    """Where in the list of the others it belongs, in bytes behind the bracket."""
    body: bytes = attrs.field(repr=False)


@attrs.frozen
class Listing:
    """The array of images as JSON, its entity-tag, and the images that it hides, by their ids."""

    body: bytes
    etag: str
    hidden: Mapping[str, HiddenEntry] = MappingProxyType({})
    shows_private: bool = False


def make_listing(found: Iterable[tuple[Image, BlobStatus]], *, hides_private: bool = False) -> Listing:
    """Encode the array of all images; takes half a second for 50,000: call it off the reactor's thread.

    Images are encoded one by one: one long call of the JSON encoder would block other threads.
    """
    entries: list[bytes] = []
    hidden: dict[str, HiddenEntry] = {}
    offset, shows_private = 0, False
    for image, status in found:
        entry = json_body(describe(image, status)) + b","
        if hides_private and not image.public:
            hidden[image.id] = HiddenEntry(version_of(image, status), len(hidden), offset, entry)
        else:
            entries.append(entry)
            offset += len(entry)
            shows_private = shows_private or not image.public
    return _listing(entries, hidden, shows_private=shows_private)


def with_hidden(listing: Listing, shown: Collection[HiddenEntry]) -> Listing:
    """Return the list with some of its hidden images, each in its place; call it off the reactor's thread, too."""
    others = memoryview(listing.body[1:-1] + b"," if len(listing.body) > len(b"[]") else b"")
    parts: list[bytes | memoryview] = []
    done = 0
    for entry in sorted(shown, key=lambda one: one.number):
        parts += (others[done : entry.offset], entry.body)
        done = entry.offset
    return _listing([*parts, others[done:]], shows_private=bool(shown))


def _listing(
    entries: Iterable[bytes | memoryview],
    hidden: Mapping[str, HiddenEntry] = MappingProxyType({}),
    *,
    shows_private: bool = False,
) -> Listing:
    """Return the array of entries, each with a comma behind it."""
    body = b"[" + b"".join(entries)[:-1] + b"]"
    return Listing(body, f'"images-{hashlib.sha256(body).hexdigest()[:_TAG_DIGITS]}"', hidden, shows_private)


def list_reply(facts: Facts, policy: Policy, listing: Listing) -> Reply:
    """Return the array of all images; the entity-tag is a digest of it."""
    return _answer(facts, policy, listing.body, Validators(listing.etag, None), _listing_caching(listing, policy))


def extents_reply(facts: Facts, policy: Policy, image: Image, body: Body) -> Reply:
    """Return the extents of an image; under the URL of a version they may be kept as its bytes may (http.md §14)."""
    is_moving = facts.names.version is None
    kept = caching_of(image, policy) if is_moving else version_caching(facts, policy, image)
    return _answer(facts, policy, body.data, Validators(body.etag, None), kept)


def invalid_name_reply(facts: Facts, policy: Policy) -> Reply:
    """Return the error for an invalid id or version (http.md §1)."""
    if "image_id" in facts.names.broken:
        return error(facts, policy, 400, reason=RefusalReason.ID, text=f"invalid image id: it {NAME_RULE}")
    return error(facts, policy, 404, reason=RefusalReason.ID)


def _listing_caching(listing: Listing, policy: Policy) -> Caching:
    """Return how caches may keep the list: under leases it hangs on what is presented, whichever images it shows."""
    if policy.leases and listing.shows_private:
        return caching.private_metadata()
    return Caching(caching.REVALIDATE, by_credentials=policy.leases)


def _answer(  # noqa: PLR0913, PLR0917 - parts of a response
    facts: Facts, policy: Policy, body: bytes, validators: Validators, kept: Caching, more: Headers = ()
) -> Reply:
    headers = (*kept.headers, *validator_headers(validators), ("Content-Type", "application/json"), *more)
    unmet = precondition_reply(facts, policy, validators, headers)
    return unmet or Reply(200, response_headers(facts, policy, headers), body)
