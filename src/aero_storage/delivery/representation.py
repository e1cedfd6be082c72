"""What is behind a URL of the data plane: the bytes of an image, a chunk manifest, a chunk (http.md §5 and §6)."""

from __future__ import annotations

import hashlib
from functools import lru_cache

import attrs

from aero_storage.catalog.model import Image
from aero_storage.chunks.manifest import ChunkManifest
from aero_storage.delivery.facts import Facts
from aero_storage.delivery.policy import Policy
from aero_storage.delivery.routes import Resource
from aero_storage.errors import BlobNotFoundError
from aero_storage.http import caching
from aero_storage.http.conditional import Validators

OCTETS = "application/octet-stream"
"""Media type of images and chunk objects."""

_JSON = "application/json"
_TAG_DIGITS = 32


@attrs.frozen(cache_hash=True)
class Representation:
    """A size in bytes, validators, and how it may be sent."""

    size: int
    validators: Validators
    cache_control: str
    content_type: str = OCTETS
    ranges: bool = True
    """Whether `Range` is honoured."""
    max_bytes: int | None = None
    """Largest size that is sent at all; None for any."""
    offset: int = 0
    """Where in the open file it begins."""
    body: bytes | None = None
    """All of it, where it is made and not read from the file."""
    shown_date: int | None = None
    """`Last-Modified` in nanoseconds since the epoch, where it is told but must not validate anything."""


def image_validators(image: Image, found: Validators) -> Validators:
    """The validators of an image: what its catalog entry says, else what its file says (http.md §3)."""
    return Validators(
        image.etag or found.etag,
        found.last_modified if image.last_modified is None else image.last_modified,
    )


def image_representation(facts: Facts, policy: Policy, image: Image, size: int, found: Validators) -> Representation:
    """The bytes of an image; `size` and `found` are those of its open file."""
    public = caching.publicly_cacheable(public_image=image.public, credentials=facts.credentials)
    return _whole_image(
        image, size, found, caching.image_bytes(public=public, max_age=policy.public_cache_max_age_secs)
    )


@lru_cache(256)
def _whole_image(image: Image, size: int, found: Validators, cache_control: str) -> Representation:
    return Representation(size, image_validators(image, found), cache_control)


def chunk_representation(facts: Facts, policy: Policy, image: Image, size: int, found: Validators) -> Representation:
    """A chunk object or a chunk manifest; `size` and `found` are those of its own file (http.md §6)."""
    moving = facts.names.version is None and image.chunked_version is not None
    cache_control = _chunk_caching(facts, policy, image, moving=moving)
    return _chunked(facts, policy, Representation(size, found, cache_control))


def virtual_representation(
    facts: Facts, policy: Policy, image: Image, cut: ChunkManifest, found: Validators
) -> Representation:
    """A chunk that is a piece of the open image, or `cut`, the manifest of such chunks.

    The tags hang on all that the bytes do. `found` are the validators of the image's file. Raises BlobNotFoundError
    if there is no such version or chunk.
    """
    if facts.names.version not in (None, cut.version):
        raise BlobNotFoundError("the image is no longer of that version")
    date, moving = image_validators(image, found).last_modified, facts.names.version is None
    cache_control = _chunk_caching(facts, policy, image, moving=moving)
    # Under a moving URL the size of chunks may change, and the image's date would know nothing of it.
    valid, shown = (None, date) if moving else (date, None)
    if facts.resource is Resource.CHUNK_MANIFEST:
        body = cut.to_json()
        tag = f'"manifest-{hashlib.sha256(body).hexdigest()[:_TAG_DIGITS]}"'
        made = Representation(len(body), Validators(tag, valid), cache_control, body=body, shown_date=shown)
        return _chunked(facts, policy, made)
    index = cut.index_of(facts.names.chunk_name or "")
    if index is None:
        raise BlobNotFoundError("the image has no such chunk")
    length, offset = cut.chunk_length(index), cut.chunk_offset(index)
    validators = Validators(f'"{cut.version}-{index}"', valid)
    made = Representation(length, validators, cache_control, offset=offset, shown_date=shown)
    return _chunked(facts, policy, made)


def _chunk_caching(facts: Facts, policy: Policy, image: Image, *, moving: bool) -> str:
    """`Cache-Control`; `moving` where the URL may mean another version one day."""
    public = caching.publicly_cacheable(public_image=image.public, credentials=facts.credentials)
    if moving:
        return caching.image_bytes(public=public, max_age=policy.public_cache_max_age_secs)
    return caching.immutable_object(public=public)


def _chunked(facts: Facts, policy: Policy, representation: Representation) -> Representation:
    """What all of chunked delivery has in common: no ranges, a limit for chunks."""
    if facts.resource is Resource.CHUNK:
        return attrs.evolve(representation, ranges=False, max_bytes=policy.max_chunk_bytes)
    return attrs.evolve(representation, ranges=False, content_type=_JSON)
