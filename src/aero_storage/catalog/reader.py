"""Reads the catalog of an images root: `manifest.json` if it exists, else a directory listing (http.md §3)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import attrs

from aero_storage.catalog.model import CHUNKED, MANIFEST_NAME, Catalog, Image
from aero_storage.catalog.parser import MAX_MANIFEST_BYTES, parse_manifest
from aero_storage.errors import CatalogError
from aero_storage.http.dates import NANOSECONDS
from aero_storage.http.identifiers import NAME_RULE, is_image_id

_SETTLED_NS = 2 * NANOSECONDS
"""A file younger than this may change again with the same mtime: time stamps have the resolution of a kernel tick."""

_Stamp = tuple[bool, int, int, int, int]
"""Whether there is a manifest; then inode, size, mtime and ctime of it, or of the directory if there is none."""


@attrs.frozen
class Reading:
    """The catalog on disk, or the error of reading it.

    `is_new` is false if the file looks the same as in the previous reading and was read again to be sure.
    """

    catalog: Catalog | None
    error: CatalogError | None
    is_new: bool = True


def _stamp(root: Path) -> _Stamp:
    try:
        manifest, status = True, (root / MANIFEST_NAME).stat()
    except FileNotFoundError:
        manifest, status = False, root.stat()
    return manifest, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


@attrs.define
class CatalogReader:
    """Reads the catalog of one images root when it has changed; the check costs one or two stat calls.

    All methods may wait for a disk. A root that once had a manifest never becomes a directory listing.
    """

    root: Path
    require_manifest: bool
    _now_ns: Callable[[], int] = time.time_ns
    _seen_manifest: bool = attrs.field(init=False, default=False)
    _last: _Stamp | None = attrs.field(init=False, default=None)
    _certain: bool = attrs.field(init=False, default=False)
    _rootless: bool = attrs.field(init=False, default=False)

    def read_if_changed(self, *, force: bool = False) -> Reading | None:
        """Return the catalog on disk, or None if it is certainly the one that was read last."""
        try:
            stamp = _stamp(self.root)
        except OSError as error:
            self._seen_manifest |= has_manifest(self.root)
            is_new, self._rootless, self._certain = not self._rootless, True, False
            return Reading(None, CatalogError(f"{self.root}: {error.strerror}"), is_new=is_new)
        if not force and stamp == self._last and self._certain:
            return None
        is_new = stamp != self._last or self._rootless
        self._last, self._certain, self._rootless = stamp, self._is_settled(stamp), False
        return attrs.evolve(self._read(), is_new=is_new)

    def _is_settled(self, stamp: _Stamp) -> bool:
        return all(abs(self._now_ns() - moment) > _SETTLED_NS for moment in stamp[3:])

    def _read(self) -> Reading:
        try:
            return Reading(self._read_catalog(), None)
        except CatalogError as error:
            return Reading(None, error)

    def _read_catalog(self) -> Catalog:
        if not has_manifest(self.root) and not self._seen_manifest and not self.require_manifest:
            return list_directory(self.root)
        self._seen_manifest = True
        return load_manifest(self.root)[0]


def has_manifest(root: Path) -> bool:
    """Return whether there is an entry with the manifest's name, valid or not: then the directory is not listed."""
    return os.path.lexists(root / MANIFEST_NAME)


def load_manifest(root: Path) -> tuple[Catalog, bytes]:
    """Return the catalog of the manifest on disk, and its bytes.

    Raises CatalogError, with the file's name, if it cannot be read or is invalid.
    """
    path = root / MANIFEST_NAME
    return read_manifest(path, shown=path)


def read_manifest(path: Path, *, shown: Path) -> tuple[Catalog, bytes]:
    """Return the catalog of the file `path`, and its bytes. Raises CatalogError as `load_manifest`, with `shown`."""
    try:
        data = _read_regular(path)
        return parse_manifest(data), data
    except OSError as error:
        raise CatalogError(f"{shown}: {error.strerror}") from error
    except CatalogError as error:
        raise CatalogError(f"{shown}: {error}") from error


def _read_regular(path: Path) -> bytes:
    if not path.is_file() and path.exists():
        raise CatalogError("not a regular file")
    with path.open("rb") as file:
        return file.read(MAX_MANIFEST_BYTES + 1)


def list_directory(root: Path) -> Catalog:
    """Return the catalog of a directory without a manifest: its regular files, sorted by id.

    Raises CatalogError if the directory cannot be read.
    """
    try:
        with os.scandir(root) as entries:
            names = sorted(entry.name for entry in entries if _is_listed(entry))
    except OSError as error:
        raise CatalogError(f"{root}: {error.strerror}") from error
    images = tuple(Image(id=name, file=name, name=name, follow_links=False) for name in names)
    return Catalog(images, listing=True)


def _is_listed(entry: os.DirEntry[str]) -> bool:
    hidden = entry.name.startswith((".", MANIFEST_NAME))
    return not hidden and is_image_id(entry.name) and entry.is_file(follow_symlinks=False)


def left_out_of_listing(root: Path) -> dict[str, str]:
    """Return the entries of a directory that its listing leaves out → why; names with a dot in front are not told.

    Raises CatalogError if the directory cannot be read.
    """
    try:
        with os.scandir(root) as entries:
            names = {entry.name: _reason_left_out(root, entry) for entry in entries if not entry.name.startswith(".")}
    except OSError as error:
        raise CatalogError(f"{root}: {error.strerror}") from error
    return {name: reason for name, reason in sorted(names.items()) if reason is not None}


def _reason_left_out(root: Path, entry: os.DirEntry[str]) -> str | None:
    if _is_listed(entry) or entry.name == CHUNKED:
        return None
    if entry.is_symlink():
        return _reason_for_link(root, entry)
    if entry.is_dir(follow_symlinks=False):
        return f"the directory listing shows no folders; name the images in it in {MANIFEST_NAME}"
    if not entry.is_file(follow_symlinks=False):
        return "it is no regular file"
    if entry.name.startswith(MANIFEST_NAME):
        return f"names that begin with {MANIFEST_NAME} are kept for the catalog; rename it if it is an image"
    return f"its name is no image id: that {NAME_RULE}; rename it, or name it in {MANIFEST_NAME}"


def _reason_for_link(root: Path, entry: os.DirEntry[str]) -> str:
    if Path(os.path.realpath(entry.path)).is_relative_to(os.path.realpath(root)):
        return f"the directory listing follows no symbolic links; name what it leads to in {MANIFEST_NAME}"
    return "it is a symbolic link that leads out of the images root; move the file itself here"
