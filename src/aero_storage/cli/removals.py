"""The removals of a command, written down before the catalog is changed: if it is killed, the next one goes on.

The plan of an image is a file beside its staging directory. It lists files and directories, and for each what has to
be gone from the catalog before. So a new file goes if the catalog was not changed any more, and an old one if it was.
"""

from __future__ import annotations

import enum
import errno
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import PurePath

import attrs

from aero_storage.atomic_files import Directory
from aero_storage.catalog.directory import DirectoryDocuments
from aero_storage.catalog.model import Catalog, Image, chunked_directory
from aero_storage.catalog.reader import load_manifest
from aero_storage.cli.image_files import IMPORTED, is_used
from aero_storage.errors import JsonError, OperatorError
from aero_storage.http.identifiers import is_image_id, is_version
from aero_storage.profiles.document import PROFILES
from aero_storage.strict_json import load

MARK = "~"
"""Ends the name of a plan; no id contains it."""

_DRAFT = "removals"
_HIDDEN = "chunks"
_MODE = 0o600
_MOST_BYTES = 64 * 1024
_MOST_VALUES = 1000


class NamedBy(enum.StrEnum):
    """The thing in the catalog that keeps a file or a directory: it is removed only when there is no such thing."""

    FILE = "file"
    """An entry of this file."""
    IMAGE = "image"
    """The entry of the image."""
    CHUNKS = "chunks"
    """A `chunked_version` in the entry of the image."""
    VERSION = "version"
    """The `chunked_version` that is the directory's name."""


@attrs.frozen
class Removal:
    """A file or a directory below the images root that is to be removed."""

    path: str
    """Relative to the images root."""
    named_by: NamedBy
    inode: int
    mtime_ns: int
    """With `inode`, the state of a file: another one in its place is nobody's to remove. 0 for a directory."""

    @classmethod
    def of(cls, path: str, named_by: NamedBy, status: os.stat_result) -> Removal:
        """Return the removal of what has this status."""
        is_file = named_by is NamedBy.FILE
        return cls(path, named_by, status.st_ino, status.st_mtime_ns if is_file else 0)

    def is_of(self, status: os.stat_result | None) -> bool:
        """Return whether what is there now is what was to be removed."""
        return status is not None and Removal.of(self.path, self.named_by, status) == self

    def is_named(self, root: Directory, image: Image | None, catalog: Catalog) -> bool:
        """Return whether the catalog keeps it; `image` is the entry of the image that it belongs to."""
        match self.named_by:
            case NamedBy.FILE:
                return is_used(root.path, root.path / self.path, [{"file": one.file} for one in catalog.images])
            case NamedBy.IMAGE:
                return image is not None
            case NamedBy.CHUNKS:
                return image is not None and image.chunked_version is not None
            case NamedBy.VERSION:
                return image is not None and image.chunked_version == PurePath(self.path).name


@attrs.define
class Plan:
    """The removals of one image, and the directory that has the file with them; it is locked for us."""

    _root: Directory
    _place: Directory
    _staging: Directory
    image_id: str
    _has_catalog: bool
    """Whether there was one when the first removal was planned: if it is gone by now, nothing is known."""
    _removals: list[Removal] = attrs.field(init=False, factory=list)

    @classmethod
    def opened(cls, root: Directory, place: Directory, staging: Directory, image_id: str) -> Plan:
        """Return the plan of an image, what a killed command planned included. Raises OperatorError if it is none."""
        plan = cls(root, place, staging, image_id, DirectoryDocuments(root.path).has_manifest())
        with suppress(FileNotFoundError):
            plan._read()
        return plan

    def add(self, *removals: Removal) -> None:
        """Write down what is going to be removed, before the change of the catalog after which it is not needed."""
        self._removals += removals
        self._write()

    def unnamed(self, catalog: Catalog) -> tuple[str, ...]:
        """Return the paths of the planned removals that this catalog does not forbid."""
        image = catalog.find(self.image_id)
        return tuple(one.path for one in self._removals if not one.is_named(self._root, image, catalog))

    def file(self, path: str, status: os.stat_result | None = None) -> Removal | None:
        """Return the removal of a file, None if there is none; `status` is its own if it is not in its place yet."""
        if status is None:
            with suppress(FileNotFoundError), _parent_of_file(self._root, path) as parent:
                status = parent.status(PurePath(path).name)
        return None if status is None else Removal.of(path, NamedBy.FILE, status)

    def chunks(self, named_by: NamedBy, version: str | None = None) -> Removal | None:
        """Return the removal of all published chunks, or of those of one version; None if there are none."""
        return self._directory(chunked_directory(self.image_id, version), named_by)

    def profiles(self) -> Removal | None:
        """Return the removal of all boot profiles of the image; None if there are none."""
        return self._directory(self._profiles_path, NamedBy.IMAGE)

    @property
    def _profiles_path(self) -> PurePath:
        return PurePath(PROFILES, self.image_id)

    def _directory(self, path: PurePath, named_by: NamedBy) -> Removal | None:
        with suppress(FileNotFoundError), self._root.below(*path.parent.parts) as parent:
            if (status := parent.status(path.name)) is not None:
                return Removal.of(str(path), named_by, status)
        return None

    def carry_out(self) -> int:
        """Remove what is planned and the catalog does not name, and forget the plan; return the bytes freed.

        Without the catalog that there was, nothing is removed, and the plan stays.
        """
        catalog = self._catalog() if self._removals else None
        if catalog is None:
            return 0
        image, freed = catalog.find(self.image_id), 0
        for removal in self._removals:
            if not removal.is_named(self._root, image, catalog):
                freed += self._remove(removal)
        self._removals.clear()
        self._place.unlink(self.image_id + MARK)
        return freed

    def _catalog(self) -> Catalog | None:
        documents = DirectoryDocuments(self._root.path)
        if documents.has_manifest():
            return load_manifest(documents)[0]
        return None if self._has_catalog else Catalog(())

    def _remove(self, removal: Removal) -> int:
        path = PurePath(removal.path)
        try:
            if removal.named_by is NamedBy.FILE:
                with _parent_of_file(self._root, removal.path) as parent:
                    freed = _remove_file(parent, path.name, removal)
            else:
                with self._root.below(*path.parent.parts) as parent:
                    freed = _remove_tree(parent, path.name, removal, self._staging)
        except FileNotFoundError:
            freed = 0
        remove_empty(self._root, self.image_id)
        return freed

    def _write(self) -> None:
        rows = [[one.path, one.named_by.value, one.inode, one.mtime_ns] for one in self._removals]
        document = {"has_catalog": self._has_catalog, "removals": rows}
        descriptor = self._staging.open_file(_DRAFT, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _MODE)
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor
            file.write(json.dumps(document).encode())
            file.flush()
            os.fsync(descriptor)
        self._staging.move(_DRAFT, self._place, self.image_id + MARK)
        self._place.sync()

    def _read(self) -> None:
        name = self.image_id + MARK
        try:
            document = load(_read_own(self._place, name), _MOST_VALUES)
            self._has_catalog = bool(document["has_catalog"])  # type: ignore[index]
            self._removals = [self._removal(*row) for row in document["removals"]]  # type: ignore[index]
        except (JsonError, LookupError, TypeError, ValueError, OverflowError) as error:
            raise OperatorError(
                f"{self._place.path / name} is no list of removals of ours; look what it is and move it away"
            ) from error

    def _removal(self, path: str, word: str, inode: int, mtime_ns: int) -> Removal:
        """Return a removal that was written down. Raises ValueError if no plan of this image has such a one."""
        removal = Removal(str(path), NamedBy(word), int(inode), int(mtime_ns))
        if not self._is_possible(removal):
            raise ValueError(path)
        return removal

    def _is_possible(self, removal: Removal) -> bool:
        """Return whether a plan of this image may have this removal."""
        path = PurePath(removal.path)
        if removal.named_by is NamedBy.FILE:
            return not (path.is_absolute() or ".." in path.parts or b"\0" in removal.path.encode())
        if removal.named_by is NamedBy.IMAGE and path == self._profiles_path:
            return is_image_id(self.image_id)
        version = path.name if removal.named_by is NamedBy.VERSION else None
        is_sound = is_image_id(self.image_id) and (version is None or is_version(version))
        return is_sound and path == chunked_directory(self.image_id, version)


def _read_own(place: Directory, name: str) -> bytes:
    """Read a file that nobody but us can have written. Raises ValueError if it is none."""
    descriptor = place.open_file(name, os.O_RDONLY)
    try:
        status = os.fstat(descriptor)
        is_ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and status.st_nlink == 1
        if not is_ours or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise ValueError
        return os.read(descriptor, _MOST_BYTES + 1)
    finally:
        os.close(descriptor)


@contextmanager
def _parent_of_file(root: Directory, path: str) -> Iterator[Directory]:
    """Open the directory of a raw file; links on the way to it are followed as the daemon does, within the root."""
    top = os.path.realpath(root.path)
    parent = PurePath(os.path.realpath((root.path / path).parent))
    if not parent.is_relative_to(top):
        raise OperatorError(f"{root.path / path} lies outside the images root by now; it is left as it is")
    with root.below(*parent.relative_to(top).parts) as directory:
        yield directory


def _remove_file(parent: Directory, name: str, removal: Removal) -> int:
    """Remove a file, of a link only the link; a directory or another file in its place stays."""
    if parent.is_directory(name) or not removal.is_of(parent.status(name)):
        return 0
    freed = 0 if parent.is_link(name) else parent.disk_usage(name)
    parent.unlink(name)
    return freed


def _remove_tree(parent: Directory, name: str, removal: Removal, staging: Directory) -> int:
    """Remove a directory of chunks, after a rename that hides it; of a symbolic link only the link."""
    if parent.is_link(name):
        parent.unlink(name)
        return 0
    if not removal.is_of(parent.status(name)):
        return 0
    freed = parent.disk_usage(name)
    try:
        parent.move(name, staging, _HIDDEN)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        parent.remove(name)
    else:
        staging.remove(_HIDDEN)
    return freed


def remove_empty(root: Directory, image_id: str) -> None:
    """Remove the directories of an image's imports and chunks, if they are empty."""
    for place in (IMPORTED, chunked_directory(image_id, None).parts[0]):
        with suppress(OSError, OperatorError), root.below(place) as above:
            above.remove_directory(image_id)
