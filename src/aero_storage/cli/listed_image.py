"""One image as `list` and `catalog check` see it: its file, its chunks, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from aero_storage.catalog.model import Image
from aero_storage.chunks.manifest import check_geometry
from aero_storage.chunks.manifest_parser import parse_chunk_manifest
from aero_storage.cli.image_warnings import image_warnings
from aero_storage.cli.repository import Repository
from aero_storage.errors import ChunkFormatError, OperatorError
from aero_storage.settings import Settings


@attrs.frozen
class ListedImage:
    """The files of one catalog entry; sizes in bytes, None without a raw file."""

    image: Image
    size: int | None
    disk_usage: int | None
    chunks: str | None
    """How its chunks are served: `published`, `virtual`, or None."""
    sha256: str | None
    """The digest of its file, where it is known."""
    version: str | None
    """That of its file, None where it has none (http.md §13)."""
    problems: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def inspect(repository: Repository, settings: Settings, image: Image) -> ListedImage:
    """Inspect the file and the chunk manifest of an image, as a daemon with these settings does."""
    size = used = sha256 = version = None
    problems: list[str] = []
    warnings: list[str] = []
    try:
        stored = repository.stored(image)
        size, used, sha256 = stored.size, stored.disk_usage, image.known_sha256(stored.stamps)
        version = image.version(stored.size, stored.etag, stored.stamps)
        warnings += image_warnings(image, stored, settings, sampled=repository.needs_sample(image, stored))
    except OperatorError as error:
        problems.append(str(error).removeprefix(f"{image.id}: "))
    except OSError as error:
        problems.append(f"{image.file} cannot be read: {error.strerror}")
    if image.public and image.private_cache is not None:
        warnings.append("its key private_cache has no effect, as the image is public")
    chunk_manifest = _ChunkManifest.read(repository, image)
    published = chunk_manifest is not None
    if published and size is None and not repository.has_file(image.file):
        problems.clear()  # chunks need no raw file
    virtual = not published and image.has_virtual_chunks(by_setting=settings.virtual_chunks)
    if chunk_manifest is not None:
        problems += _published_problems(image, chunk_manifest, size, settings)
    elif image.chunked_version is not None:
        problems.append(f"there are no chunks of its chunked_version {image.chunked_version}: publish it again")
    if virtual and size is not None:
        problems += _virtual_problems(image, size, settings)
    chunks = "published" if published else "virtual" if virtual else None
    return ListedImage(image, size, used, chunks, sha256, version, tuple(problems), tuple(warnings))


@attrs.frozen
class _ChunkManifest:
    """A chunk manifest as stored, or the error of reading it."""

    data: bytes
    error: OSError | None = None

    @classmethod
    def read(cls, repository: Repository, image: Image) -> _ChunkManifest | None:
        try:
            data = repository.chunk_manifest(image)
        except OSError as error:
            return cls(b"", error)
        return None if data is None else cls(data)


def _published_problems(image: Image, found: _ChunkManifest, size: int | None, settings: Settings) -> Iterator[str]:
    if found.error is not None:
        yield f"its chunk manifest cannot be read: {found.error.strerror}"
        return
    try:
        manifest = parse_chunk_manifest(found.data)
    except ChunkFormatError as error:
        yield f"its chunk manifest is invalid: {error}"
        return
    if manifest.image_id != image.id:
        yield f"its chunk manifest is one of the image {manifest.image_id}"
    if size is not None and manifest.total_size != size:
        yield f"its chunks are of {manifest.total_size} bytes, its file has {size}: publish it again"
    yield from _oversized(manifest.chunk_length(0), settings)


def _virtual_problems(image: Image, size: int, settings: Settings) -> Iterator[str]:
    chunk_size = image.virtual_chunk_size(settings.virtual_chunk_bytes)
    try:
        check_geometry(size, chunk_size)
    except ChunkFormatError as error:
        yield f"it cannot be served in virtual chunks: {error}"
        return
    yield from _oversized(min(chunk_size, size), settings)


def _oversized(largest: int, settings: Settings) -> Iterator[str]:
    if largest > settings.max_chunk_bytes:
        yield f"its chunks of {largest} bytes are over max_chunk_bytes, {settings.max_chunk_bytes}: each is a 413"
