"""The images root of the commands in a directory of this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import attrs
from typing_extensions import override

from aero_storage.atomic_files import Waiting, disk_usage
from aero_storage.catalog.directory import DirectoryDocuments
from aero_storage.catalog.draft import Draft, Entry
from aero_storage.catalog.model import MANIFEST_NAME, Catalog, Image, chunked_directory
from aero_storage.catalog.writer import editing
from aero_storage.chunks.manifest import MAX_MANIFEST_BYTES
from aero_storage.chunks.verify.local import LocalSource
from aero_storage.cli.directory_profiles import DirectoryProfiles
from aero_storage.cli.directory_work import DirectoryWork
from aero_storage.cli.foresight import foresee_import
from aero_storage.cli.image_files import image_path, is_catalog, is_imported, is_used
from aero_storage.cli.image_in_directory import ImageInDirectory
from aero_storage.cli.leftovers import leftovers
from aero_storage.cli.repository import Expired, Leftover, Repository, Say
from aero_storage.cli.stored_image import StoredImage
from aero_storage.cli.workplace import at_work
from aero_storage.errors import OperatorError
from aero_storage.http.identifiers import is_version

_T = TypeVar("_T")


@attrs.frozen
class DirectoryRepository(Repository):
    """The images root `root`."""

    root: Path

    @property
    @override
    def name(self) -> str:
        return str(self.root)

    @property
    @override
    def documents(self) -> DirectoryDocuments:
        return DirectoryDocuments(self.root)

    @override
    def change_catalog(self, change: Callable[[Draft], _T], *, listing: bool, waiting: Waiting) -> _T:
        with editing(self.root, listing=listing, waiting=waiting) as draft:
            return change(draft)

    @contextmanager
    @override
    def at_work(self, image_id: str, say: Say) -> Iterator[DirectoryWork]:
        with at_work(self.root, image_id, say) as place:
            yield DirectoryWork(image_id, place, say)

    @override
    def foresee_import(self, image_id: str, say: Say) -> None:
        foresee_import(self.root, image_id, say)

    @property
    @override
    def profiles(self) -> DirectoryProfiles:
        return DirectoryProfiles(self.root)

    @override
    def look_at_all(self, images: Iterable[Image]) -> None:
        """Each look is cheap."""

    @property
    @override
    def looks_at_once(self) -> int:
        return 1

    @override
    def needs_sample(self, image: Image, stored: StoredImage) -> bool:
        return True

    @override
    def remove_expired(self, grace_seconds: float) -> Expired:
        raise OperatorError(f"{self.root} is a directory: its commands remove at once what nothing names")

    @override
    def stored(self, image: Image) -> ImageInDirectory:
        path = image_path(self.root, image)
        return ImageInDirectory(path, path.stat(), disk_usage(path))

    @override
    def has_file(self, file: str) -> bool:
        return (self.root / file).exists()

    @override
    def is_named(self, file: str, entries: Iterable[Entry]) -> bool:
        return is_used(self.root, self.root / file, entries)

    @override
    def is_imported(self, image_id: str, file: str) -> bool:
        return is_imported(self.root, image_id, file)

    @override
    def is_removable(self, image: Image) -> bool:
        try:
            image_path(self.root, image)
        except OperatorError:  # missing, outside the root, or a directory
            return False
        return not is_catalog(self.root, self.root / image.file)

    @override
    def leftovers(self, catalog: Catalog, *, thorough: bool = True) -> Sequence[Leftover]:
        return leftovers(self.root, catalog)

    @override
    def chunk_versions(self, image_id: str) -> list[str] | None:
        chunks = self.root / chunked_directory(image_id, None)
        if not chunks.exists():
            return None
        return sorted(path.name for path in chunks.glob("*") if is_version(path.name) and path.is_dir())

    @override
    def chunk_manifest(self, image: Image) -> bytes | None:
        path = self._chunk_manifest_path(image)
        if not path.is_file():
            return None
        with path.open("rb") as file:
            return file.read(MAX_MANIFEST_BYTES + 1)

    @override
    def chunk_source(self, image: Image) -> LocalSource | None:
        path = self._chunk_manifest_path(image)
        return LocalSource(path) if path.exists() else None

    @override
    def chunk_manifest_name(self, image: Image) -> str:
        return str(self._chunk_manifest_path(image))

    def _chunk_manifest_path(self, image: Image) -> Path:
        return self.root / image.chunked_directory / MANIFEST_NAME
