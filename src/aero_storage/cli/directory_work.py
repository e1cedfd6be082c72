"""The work of a command on an image in a directory: imported files and chunks, placed by renames.

A new file is marked before it is moved into its place, an old one before the catalog names it no more. After a crash
the next command removes the marked files that the catalog does not name.
"""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import PurePath

import attrs
from typing_extensions import override

from aero_storage.atomic_files import Directory
from aero_storage.catalog.directory import DirectoryDocuments
from aero_storage.catalog.model import MANIFEST_NAME, Image, chunked_directory
from aero_storage.chunks.publish.cutting import Advance
from aero_storage.chunks.publish.publisher import publish
from aero_storage.cli.image_digests import content_digest
from aero_storage.cli.image_files import (
    IMPORTED,
    discard,
    image_path,
    mark,
    mark_import,
    remove_unnamed,
    settle,
    unmark,
)
from aero_storage.cli.repository import Placed, PublishedVersion, Say, Work
from aero_storage.errors import CatalogError, OperatorError

_HIDDEN = "chunks"


@attrs.frozen
class DirectoryWork(Work):
    """Work in the open images root `root`; `staging` is a directory under it."""

    image_id: str
    root: Directory
    staging: Directory
    _say: Say

    @override
    def require_room(self) -> None:
        place = self.root.path / IMPORTED / self.image_id
        try:
            with suppress(FileNotFoundError), self.root.below(IMPORTED, self.image_id):
                pass
        except NotADirectoryError as error:
            raise OperatorError(f"{place} cannot be made: a file of such a name is in the way; move it") from error
        stale = self.root.path / chunked_directory(self.image_id, None) / MANIFEST_NAME
        if stale.exists():
            raise OperatorError(
                f"{stale} is of older content, and would be served for the new image; "
                f"remove it first: aero-storage remove {self.image_id} --chunks-only"
            )

    @contextmanager
    @override
    def placed(self, staged: str, sha256: str | None) -> Iterator[Placed]:
        digest = None if sha256 is None else content_digest(self.staging, staged, sha256)
        with self._moved(staged) as name:
            yield Placed(f"{IMPORTED}/{self.image_id}/{name}", digest)

    @contextmanager
    def _moved(self, staged: str) -> Iterator[str]:
        """Move a staged file to the first free name; remove it if the with block fails."""
        with self.root.below(IMPORTED, self.image_id, create=True) as directory:
            name = next(free for n in itertools.count(1) if directory.status(free := f"{n}.img") is None)
            mark(directory, name)
            try:
                self.staging.move(staged, directory, name)
                directory.sync()
                with self.root.below(IMPORTED) as above:
                    above.sync()
                self.root.sync()
                yield name
            except BaseException:
                self._take_back(name)
                raise
            unmark(directory, name)

    def _take_back(self, name: str) -> None:
        """Remove the new file, unless the catalog names it already; a mark of the old one does its work likewise."""
        with suppress(CatalogError):
            if DirectoryDocuments(self.root.path).has_manifest():
                remove_unnamed(self.root, self.image_id)
                return
        discard(self.root, self.image_id, name)

    @override
    def condemn(self, file: str) -> bool:
        return mark_import(self.root, self.image_id, file) is not None

    @override
    def settle(self) -> None:
        settle(self._say)

    @override
    def discard(self, file: str) -> int:
        return discard(self.root, self.image_id, PurePath(file).name)

    @override
    def remove_own(self, file: str) -> int:
        return _remove_own(self.root, PurePath(file))

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
        root = self.root.path
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
        )
        return PublishedVersion(made.version, made.manifest, str(made.directory), made.already_there, made.digest)

    @override
    def remove_chunks(self) -> int:
        # After a rename that hides them; of a symbolic link only the link.
        *parents, name = chunked_directory(self.image_id, None).parts
        try:
            with self.root.below(*parents) as directory:
                return _remove_tree(directory, name, self.staging)
        except FileNotFoundError:
            return 0


def _remove_own(root: Directory, file: PurePath) -> int:
    """Remove an operator's file; links on the way to it are followed as the daemon does, of a link only the link."""
    top = os.path.realpath(root.path)
    parent = PurePath(os.path.realpath(root.path / file.parent))
    if not parent.is_relative_to(top):
        raise OperatorError(f"{root.path / file} lies outside the images root by now; it is left as it is")
    with root.below(*parent.relative_to(top).parts) as directory:
        freed = 0 if directory.is_link(file.name) else directory.disk_usage(file.name)
        if not directory.is_directory(file.name):
            directory.unlink(file.name)
    return freed


def _remove_tree(directory: Directory, name: str, staging: Directory) -> int:
    if directory.is_link(name):
        directory.unlink(name)
        return 0
    freed = directory.disk_usage(name)
    try:
        directory.move(name, staging, _HIDDEN)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        directory.remove(name)
    else:
        staging.remove(_HIDDEN)
    return freed
