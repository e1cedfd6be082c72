"""Changes the `manifest.json` of a directory atomically and under a lock."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from aero_storage.atomic_files import Directory, Replaceable, Waiting, locked, replaceable
from aero_storage.catalog.directory import DirectoryDocuments, read_manifest_file
from aero_storage.catalog.draft import Draft
from aero_storage.catalog.model import MANIFEST_NAME, chunked_directory
from aero_storage.catalog.reader import load_manifest, parse_named
from aero_storage.errors import BusyError
from aero_storage.http.identifiers import is_image_id

LOCK = ".aero-storage.lock"
"""The lock file of the catalog, in the images root."""

UNFINISHED = f".{MANIFEST_NAME}~"
"""A new catalog that a killed command has left unfinished, in the images root."""

_AT_ONCE = Waiting(timeout=0.0)
_WAITING = Waiting()


@contextmanager
def editing(root: Path, *, listing: bool, waiting: Waiting = _WAITING) -> Iterator[Draft]:
    """Edit the catalog of an images root: after the with block the draft replaces the file.

    Other editors wait. With `listing`, a new catalog starts with the images of the directory listing. Raises
    CatalogError if the file is invalid, or would become so; BusyError if another editor takes too long; OperatorError
    if the lock file, or a link in place of the catalog, is a foreign user's. An exception leaves the file unchanged.
    """
    documents = DirectoryDocuments(root)
    with locked(root / LOCK, waiting), replaceable(documents.path) as file:
        draft = _read(documents, file, listing=listing)
        before = json.dumps(draft.entries)
        yield draft
        if json.dumps(draft.entries) != before or not documents.has_manifest():
            file.replace(draft.to_bytes())


def require_editable(root: Path) -> bool:
    """Look whether the catalog can be changed, without changing anything; return whether another editor is at it.

    Raises the errors of `editing` that do not depend on the change.
    """
    documents = DirectoryDocuments(root)
    with Directory.opened(root) as directory, replaceable(documents.path):
        is_there = directory.status(LOCK) is not None
    if documents.has_manifest():
        load_manifest(documents)
    if is_there:
        try:
            with locked(root / LOCK, _AT_ONCE):
                pass
        except BusyError:
            return True
    return False


def remove_unfinished(directory: Directory) -> None:
    """Remove what a killed command has left of a new catalog, unless another command is writing one."""
    if directory.is_file(UNFINISHED):
        with suppress(BusyError), locked(directory.path / LOCK, _AT_ONCE):
            directory.unlink(UNFINISHED)


def _read(documents: DirectoryDocuments, file: Replaceable, *, listing: bool) -> Draft:
    if documents.has_manifest():
        data = read_manifest_file(file.readable, shown=documents.path)
        parse_named(data, documents.manifest_name)
        return Draft.of_manifest(data)
    return Draft.of_listing(_served_by_listing(documents) if listing else ())


def _served_by_listing(documents: DirectoryDocuments) -> list[str]:
    """Return the ids served without a catalog: of regular files, and of chunks without a raw file."""
    names = {image.id for image in documents.list_images().images}
    chunked = (path.parent.name for path in documents.root.glob(str(chunked_directory("*", None) / MANIFEST_NAME)))
    return sorted(names | {name for name in chunked if is_image_id(name)})
