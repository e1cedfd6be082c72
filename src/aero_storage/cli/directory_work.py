"""The work of a command on an image in a directory: imported files and chunks, placed by renames.

Removals are planned before the catalog is changed; after a crash the next command goes on with them.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

import attrs
from typing_extensions import Buffer, override

from aero_storage.atomic_files import IMAGES_ROOT, Directory
from aero_storage.catalog.content_digest import stamps_of
from aero_storage.catalog.model import Image, chunked_directory
from aero_storage.chunks.manifest import ChunkManifest
from aero_storage.chunks.publish.adoption import adopt
from aero_storage.chunks.publish.cutting import Advance
from aero_storage.chunks.publish.publisher import publish
from aero_storage.chunks.verify.source import ChunkSource
from aero_storage.cli.foreign_files import refuse_foreign_files
from aero_storage.cli.foresight import foresee_publish, foretell_space
from aero_storage.cli.image_digests import content_digest
from aero_storage.cli.image_files import IMPORTED, image_path, is_imported, settle
from aero_storage.cli.received import Received
from aero_storage.cli.removals import NamedBy, Removal
from aero_storage.cli.repository import Freed, Placed, PublishedVersion, Say, Work
from aero_storage.cli.sources.target import WorkFile, pour_all
from aero_storage.cli.workplace import Workplace

_RECEIVED = "received.raw"
"""The name, in the staging directory, of what comes from another images root."""


@attrs.frozen
class DirectoryWork(Work):
    """Work in the open images root, at a place of the image `image_id` alone."""

    image_id: str
    _place: Workplace
    _say: Say

    @property
    @override
    def staging(self) -> Directory:
        return self._place.staging

    @property
    @override
    def staging_disk(self) -> str:
        return IMAGES_ROOT

    @override
    def foretell_staging(self, most: int, say: Say) -> None:
        foretell_space(self.staging, most, self.staging_disk, say)

    @property
    @override
    def send(self) -> None:
        return None

    @override
    def foresee_publish(self, image: Image, say: Say) -> None:
        foresee_publish(self._place, image_path(self._place.root.path, image).stat(), say)

    @contextmanager
    @override
    def placed(self, staged: str, sha256: str | None) -> Iterator[Placed]:
        digest = None if sha256 is None else content_digest(self.staging, staged, sha256)
        used = self.staging.disk_usage(staged)
        yield Placed(self._moved(staged), digest, used)

    @contextmanager
    @override
    def received(self, contents: Iterable[Buffer], size: int, sha256: str | None) -> Iterator[Placed]:
        found = Received(contents, size, sha256)
        pour_all(found, WorkFile.create(self.staging, _RECEIVED))
        with self.placed(_RECEIVED, found.require()) as placed:
            yield placed

    def _moved(self, staged: str) -> str:
        """Move a staged file to the first free name, which is returned; its removal is planned before."""
        root, name = self._place.root, self._free_name()
        file = f"{IMPORTED}/{self.image_id}/{name}"
        self._plan(self._place.plan.file(file, self.staging.status(staged)))
        with root.below(IMPORTED, self.image_id, create=True) as directory:
            self.staging.move(staged, directory, name)
            directory.sync()
        with root.below(IMPORTED) as above:
            above.sync()
        root.sync()
        return file

    def _free_name(self) -> str:
        with suppress(FileNotFoundError), self._place.root.below(IMPORTED, self.image_id) as directory:
            return next(free for n in itertools.count(1) if directory.status(free := f"{n}.img") is None)
        return "1.img"

    def _plan(self, removal: Removal | None) -> bool:
        if removal is not None:
            self._place.plan.add(removal)
        return removal is not None

    @override
    def condemn(self, file: str, *, own: bool = False) -> bool:
        is_ours = own or is_imported(self._place.root.path, self.image_id, file)
        return is_ours and self._plan(self._place.plan.file(file))

    @override
    def condemn_chunks(self, *, keeps_image: bool) -> None:
        refuse_foreign_files(self._place.root, self.image_id)
        self._plan(self._place.plan.chunks(NamedBy.CHUNKS if keeps_image else NamedBy.IMAGE))
        if not keeps_image:
            self._plan(self._place.plan.profiles())

    @override
    def settle(self) -> None:
        settle(self._say)

    @override
    def carry_out(self) -> Freed:
        return Freed(self._place.plan.carry_out())

    @override
    def publish(
        self,
        image: Image,
        *,
        chunk_size: int,
        version: str | None,
        jobs: int,
        advance: Advance,
        digested: bool,
    ) -> PublishedVersion:
        root = self._place.root.path
        made = publish(
            root=root,
            source=root / image_path(root, image).relative_to(os.path.realpath(root)),
            image_id=image.id,
            directory=root / chunked_directory(image.id, None),
            chunk_size=chunk_size,
            version=version,
            jobs=jobs,
            advance=advance,
            say=self._say,
            digested=digested,
            placing=self._planned,
            known=lambda status: image.known_sha256(stamps_of(status)),
        )
        return PublishedVersion(made.version, made.manifest, str(made.directory), made.already_there, made.digest)

    @override
    def adopt(self, manifest: ChunkManifest, source: ChunkSource, *, jobs: int, advance: Advance) -> bool:
        root = self._place.root.path
        directory = root / chunked_directory(self.image_id, None)
        return adopt(root, directory, manifest, source, jobs=jobs, advance=advance)

    def _planned(self, version: str, status: os.stat_result) -> None:
        path = str(chunked_directory(self.image_id, version))
        self._plan(Removal.of(path, NamedBy.VERSION, status))
