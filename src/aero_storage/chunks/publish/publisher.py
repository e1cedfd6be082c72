"""Publishes an image in chunks: a version becomes visible, by a rename, only when all of it is on disk."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path

import attrs

from aero_storage.atomic_files import Directory, StagingDirectory, staging_directory
from aero_storage.catalog.content_digest import ContentDigest
from aero_storage.catalog.model import MANIFEST_NAME
from aero_storage.chunks.file_digest import Slower, hashing
from aero_storage.chunks.manifest import (
    ChunkManifest,
    check_geometry,
    content_version,
    is_content_version,
    is_virtual_version,
)
from aero_storage.chunks.publish.cutting import Advance, cut
from aero_storage.chunks.publish.existing import is_published, require_room
from aero_storage.chunks.publish.flushing import flushed
from aero_storage.chunks.zero_chunks import zeros_by_digest
from aero_storage.errors import OperatorError
from aero_storage.http.identifiers import NAME_RULE, is_version
from aero_storage.sizes import format_size

STAGING_NAME = ".publishing~"
"""Name of the staging directory, beside the versions. No version's name contains `~`, so no URL leads there."""

Placing = Callable[[str, os.stat_result], None]
"""Is told of a version and its directory before that gets the version's name."""

Known = Callable[[os.stat_result], str | None]
"""Returns the SHA-256 of the whole image, in hex, if it is known of the file that has this status."""

_ARTIFACTS = "artifacts"


@attrs.frozen
class Published:
    """A published version."""

    version: str
    manifest: ChunkManifest
    directory: Path
    """The directory of its manifest and its chunks."""
    already_there: bool
    """Whether it was published before; then nothing was changed."""
    digest: ContentDigest | None = None
    """Of the whole image, if it was asked for."""


@attrs.frozen
class _Image:
    """An open image and its status at the start."""

    path: Path
    descriptor: int
    status: os.stat_result

    def require_unchanged(self) -> None:
        """Raise OperatorError if the image was written to or replaced."""
        if not (self._is_as_it_was(os.fstat(self.descriptor)) and self._is_in_place()):
            raise OperatorError(f"{self.path} was changed while it was cut; try again when nothing writes to it")

    def _is_as_it_was(self, now: os.stat_result) -> bool:
        return (now.st_size, now.st_mtime_ns) == (self.status.st_size, self.status.st_mtime_ns)

    def _is_in_place(self) -> bool:
        return self.path.exists() and os.path.samestat(self.path.stat(), self.status)


@attrs.frozen
class _Publication:
    """A publication to be made. `draft` has no digests yet, and no version if that is made from them.

    `digested` is whether the whole image is digested as well; `placing` is told before a version appears; `known` may
    have the digest already.
    """

    image: _Image
    draft: ChunkManifest
    directory: Directory
    jobs: int
    advance: Advance
    digested: bool
    placing: Placing
    known: Known

    def carry_out(self, staging: Directory) -> Published:
        progress = Slower(self.advance)
        with self._hashing(progress.second) as sha256:
            made = self._prepare(staging, sha256, self.advance if sha256 is None else progress.first)
            digest = None if sha256 is None else ContentDigest.of(sha256.result(), self.image.status)
        self.image.require_unchanged()
        if not made.already_there:
            self._announce(staging, made.version)
            staging.move(_ARTIFACTS, self.directory, made.version)
        self.directory.sync()  # in either case: an earlier run may have been killed before this step
        return attrs.evolve(made, digest=digest)

    def _announce(self, staging: Directory, version: str) -> None:
        status = staging.status(_ARTIFACTS)
        assert status is not None  # noqa: S101 - just made
        self.placing(version, status)

    def _hashing(self, advance: Advance) -> AbstractContextManager[Future[str] | None]:
        """Compute the digest of the whole image beside the chunks: its bytes are read from the disk only once."""
        image = self.image
        return hashing(image.descriptor, image.status.st_size, advance) if self.digested else nullcontext()

    def _prepare(self, staging: Directory, sha256: Future[str] | None, advance: Advance) -> Published:
        """Cut the image; if the version is not published already, all of it is in the staging directory then."""
        with staging.below(_ARTIFACTS, create=True) as work, flushed(work.reachable()):
            digests = cut(self.image.descriptor, self.draft, work.reachable(), jobs=self.jobs, advance=advance)
            self.image.require_unchanged()
            manifest = _complete(self.draft, digests)
            place = self.directory.path / manifest.version
            already_there = is_published(place, manifest)
            if not already_there:
                whole = self.known(self.image.status) if sha256 is None else sha256.result()
                write_manifest(work, attrs.evolve(manifest, image_sha256=whole))
        return Published(manifest.version, manifest, place, already_there)


def _nobody_listens(_version: str, _status: os.stat_result) -> None:
    pass


def _unknown(_status: os.stat_result) -> None:
    return None


def publish(  # noqa: PLR0913 - by name only
    *,
    root: Path,
    source: Path,
    image_id: str,
    directory: Path,
    chunk_size: int,
    version: str | None,
    jobs: int,
    advance: Advance,
    say: Callable[[str], None],
    digested: bool = False,
    placing: Placing = _nobody_listens,
    known: Known = _unknown,
) -> Published:
    """Cut the image `source` into `directory`/<version>; `directory` is <root>/chunked/<image_id>.

    Both lie below `root`. No symbolic link is followed on the way from there: others may exchange what lies there.
    Without `version` the name is made from the content. `jobs` is the number of cores to use; `advance` counts the
    image's bytes, including holes; `say` reports leftovers of an interrupted run. With `digested` the SHA-256 of the
    whole image is computed beside the chunks; `known` may have it already, for the manifest. `placing` is told of a
    new version before it becomes visible. After an exception the directory is as before, without the unfinished work.
    Raises ChunkFormatError if the image cannot be cut so, OperatorError if it changes meanwhile or the version's name
    is taken by other content, BusyError, OSError.
    """
    if version is not None:
        _require_name(version)
    with Directory.opened(root) as top, _opened(top, source) as image:
        check_geometry(image.status.st_size, chunk_size)
        draft = ChunkManifest(
            image_id=image_id, version=version or "", total_size=image.status.st_size, chunk_size=chunk_size
        )
        with made(top, directory) as place, staging_directory(place, STAGING_NAME) as staging:
            _report_leftover(staging, say)
            if version is not None:
                require_room(directory / version, draft)
            return _Publication(image, draft, place, jobs, advance, digested, placing, known).carry_out(
                staging.directory
            )


def _require_name(version: str) -> None:
    if not is_version(version):
        raise OperatorError(f"the version {version!r} cannot be in a URL: it {NAME_RULE} or 'chunks'")
    if is_virtual_version(version):
        raise OperatorError(f"{version} is a name for chunks that are cut on request; choose another version name")


@contextmanager
def _opened(root: Directory, path: Path) -> Iterator[_Image]:
    *parents, name = path.relative_to(root.path).parts or (".",)
    with root.below(*parents) as directory:
        descriptor = directory.open_file(name, os.O_RDONLY)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OperatorError(f"{path} is no regular file, so it cannot be published")
        yield _Image(path, descriptor, status)
    finally:
        os.close(descriptor)


@contextmanager
def made(root: Directory, path: Path) -> Iterator[Directory]:
    """Open a directory, which is made if it is missing; if the block fails, it is removed if it is empty."""
    *parents, name = path.relative_to(root.path).parts
    with root.below(*parents, create=True) as parent:
        try:
            with parent.below(name, create=True) as directory:
                yield directory
        except BaseException:
            with suppress(OSError):  # it has versions, or another process works there
                parent.remove_directory(name)
            raise


def _report_leftover(staging: StagingDirectory, say: Callable[[str], None]) -> None:
    if staging.leftover is not None:
        say(f"An interrupted run had left {format_size(staging.leftover)} in {staging.path}; that is removed.")


def _complete(draft: ChunkManifest, digests: bytes) -> ChunkManifest:
    version = content_version(draft.total_size, draft.chunk_size, digests)
    if is_content_version(draft.version) and draft.version != version:
        raise OperatorError(f"the content is not that of {draft.version}; its own version is {version}")
    zeros = zeros_by_digest(digests, draft)
    return attrs.evolve(draft, digests=digests, version=draft.version or version, zeros=zeros)


def write_manifest(directory: Directory, manifest: ChunkManifest) -> None:
    """Write the manifest of a version into its directory."""
    descriptor = directory.open_file(MANIFEST_NAME, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor
        file.writelines(manifest.pieces())
