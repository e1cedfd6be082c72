"""The image that a profile is about, as it is stored now: its version, its size, and where its chunks lie."""

from __future__ import annotations

import attrs

from aero_storage.catalog.model import Image
from aero_storage.chunks.manifest import ChunkManifest
from aero_storage.chunks.manifest_parser import parse_chunk_manifest
from aero_storage.cli.options import CommandContext
from aero_storage.cli.repository import Repository
from aero_storage.errors import ChunkFormatError, JsonError, OperatorError
from aero_storage.profiles.document import BootProfile, parse_profile


@attrs.frozen
class ProfileSubject:
    """An image whose version is known."""

    image: Image
    version: str
    size: int


def subject_of(repository: Repository, image: Image) -> ProfileSubject:
    """Look at an image. Raises OperatorError if it has no version, so that no profile can be of it."""
    stored = repository.stored(image)
    version = image.version(stored.size, stored.etag, stored.stamps)
    if version is None:
        raise OperatorError(
            f"{image.id} has no version, as its tag is weak, so no profile can be of it; give its entry a sha256, or "
            "take the weak etag out"
        )
    return ProfileSubject(image, version, stored.size)


def subject(context: CommandContext, image_id: str) -> ProfileSubject:
    """Look at the image of this id. Raises OperatorError."""
    return subject_of(context.repository, context.image(image_id))


def parsed_profile(data: bytes, source: str, size: int) -> BootProfile:
    """Parse a profile of an image of `size` bytes. Raises OperatorError, which names its source."""
    try:
        return parse_profile(data, size)
    except JsonError as error:
        raise OperatorError(f"{source} is no boot profile of the image: {error}") from error


@attrs.frozen
class PublishedPlaces:
    """Where the chunks of the published version that the catalog names lie in the image."""

    _image_id: str
    _version: str | None
    _manifest: ChunkManifest

    @classmethod
    def of(cls, repository: Repository, found: ProfileSubject) -> PublishedPlaces | None:
        """Return where they lie; None if there are none."""
        image, data = found.image, repository.chunk_manifest(found.image)
        if data is None:
            return None
        try:
            manifest = parse_chunk_manifest(data)
        except ChunkFormatError:
            return None
        return cls(image.id, image.chunked_version, manifest) if manifest.total_size == found.size else None

    def place(self, path: str, is_told: bool) -> tuple[int, int] | None:  # noqa: FBT001 - of ChunkPlace
        """Return the first byte and the length of the chunk behind a path.

        Under URLs without a version older chunks were served one day, so the line has to tell the image's version.
        """
        directory, _, name = path.rpartition("/chunks/")
        top = f"/v1/images/{self._image_id}/chunked"
        is_ours = self._version is not None and directory == f"{top}/{self._version}"
        index = self._manifest.index_of(name) if is_ours or (is_told and directory == top) else None
        return None if index is None else (self._manifest.chunk_offset(index), self._manifest.chunk_length(index))
