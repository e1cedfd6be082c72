"""The data of an image by its published chunks: all that is in no chunk of zeros (http.md §14).

Nothing but the head and the end of a manifest is read. It counts if it has the digest of the whole image: then its
chunks were cut from that image, and not from another content.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import attrs

from aero_storage.chunks.manifest import MAX_CHUNK_COUNT
from aero_storage.chunks.published_digests import ManifestFile
from aero_storage.chunks.published_form import MAX_HEAD_BYTES, PublishedForm
from aero_storage.chunks.zero_chunks import data_extents, parse_zeros
from aero_storage.errors import BlobNotFoundError, BlobUnreadableError, ChunkFormatError, JsonError, ShortReadError
from aero_storage.http.extents.extents import Extents, KnownExtents
from aero_storage.strict_json import load

_MOST_BYTES = 4 * 1024 * 1024
"""Limit of the end of a manifest: of half a million chunks it has 1 MB at most."""


@attrs.frozen
class PublishedZeros:
    """Looks zeros up. Any thread may call it; it may wait for a disk.

    `open_file` opens a file by its path relative to the images root.
    """

    _open_file: Callable[[str], ManifestFile]

    def data(self, manifest: str, sha256: str | None, size: int) -> KnownExtents:
        """Return what is known by the chunk manifest at a path.

        `sha256`, in hex, and `size` are those of the whole image; without a digest there are no extents.
        """
        try:
            with closing(self._open_file(manifest)) as file:
                return _known(file, sha256, size)
        except (BlobNotFoundError, BlobUnreadableError, ShortReadError, OSError):
            return KnownExtents()


def _known(file: ManifestFile, sha256: str | None, size: int) -> KnownExtents:
    form = PublishedForm.of(file.read(0, min(MAX_HEAD_BYTES, file.size)))
    if form is None or form.manifest.total_size != size:
        return KnownExtents()
    try:
        return KnownExtents(_data(file, form, sha256), form.manifest.chunk_size)
    except (ChunkFormatError, JsonError):
        return KnownExtents(None, form.manifest.chunk_size)


def _data(file: ManifestFile, form: PublishedForm, sha256: str | None) -> Extents | None:
    length = file.size - form.end
    end = file.read(form.end, length) if 0 < length <= _MOST_BYTES and sha256 is not None else b""
    if not end.startswith(b"],"):
        return None
    document = load(b"{" + end[2:], MAX_CHUNK_COUNT + 100)
    if not isinstance(document, dict) or document.get("sha256") != sha256:
        return None
    return data_extents(parse_zeros(document.get("zeros"), form.manifest), form.manifest)
