"""Takes over a version that was published elsewhere: its chunks are checked, and all of it appears by a rename."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import attrs

from aero_storage.atomic_files import Directory, FreeSpace, staging_directory
from aero_storage.chunks.manifest import CHUNKS_DIRECTORY, ChunkManifest
from aero_storage.chunks.parallel import WorkItems, share_out
from aero_storage.chunks.publish.cutting import Advance
from aero_storage.chunks.publish.existing import is_published
from aero_storage.chunks.publish.flushing import flushed
from aero_storage.chunks.publish.publisher import STAGING_NAME, made, write_manifest
from aero_storage.chunks.verify.source import ChunkSource
from aero_storage.errors import OperatorError

_ARTIFACTS = "artifacts"
_FEWEST_AT_ONCE = 4


def adopt(  # noqa: PLR0913 - by name, most of them
    root: Path,
    directory: Path,
    manifest: ChunkManifest,
    source: ChunkSource,
    *,
    jobs: int,
    advance: Advance,
) -> bool:
    """Store a version in `directory`, chunked/<image id> below `root`; False if it is there already.

    Raises OperatorError if a chunk is not what the manifest says, or the version's name is taken by other content.
    """
    if is_published(directory / manifest.version, manifest):
        return False
    with (
        Directory.opened(root) as top,
        made(top, directory) as place,
        staging_directory(place, STAGING_NAME) as staging,
    ):
        with staging.directory.below(_ARTIFACTS, create=True) as work, flushed(work.reachable()):
            with work.below(CHUNKS_DIRECTORY, create=True) as chunks:
                space = FreeSpace.around(chunks.descriptor)
                copier = _Copier(chunks, manifest, source, advance, space)
                share_out(range(manifest.chunk_count), max(jobs, _FEWEST_AT_ONCE), copier.work)
            write_manifest(work, manifest)
        staging.directory.move(_ARTIFACTS, place, manifest.version)
        place.sync()
    return True


@attrs.frozen
class _Copier:
    chunks: Directory
    manifest: ChunkManifest
    source: ChunkSource
    advance: Advance
    space: FreeSpace

    def work(self, share: WorkItems[int]) -> None:
        for index in share:
            self._copy(self.manifest.chunk_name(index), index, share)
            self.advance(self.manifest.chunk_length(index))

    def _copy(self, name: str, index: int, share: WorkItems[int]) -> None:
        digest, size = hashlib.sha256(), 0
        self.space.require(self.manifest.chunk_length(index))
        descriptor = self.chunks.open_file(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        with (
            open(descriptor, "wb") as file,  # noqa: PTH123 - a descriptor
            self.source.chunk(name) as content,
        ):
            for piece in content.pieces:
                share.check()
                digest.update(piece)
                size += file.write(piece)
        expected = self.manifest.digest(index)
        if size != self.manifest.chunk_length(index) or expected not in (None, digest.digest()):
            raise OperatorError(f"{name} is not what {self.source.name} says: it was changed, or is damaged")
