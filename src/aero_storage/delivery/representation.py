"""Representations of the data plane: the bytes of an image, a chunk manifest, a chunk (http.md §5 and §6)."""

from __future__ import annotations

import hashlib
from functools import lru_cache

import attrs

from aero_storage.catalog.model import Image
from aero_storage.chunks.manifest import ChunkManifest, check_geometry, is_virtual_version, virtual_version
from aero_storage.delivery.facts import Facts
from aero_storage.delivery.policy import Policy
from aero_storage.delivery.routes import Resource
from aero_storage.errors import BlobNotFoundError, ChunkFormatError, OtherVersionError
from aero_storage.http import caching
from aero_storage.http.caching import Caching
from aero_storage.http.conditional import Validators
from aero_storage.http.cors import LINK, Headers
from aero_storage.http.digests import digest_etag
from aero_storage.logs.json_log import EventLog
from aero_storage.storage.blob import BlobStatus

OCTETS = "application/octet-stream"
"""Media type of images and chunk objects."""

_JSON = "application/json"
_TAG_DIGITS = 32


@attrs.frozen(cache_hash=True)
class Representation:
    """A size in bytes, validators, and how it may be sent."""

    size: int
    validators: Validators
    caching: Caching
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
    sha256: str | None = None
    """The digest of all of it, in hex, where it is known."""
    version: str | None = None
    """The version of the image that its bytes are of, where it has one (http.md §13)."""

    links: Headers = ()
    """`Link` to the boot profile of the image, if there is one (http.md §15)."""

    @property
    def shown_validators(self) -> Validators:
        """The validators as the headers tell them."""
        if self.shown_date is None:
            return self.validators
        return Validators(self.validators.etag, self.shown_date)


def image_links(image_id: str, *, profile: bool = False, chunks: bool = False) -> Headers:
    """Return the header that says where the boot profile and the chunk manifest of an image are, if there are."""
    found = (("profile", "profile", profile), ("chunked/manifest.json", "chunks", chunks))
    links = [
        f'</v1/images/{image_id}/{path}>; rel="urn:aero-storage:{name}"' for path, name, is_there in found if is_there
    ]
    return ((LINK, ", ".join(links)),) if links else ()


def image_validators(image: Image, status: BlobStatus) -> Validators:
    """The validators of an image whose file has this status (http.md §3).

    Those of its catalog entry, else the tag from its digest, else those of its file.
    """
    found = status.validators
    return Validators(
        image.etag or _tag_by_content(image, status),
        found.last_modified if image.last_modified is None else image.last_modified,
    )


def known_sha256(image: Image, status: BlobStatus) -> str | None:
    """The digest of an image whose file has this status, where it is known (http.md §16)."""
    return None if image.sha256 is None else image.known_sha256(status.stamps)


def _tag_by_content(image: Image, status: BlobStatus) -> str:
    """The strong tag of an image without one in the catalog."""
    sha256 = known_sha256(image, status)
    return status.validators.etag if sha256 is None else digest_etag(sha256)


def version_of(image: Image, status: BlobStatus) -> str | None:
    """The version of an image whose file has this status (http.md §13); None if it has none."""
    return image.version(status.size, status.validators.etag, status.stamps)


def image_representation(facts: Facts, policy: Policy, image: Image, status: BlobStatus) -> Representation:
    """The bytes of an image whose open file has this status. Raises OtherVersionError if others are asked for.

    The file that the bytes come from is compared, so none of another version is ever sent.
    """
    wanted = facts.names.version
    whole = _whole_image(image, status, _caching(facts, policy, image, moving=wanted is None))
    if wanted not in (None, whole.version):
        raise OtherVersionError(f"{image.id}: not of that version")
    return whole


@lru_cache(256)
def _whole_image(image: Image, status: BlobStatus, kept: Caching) -> Representation:
    validators, version = image_validators(image, status), version_of(image, status)
    return Representation(status.size, validators, kept, sha256=known_sha256(image, status), version=version)


def chunk_representation(  # noqa: PLR0913, PLR0917 - a file, and who asks for it
    facts: Facts, policy: Policy, image: Image, size: int, found: Validators, sha256: str | None = None
) -> Representation:
    """A chunk object or a chunk manifest; `size`, `found` and `sha256` are those of its own file (http.md §6)."""
    moving = facts.names.version is None and image.chunked_version is not None
    kept = _caching(facts, policy, image, moving=moving)
    return _chunked(facts, policy, Representation(size, found, kept, sha256=sha256))


def virtual_representation(
    facts: Facts, policy: Policy, image: Image, cut: ChunkManifest, status: BlobStatus
) -> Representation:
    """A chunk that is a piece of the open image, or `cut`, the manifest of such chunks.

    The tags hang on all that the bytes do. `status` is that of the image's file. Raises BlobNotFoundError if there is
    no such version or chunk.
    """
    if facts.names.version not in (None, cut.version):
        raise OtherVersionError(f"{image.id}: not of that version")
    date, moving = image_validators(image, status).last_modified, facts.names.version is None
    kept = _caching(facts, policy, image, moving=moving)
    # Under a moving URL the size of chunks may change, and the image's date would know nothing of it.
    valid, shown = (None, date) if moving else (date, None)
    if facts.resource is Resource.CHUNK_MANIFEST:
        body = cut.to_json()
        tag = f'"manifest-{hashlib.sha256(body).hexdigest()[:_TAG_DIGITS]}"'
        made = Representation(len(body), Validators(tag, valid), kept, body=body, shown_date=shown)
        return _chunked(facts, policy, made)
    index = cut.index_of(facts.names.chunk_name or "")
    if index is None:
        raise BlobNotFoundError("the image has no such chunk")
    length, offset = cut.chunk_length(index), cut.chunk_offset(index)
    validators = Validators(f'"{cut.version}-{index}"', valid)
    version = version_of(image, status)
    made = Representation(length, validators, kept, offset=offset, shown_date=shown, version=version)
    return _chunked(facts, policy, made)


def version_caching(facts: Facts, policy: Policy, image: Image) -> Caching:
    """How an answer under the URL of a version may be kept, which never changes."""
    return _caching(facts, policy, image, moving=False)


def _caching(facts: Facts, policy: Policy, image: Image, *, moving: bool) -> Caching:
    """How it may be kept; `moving` where the URL may mean another version one day."""
    if image.public:
        max_age = policy.public_cache_max_age_secs if moving else None
        return caching.public_bytes(max_age=max_age, credentials=facts.credentials)
    never_changes = not moving and facts.resource is not Resource.CHUNK_MANIFEST
    return caching.private_bytes(kept_by_browser=never_changes and image.kept_by_browsers, leases=policy.leases)


def _chunked(facts: Facts, policy: Policy, representation: Representation) -> Representation:
    """A representation of chunked delivery: no ranges, a limit for chunks."""
    if facts.resource is Resource.CHUNK:
        return attrs.evolve(representation, ranges=False, max_bytes=policy.max_chunk_bytes)
    return attrs.evolve(representation, ranges=False, content_type=_JSON)


@attrs.define(eq=False)
class VirtualChunks:
    """Cuts an image into chunks on request, from its raw file, with no second copy.

    Says which images may be cut, and how; logs once why an image cannot be cut.
    """

    _policy: Policy
    _log: EventLog
    _told: dict[str, str] = attrs.field(init=False, factory=dict)

    def may_serve(self, image: Image, version: str | None) -> bool:
        """Whether an image may be served in virtual chunks under URLs of that version, or of none."""
        wanted = image.has_virtual_chunks(by_setting=self._policy.virtual_chunks)
        return wanted and (version is None or is_virtual_version(version))

    def cut(self, image: Image, status: BlobStatus) -> ChunkManifest:
        """The manifest of an image whose file has this status.

        Its version hangs on size, chunk size and a strong validator, so that it is the same on every replica. Raises
        BlobNotFoundError if the image cannot be cut by the rules of the format.
        """
        chunk_size = image.virtual_chunk_size(self._policy.virtual_chunk_bytes)
        try:
            check_geometry(status.size, chunk_size)
        except ChunkFormatError as error:
            self._tell(image, str(error))
            raise BlobNotFoundError(image.id) from error
        if min(chunk_size, status.size) > self._policy.max_chunk_bytes:
            self._tell(image, f"chunks of {chunk_size} bytes are over --max-chunk-bytes, so each is a 413")
        return ChunkManifest(
            image_id=image.id,
            version=virtual_version(status.size, chunk_size, _strong_tag(image, status)),
            total_size=status.size,
            chunk_size=chunk_size,
        )

    def _tell(self, image: Image, reason: str) -> None:
        if self._told.get(image.id) != reason:
            self._told[image.id] = reason
            self._log.event("warn", "image unfit for virtual chunks", {"image_id": image.id, "reason": reason})


def _strong_tag(image: Image, status: BlobStatus) -> str:
    tag = image_validators(image, status).etag
    return _tag_by_content(image, status) if tag.startswith("W/") else tag
