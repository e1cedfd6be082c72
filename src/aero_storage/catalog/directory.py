"""The catalog documents in a directory: `manifest.json`, or the listing of its files (http.md §3)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import attrs
from typing_extensions import override

from aero_storage.catalog.documents import CatalogDocuments, DocumentState
from aero_storage.catalog.listing import OWN_DIRECTORIES, is_listed_name, listing_of, why_not_listed
from aero_storage.catalog.model import MANIFEST_NAME, Catalog
from aero_storage.catalog.parser import MAX_MANIFEST_BYTES
from aero_storage.errors import CatalogError
from aero_storage.http.dates import NANOSECONDS

_SETTLED_NS = 2 * NANOSECONDS
"""A file younger than this may change again with the same mtime: time stamps have the resolution of a kernel tick."""


@attrs.frozen
class DirectoryDocuments(CatalogDocuments):
    """The documents in the directory `root`; a look at their state costs one or two stat calls."""

    root: Path
    _now_ns: Callable[[], int] = time.time_ns

    @property
    def path(self) -> Path:
        """Where the manifest is."""
        return self.root / MANIFEST_NAME

    @property
    @override
    def manifest_name(self) -> str:
        return str(self.path)

    @override
    def state(self) -> DocumentState:
        try:
            manifest, status = True, self.path.stat()
        except FileNotFoundError:
            manifest, status = False, _stat(self.root)
        except OSError as error:
            raise CatalogError(f"{self.root}: {error.strerror}") from error
        return DocumentState(
            (manifest, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns),
            self._is_settled(status),
        )

    def _is_settled(self, status: os.stat_result) -> bool:
        now = self._now_ns()
        return all(abs(now - moment) > _SETTLED_NS for moment in (status.st_mtime_ns, status.st_ctime_ns))

    @override
    def look_anew(self) -> None:
        pass  # each look is a new one

    @override
    def has_manifest(self) -> bool:
        return os.path.lexists(self.path)

    @override
    def read_manifest(self) -> bytes:
        return read_manifest_file(self.path, shown=self.path)

    @override
    def list_images(self) -> Catalog:
        try:
            with os.scandir(self.root) as entries:
                names = sorted(entry.name for entry in entries if _is_listed(entry))
        except OSError as error:
            raise CatalogError(f"{self.root}: {error.strerror}") from error
        return listing_of(names)

    @override
    def left_out(self) -> dict[str, str]:
        try:
            with os.scandir(self.root) as entries:
                seen = (entry for entry in entries if not entry.name.startswith("."))
                names = {entry.name: _reason_left_out(self.root, entry) for entry in seen}
        except OSError as error:
            raise CatalogError(f"{self.root}: {error.strerror}") from error
        return {name: reason for name, reason in sorted(names.items()) if reason is not None}


def _stat(root: Path) -> os.stat_result:
    try:
        return root.stat()
    except OSError as error:
        raise CatalogError(f"{root}: {error.strerror}") from error


def read_manifest_file(path: Path, *, shown: Path) -> bytes:
    """Return the bytes of the file `path`, which messages call `shown`. Raises CatalogError as `read_manifest`."""
    try:
        if not path.is_file() and path.exists():
            raise CatalogError(f"{shown}: not a regular file")
        with path.open("rb") as file:
            return file.read(MAX_MANIFEST_BYTES + 1)
    except OSError as error:
        raise CatalogError(f"{shown}: {error.strerror}") from error


def _is_listed(entry: os.DirEntry[str]) -> bool:
    return is_listed_name(entry.name) and entry.is_file(follow_symlinks=False)


def _reason_left_out(root: Path, entry: os.DirEntry[str]) -> str | None:
    if _is_listed(entry) or entry.name in OWN_DIRECTORIES:
        return None
    if entry.is_symlink():
        return _reason_for_link(root, entry)
    if entry.is_dir(follow_symlinks=False):
        return f"the directory listing shows no folders; name the images in it in {MANIFEST_NAME}"
    if not entry.is_file(follow_symlinks=False):
        return "it is no regular file"
    return why_not_listed(entry.name)


def _reason_for_link(root: Path, entry: os.DirEntry[str]) -> str:
    if Path(os.path.realpath(entry.path)).is_relative_to(os.path.realpath(root)):
        return f"the directory listing follows no symbolic links; name what it leads to in {MANIFEST_NAME}"
    return "it is a symbolic link that leads out of the images root; move the file itself here"
