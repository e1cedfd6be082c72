"""Changes `manifest.json` atomically and under a lock; keeps the order of the entries and unknown keys."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs

from aero_storage.atomic_files import Directory, Replaceable, Waiting, locked, replaceable
from aero_storage.catalog.model import MANIFEST_NAME, chunked_directory
from aero_storage.catalog.parser import parse_manifest, read_document
from aero_storage.catalog.reader import has_manifest, list_directory, load_manifest, read_manifest
from aero_storage.errors import BusyError, CatalogError
from aero_storage.http.identifiers import is_image_id

LOCK = ".aero-storage.lock"
"""The lock file of the catalog, in the images root."""

UNFINISHED = f".{MANIFEST_NAME}~"
"""What a killed command leaves of a new catalog, in the images root."""

_AT_ONCE = Waiting(timeout=0.0)
_WAITING = Waiting()
_FIRST_INDENT = re.compile(rb"\n([ \t]+)\S")

Entry = dict[str, object]


@attrs.define
class Draft:
    """The manifest as JSON, to be edited; `entries` are its own objects and may be changed in place."""

    entries: list[Entry]
    listed: tuple[str, ...] = ()
    """Ids of the images that a directory listing served before; a new manifest lists them too."""
    _document: object = None
    _indent: str | None = "  "

    def find(self, image_id: str) -> Entry | None:
        """Return the entry with this id, or None."""
        return next((entry for entry in self.entries if entry["id"] == image_id), None)

    def put(self, entry: Entry) -> None:
        """Append an entry, or replace the one with the same id."""
        for index, other in enumerate(self.entries):
            if other["id"] == entry["id"]:
                self.entries[index] = entry
                return
        self.entries.append(entry)

    def remove(self, image_id: str) -> None:
        """Remove the entry with this id."""
        self.entries[:] = [entry for entry in self.entries if entry["id"] != image_id]

    def to_bytes(self) -> bytes:
        """Return the file's new content. Raises CatalogError if that is not a valid catalog."""
        try:
            data = self._dump(ensure_ascii=False)
        except UnicodeEncodeError:  # half a surrogate pair under an unknown key
            data = self._dump(ensure_ascii=True)
        except ValueError as error:  # a number such as 1e400
            raise CatalogError(f"it holds a number that cannot be kept: {error}") from error
        parse_manifest(data)
        return data

    def _dump(self, *, ensure_ascii: bool) -> bytes:
        document = {"images": self.entries} if self._document is None else self._document
        separators = (",", ":") if self._indent is None else None
        text = json.dumps(
            document, ensure_ascii=ensure_ascii, allow_nan=False, indent=self._indent, separators=separators
        )
        return text.encode() + b"\n"


@contextmanager
def editing(root: Path, *, listing: bool, waiting: Waiting = _WAITING) -> Iterator[Draft]:
    """Edit the catalog of an images root: after the with block the draft replaces the file.

    Other editors wait. With `listing`, a new catalog starts with the images of the directory listing. Raises
    CatalogError if the file is invalid, or would become so; BusyError if another editor takes too long; OperatorError
    if the lock file, or a link in place of the catalog, is a foreign user's. An exception leaves the file unchanged.
    """
    path = root / MANIFEST_NAME
    with locked(root / LOCK, waiting), replaceable(path) as file:
        draft = _read(root, file, listing=listing)
        before = json.dumps(draft.entries)
        yield draft
        if json.dumps(draft.entries) != before or not has_manifest(root):
            file.replace(draft.to_bytes())


def require_editable(root: Path) -> bool:
    """Look whether the catalog can be changed, without changing anything; return whether another editor is at it.

    Raises the errors of `editing` that do not depend on the change.
    """
    with Directory.opened(root) as directory, replaceable(root / MANIFEST_NAME):
        is_there = directory.status(LOCK) is not None
    if has_manifest(root):
        load_manifest(root)
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


def _read(root: Path, file: Replaceable, *, listing: bool) -> Draft:
    if has_manifest(root):
        _, data = read_manifest(file.readable, shown=root / MANIFEST_NAME)
        document: Any = read_document(data)
        known: list[Entry] = document["images"] if isinstance(document, dict) else document
        indent = _FIRST_INDENT.search(data)
        return Draft(known, document=document, indent=indent[1].decode() if indent else None)
    served = _served_by_listing(root) if listing else []
    entries: list[Entry] = [{"id": name, "file": name, "name": name} for name in served]
    return Draft(entries, listed=tuple(served))


def _served_by_listing(root: Path) -> list[str]:
    """Return the ids served without a catalog: of regular files, and of chunks without a raw file."""
    names = {image.id for image in list_directory(root).images}
    chunked = (path.parent.name for path in root.glob(str(chunked_directory("*", None) / MANIFEST_NAME)))
    return sorted(names | {name for name in chunked if is_image_id(name)})
