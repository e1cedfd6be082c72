"""The images root as the commands see it: a directory, or the prefix of a bucket.

A command decides and tells. A repository reads; it writes under names that nothing has yet, and switches the catalog,
the one pointer, last. Files are named relative to the images root, as catalog entries name them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

import attrs
from typing_extensions import Buffer

from aero_storage.atomic_files import Directory, Waiting
from aero_storage.catalog.content_digest import ContentDigest
from aero_storage.catalog.documents import CatalogDocuments
from aero_storage.catalog.draft import Draft, Entry
from aero_storage.catalog.model import Catalog, Image
from aero_storage.chunks.manifest import ChunkManifest
from aero_storage.chunks.publish.cutting import Advance
from aero_storage.chunks.verify.source import ChunkSource
from aero_storage.cli.stored_image import StoredImage
from aero_storage.cli.stored_profiles import StoredProfiles

_T = TypeVar("_T")

Say = Callable[[str], None]
"""Tells the operator something, as one line."""

GRACE_SECONDS = 24 * 3600.0
"""Objects that nothing names stay in a bucket for so long, by default."""


@attrs.frozen
class Freed:
    """Bytes that were freed, and those of objects that stay for a time, as somebody may still be reading them."""

    now: int = 0
    later: int = 0


@attrs.frozen
class Expired:
    """Objects that were removed because nothing has named them for some time."""

    removed: tuple[str, ...] = ()
    """Keys of objects, or of directories of them."""
    freed: int = 0
    waiting: int = 0
    """How many more are named by nothing, not long enough yet."""


@attrs.frozen
class Leftover:
    """A file or a directory that no entry of the catalog needs."""

    path: str
    """Relative to the images root."""
    reason: str
    command: str
    """Removes it."""


@attrs.frozen
class Placed:
    """A new image under a name that no catalog entry has yet."""

    file: str
    digest: ContentDigest | None
    """None if its SHA-256 is not known."""
    disk_usage: int
    """Bytes that it takes; an object has no holes."""


@attrs.frozen
class PublishedVersion:
    """A published version of an image's chunks."""

    version: str
    manifest: ChunkManifest
    directory: str
    """Path or URL of the directory of its manifest and its chunks."""
    already_there: bool
    """Whether it was published before; then nothing was changed."""
    digest: ContentDigest | None = None
    """Of the whole image, if it was asked for."""


class HashedContents(Protocol):
    """Content that is computed a digest of while it passes, once."""

    def __iter__(self) -> Iterator[Buffer]:
        """Yield all of it, in order. Raises OperatorError before the last piece if it is not what it has to be."""
        ...

    @property
    def sha256(self) -> str | None:
        """The SHA-256, in hex, once all has passed; None if it is not computed."""
        ...


class Work(Protocol):
    """The work of one command on one image, which no other command works on meanwhile."""

    @property
    def staging(self) -> Directory:
        """A directory of this machine where the raw disk of an import is made; emptied at the end."""
        ...

    @property
    def staging_disk(self) -> str:
        """The disk of the staging directory, for messages."""
        ...

    def foretell_staging(self, most: int, say: Say) -> None:
        """Say that up to `most` bytes go into the staging directory, if that is news, and whether there is room.

        Raises OperatorError if the disk is full already.
        """
        ...

    @property
    def send(self) -> Callable[[HashedContents, int], AbstractContextManager[Placed]] | None:
        """Stores content of a size while it is read, so that it needs no file in the staging directory.

        None where files of the staging directory are moved. Otherwise as `placed`.
        """
        ...

    def foresee_publish(self, image: Image, say: Say) -> None:
        """Raise the error that a publication would end with after its work; tell of what it will wait for or lack."""
        ...

    def placed(self, staged: str, sha256: str | None) -> AbstractContextManager[Placed]:
        """Store a file of the staging directory durably; if the block fails, it is removed unless a catalog names it.

        A killed command leaves something that the next one removes.
        """
        ...

    def received(self, contents: Iterable[Buffer], size: int, sha256: str | None) -> AbstractContextManager[Placed]:
        """Store what comes from another images root, likewise; `sha256` is its digest, where that is known.

        An object that an interrupted command has stored whole is taken. Raises OperatorError if the contents have
        another size or digest.
        """
        ...

    def condemn(self, file: str, *, own: bool = False) -> bool:
        """Plan to remove a file, if an import of this image made it, or else with `own`; return whether.

        To be called before the catalog names it no more: after a crash the next command goes on with it.
        """
        ...

    def condemn_chunks(self, *, keeps_image: bool) -> None:
        """Plan to remove the chunks of all versions, likewise, and the profiles, unless the entry stays.

        Raises OperatorError if something else would be removed with them.
        """
        ...

    def settle(self) -> None:
        """Wait until running daemons have read the new catalog, before what the old one names is removed."""
        ...

    def carry_out(self) -> Freed:
        """Remove what was planned to be, as far as the catalog does not name it, or let it be removed later."""
        ...

    def publish(  # noqa: PLR0913 - by name only
        self,
        image: Image,
        *,
        chunk_size: int,
        version: str | None,
        jobs: int,
        advance: Advance,
        digested: bool,
    ) -> PublishedVersion:
        """Cut the raw image into chunks; all of a version is there before its manifest is.

        Without `version` the name is made from the content. `advance` counts the image's bytes, including holes. With
        `digested` the SHA-256 of the whole image is computed beside. Raises ChunkFormatError if it cannot be cut so,
        OperatorError if it changes meanwhile or the version's name is taken by other content. `carry_out` removes the
        version again, unless the catalog names it by then.
        """
        ...

    def adopt(self, manifest: ChunkManifest, source: ChunkSource, *, jobs: int, advance: Advance) -> bool:
        """Store a published version of another images root, each chunk checked by its digest.

        False if it is there already. It stays, whether the catalog names it or not.
        """
        ...


class Repository(Protocol):
    """One images root. All methods may wait."""

    @property
    def name(self) -> str:
        """Its path or URL, for messages."""
        ...

    @property
    def documents(self) -> CatalogDocuments:
        """The documents of its catalog."""
        ...

    def change_catalog(self, change: Callable[[Draft], _T], *, listing: bool, waiting: Waiting) -> _T:
        """Put what `change` makes of the catalog in its place, in one step; return what `change` returned.

        `change` is called again, on a newer catalog, if another writer was faster. With `listing`, a new catalog
        starts with the images of the listing. Raises CatalogError if the catalog is invalid, or would become so;
        BusyError if another writer takes too long. An exception leaves the catalog unchanged.
        """
        ...

    def at_work(self, image_id: str, say: Say) -> AbstractContextManager[Work]:
        """Own an image for a with block; leftovers of interrupted commands are removed.

        Raises BusyError if another command works on the image.
        """
        ...

    def foresee_import(self, image_id: str, say: Say) -> None:
        """Raise the error that an import would end with after its work; tell of what it will wait for or replace."""
        ...

    @property
    def profiles(self) -> StoredProfiles:
        """The boot profiles of its images."""
        ...

    def look_at_all(self, images: Iterable[Image]) -> None:
        """Prepare for `stored` and `chunk_manifest` to be called for each of these images."""
        ...

    @property
    def looks_at_once(self) -> int:
        """The number of threads that may call `stored` and `chunk_manifest` at once to be fast."""
        ...

    def needs_sample(self, image: Image, stored: StoredImage) -> bool:
        """Return whether a sample of an image may tell something that was not found out when it came in."""
        ...

    def remove_expired(self, grace_seconds: float) -> Expired:
        """Remove what nothing has named for `grace_seconds`. Raises OperatorError if nothing is kept so long."""
        ...

    def stored(self, image: Image) -> StoredImage:
        """Look at the raw image of an entry. Raises OperatorError if it cannot be served, OSError."""
        ...

    def has_file(self, file: str) -> bool:
        """Return whether something is stored under this name."""
        ...

    def is_named(self, file: str, entries: Iterable[Entry]) -> bool:
        """Return whether one of the entries names this file, by any way that leads to it."""
        ...

    def is_imported(self, image_id: str, file: str) -> bool:
        """Return whether an import of this id made this file."""
        ...

    def is_removable(self, image: Image) -> bool:
        """Return whether the raw file of an image may be removed: it can be served, and is not the catalog itself."""
        ...

    def leftovers(self, catalog: Catalog, *, thorough: bool = True) -> Sequence[Leftover]:
        """Return what no entry of the catalog needs, of imports, chunks and interrupted work.

        Without `thorough` what takes a request for each image is left out.
        """
        ...

    def chunk_versions(self, image_id: str) -> list[str] | None:
        """Return the names of the published versions, sorted; None if the image has no chunks at all."""
        ...

    def chunk_manifest(self, image: Image) -> bytes | None:
        """Return the chunk manifest of the unversioned URLs, of a longer one its first MAX_MANIFEST_BYTES + 1 bytes.

        None if there is none. Raises OSError if it cannot be read.
        """
        ...

    def chunk_source(self, image: Image) -> ChunkSource | None:
        """Return the chunks of the unversioned URLs; None if there is no manifest."""
        ...

    def chunk_manifest_name(self, image: Image) -> str:
        """Return path or URL of the chunk manifest of the unversioned URLs, for messages."""
        ...
