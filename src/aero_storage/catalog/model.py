"""The catalog as values: images and the order they are listed in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from types import MappingProxyType

import attrs


def chunked_directory(image_id: str, version: str | None) -> PurePosixPath:
    """Where the chunk artifacts of a version lie, or those without one, relative to the images root (http.md §6)."""
    return PurePosixPath("chunked", image_id, version or "")


@attrs.frozen(cache_hash=True)
class Image:
    """One disk image as its catalog entry describes it.

    `file` is relative to the images root. `etag` (with its quotes) and `last_modified` (nanoseconds since the
    epoch) override what the file system says; None where the entry leaves them open.
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
    """Whether it may be served in chunks cut from its raw file on request; None leaves it to the daemon's setting."""
    follow_links: bool = True
    """Whether the file may be reached through symbolic links; a directory listing shows none, so it serves none."""

    @property
    def chunked_directory(self) -> PurePosixPath:
        """Where the chunk artifacts that unversioned URLs mean lie, relative to the images root (http.md §6)."""
        return chunked_directory(self.id, self.chunked_version)

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
    """All images, in the order they are listed in; `listing` tells that there was only a directory to list."""

    images: tuple[Image, ...]
    listing: bool = False
    mark: object = attrs.field(init=False, eq=False, repr=False, factory=object)
    """Tells it from every other, to those who should not keep all of it alive."""
    _index: Mapping[str, Image] = attrs.field(init=False, eq=False, repr=False)

    @_index.default
    def _make_index(self) -> Mapping[str, Image]:
        return _by_id(self)

    def find(self, image_id: str) -> Image | None:
        """The image of that id, or None."""
        return self._index.get(image_id)
