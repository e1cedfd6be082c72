"""The catalog as values: images, in the order of the list."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import PurePosixPath
from types import MappingProxyType

import attrs

from aero_storage.http.versions import image_version

MANIFEST_NAME = "manifest.json"
"""File name of the catalog in the images root (http.md §3) and of a chunk manifest in its directory (http.md §6)."""

CHUNKED = "chunked"
"""The directory of chunk artifacts below the images root (http.md §6)."""

BROWSER = "browser"
"""The one value of `private_cache`."""


def chunked_directory(image_id: str, version: str | None) -> PurePosixPath:
    """Return the directory of a version's chunk artifacts, or of unversioned ones, below the root (http.md §6)."""
    return PurePosixPath(CHUNKED, image_id, version or "")


@attrs.frozen(cache_hash=True)
class Image:
    """One disk image as its catalog entry describes it.

    `file` is relative to the images root. `etag` (with its quotes) and `last_modified` (nanoseconds since the epoch)
    override the validators of the file; None if the entry has none.
    """

    id: str
    file: str
    name: str
    public: bool = True
    description: str | None = None
    recommended_chunk_size_bytes: int | None = None
    chunked_version: str | None = None
    etag: str | None = None
    last_modified: int | None = None
    virtual_chunks: bool | None = None
    """Whether it may be served in chunks cut from its raw file on request; None: the daemon's setting decides."""
    sha256: str | None = None
    """The SHA-256 digest of its content, in 64 lower-case hex digits."""
    sha256_of: str | None = None
    """The state of the file that `sha256` was computed from; None: the operator's word that it is the file's."""
    private_cache: str | None = None
    """`browser`: though the image is private, the client's own cache may keep what never changes under its URL."""
    follow_links: bool = True
    """Whether the file may be reached through symbolic links; images of a directory listing may not."""

    @property
    def chunked_directory(self) -> PurePosixPath:
        """The directory of the chunk artifacts of unversioned URLs, below the images root (http.md §6)."""
        return chunked_directory(self.id, self.chunked_version)

    def known_sha256(self, stamps: Collection[str]) -> str | None:
        """The digest of its file, which has these `stamps` now; None if it was computed from another state."""
        return self.sha256 if self.sha256_of is None or self.sha256_of in stamps else None

    def found_sha256(self, stamps: Collection[str]) -> str | None:
        """The digest that was computed from its file in the state with these `stamps`; nobody's word counts."""
        return self.sha256 if self.sha256_of in stamps else None

    def version(self, size: int, own_etag: str, stamps: Collection[str]) -> str | None:
        """The version of the image (http.md §13); `own_etag` is the tag that its file or object has by itself."""
        return image_version(size, self.etag or own_etag, own_etag, self.known_sha256(stamps))

    def has_outdated_sha256(self, stamps: Collection[str]) -> bool:
        """Whether its digest was computed from another state of the file than the one with these `stamps`."""
        return self.sha256 is not None and self.known_sha256(stamps) is None

    @property
    def kept_by_browsers(self) -> bool:
        """Whether clients may keep what never changes under its URL, while the image is private (http.md §12)."""
        return self.private_cache == BROWSER

    def has_virtual_chunks(self, *, by_setting: bool) -> bool:
        """Whether it may be served in virtual chunks; `by_setting` where its entry leaves that open."""
        return by_setting if self.virtual_chunks is None else self.virtual_chunks

    def virtual_chunk_size(self, by_setting: int) -> int:
        """Bytes in its virtual chunks; `by_setting` where its entry recommends no size."""
        return self.recommended_chunk_size_bytes or by_setting


def _by_id(catalog: Catalog) -> Mapping[str, Image]:
    return MappingProxyType({image.id: image for image in catalog.images})


@attrs.frozen
class Catalog:
    """All images, in the order of the list; `listing` is true if they come from a directory without a manifest."""

    images: tuple[Image, ...]
    listing: bool = False
    mark: object = attrs.field(init=False, eq=False, repr=False, factory=object)
    """Identifies this catalog in caches, which so do not keep all of it alive."""
    _index: Mapping[str, Image] = attrs.field(init=False, eq=False, repr=False)

    @_index.default
    def _make_index(self) -> Mapping[str, Image]:
        return _by_id(self)

    def find(self, image_id: str) -> Image | None:
        """Return the image with this id, or None."""
        return self._index.get(image_id)
