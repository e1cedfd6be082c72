"""Virtual chunks: an image in the chunked form, cut from its raw file on request, with no second copy."""

from __future__ import annotations

import attrs

from aero_storage.catalog.model import Image
from aero_storage.chunks.manifest import ChunkManifest, check_geometry, is_virtual_version, virtual_version
from aero_storage.delivery.policy import Policy
from aero_storage.delivery.representation import image_validators
from aero_storage.errors import BlobNotFoundError, ChunkFormatError
from aero_storage.logs.json_log import EventLog
from aero_storage.storage.blob import BlobStatus


@attrs.define(eq=False)
class VirtualChunks:
    """Says which images may be cut, and how; what stands in the way of one is logged once."""

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
    tag = image_validators(image, status.validators).etag
    return status.validators.etag if tag.startswith("W/") else tag
