"""Digests of the operator's files: of an import's source and result, and of an image that the catalog names."""

from __future__ import annotations

import os
from collections.abc import Iterator

import attrs

from aero_storage.atomic_files import Directory
from aero_storage.catalog.content_digest import ContentDigest, disagreement
from aero_storage.catalog.model import MANIFEST_NAME, Image
from aero_storage.chunks.file_digest import hash_file
from aero_storage.cli.disk_images.convert import ImportSource
from aero_storage.cli.progress import progress
from aero_storage.cli.repository import Repository
from aero_storage.cli.stored_image import ImageSample
from aero_storage.errors import OperatorError
from aero_storage.http.dates import NANOSECONDS


def source_sha256(source: ImportSource) -> str | None:
    """Return the SHA-256 of the file that is to be imported; None for a disk in several files."""
    image, stamps = source.candidate.image, source.candidate.stamps
    if image.extents:
        return None
    stamps.require_same()
    with progress(f"Checking {source.path.name}", image.file.size) as advance:
        found = hash_file(image.file.descriptor, image.file.size, advance)
    stamps.require_same()
    return found


def result_sha256(directory: Directory, name: str, task: str) -> str:
    """Return the SHA-256 of a file that was just written to a staging directory."""
    descriptor = directory.open_file(name, os.O_RDONLY)
    try:
        size = os.fstat(descriptor).st_size
        with progress(task, size) as advance:
            return hash_file(descriptor, size, advance)
    finally:
        os.close(descriptor)


def content_digest(directory: Directory, name: str, sha256: str) -> ContentDigest:
    """Return the digest of a file in a staging directory as the catalog records it."""
    status = directory.status(name)
    if status is None:
        raise OperatorError(f"{directory.path / name} is gone; import it again")
    return ContentDigest.of(sha256, status)


@attrs.frozen
class ImageReport:
    """The result of checking an image against the digest that the catalog records."""

    name: str
    """Path or URL of the image."""
    expected: str
    found: str
    size: int

    @property
    def is_good(self) -> bool:
        """Whether the image is what was recorded."""
        return self.found == self.expected


def why_unchecked(repository: Repository, image: Image) -> str | None:
    """Return why an image cannot be checked against a recorded digest, None if it can be."""
    if image.sha256 is None:
        return f"no SHA-256 of the image is recorded (aero-storage publish {image.id} records one)"
    try:
        stamps = repository.stored(image).stamps
    except OperatorError as error:
        return f"the image was not checked: {error}"
    if image.has_outdated_sha256(stamps):
        return f"the image was not checked: {disagreement(image.sha256_of or '', stamps)}"
    return None


def check_image(repository: Repository, image: Image) -> ImageReport:
    """Read an image once, and compare its SHA-256 with the recorded one. Raises OperatorError if it changes."""
    stored = repository.stored(image)
    size, found = stored.sha256(lambda total: progress(f"Verifying {stored.name}", total))
    return ImageReport(stored.name, image.sha256 or "", found, size)


def digest_warnings(image: Image, found: ImageSample) -> Iterator[str]:
    """Yield a warning if its digest does not count, and if nothing but ctime and inode tell it from another file."""
    if image.has_outdated_sha256(found.stamps):
        yield f"{disagreement(image.sha256_of or '', found.stamps)}; aero-storage publish {image.id} records it anew"
    has_tag = image.etag is not None or image.known_sha256(found.stamps) is not None
    if not has_tag and found.constant_mtime_ns is not None:
        yield (
            f"the mtime of {image.file} ({found.constant_mtime_ns // NANOSECONDS} s after the epoch) is a constant, "
            "as build systems set it: the tag comes from ctime and inode, and differs on every replica; give it an "
            f"etag or a sha256 in {MANIFEST_NAME} (aero-storage publish {image.id} or a new aero-storage import "
            "records one, sha256sum computes one)"
        )
