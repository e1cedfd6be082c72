"""Digests of the operator's files: of an import's source and result, and of an image that the catalog names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import attrs

from aero_storage.atomic_files import Directory
from aero_storage.catalog.content_digest import ContentDigest, disagreement, stamps_of
from aero_storage.catalog.model import MANIFEST_NAME, Image
from aero_storage.chunks.file_digest import hash_file
from aero_storage.cli.disk_images.convert import ImportSource
from aero_storage.cli.image_files import image_path
from aero_storage.cli.progress import progress
from aero_storage.errors import OperatorError
from aero_storage.http.dates import NANOSECONDS, usable_mtime

_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


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

    path: Path
    expected: str
    found: str
    size: int

    @property
    def is_good(self) -> bool:
        """Whether the image is what was recorded."""
        return self.found == self.expected


def why_unchecked(root: Path, image: Image) -> str | None:
    """Return why an image cannot be checked against a recorded digest, None if it can be."""
    if image.sha256 is None:
        return f"no SHA-256 of the image is recorded (aero-storage publish {image.id} records one)"
    try:
        status = image_path(root, image).stat()
    except OperatorError as error:
        return f"the image was not checked: {error}"
    if image.has_outdated_sha256(stamps_of(status)):
        return f"the image was not checked: {disagreement(image.sha256_of or '', stamps_of(status))}"
    return None


def check_image(root: Path, image: Image) -> ImageReport:
    """Read an image once, and compare its SHA-256 with the recorded one. Raises OperatorError if it changes."""
    path = image_path(root, image)
    descriptor = os.open(path, _FLAGS)
    try:
        before = os.fstat(descriptor)
        with progress(f"Verifying {path}", before.st_size) as advance:
            found = hash_file(descriptor, before.st_size, advance)
        after = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if stamps_of(before)[0] != stamps_of(after)[0]:
        raise OperatorError(f"{path} was changed while it was checked; try again when nothing writes to it")
    return ImageReport(path, image.sha256 or "", found, before.st_size)


def digest_warnings(image: Image, status: os.stat_result) -> Iterator[str]:
    """Yield a warning if its digest does not count, and if nothing but ctime and inode tell it from another file."""
    stamps = stamps_of(status)
    if image.has_outdated_sha256(stamps):
        yield f"{disagreement(image.sha256_of or '', stamps)}; aero-storage publish {image.id} records it anew"
    has_tag = image.etag is not None or image.known_sha256(stamps) is not None
    if not has_tag and usable_mtime(status.st_mtime_ns) is None:
        yield (
            f"the mtime of {image.file} ({status.st_mtime_ns // NANOSECONDS} s after the epoch) is a constant, as "
            "build systems set it: the tag comes from ctime and inode, and differs on every replica; give it an etag "
            f"or a sha256 in {MANIFEST_NAME} (aero-storage publish {image.id} or a new aero-storage import records "
            "one, sha256sum computes one)"
        )
