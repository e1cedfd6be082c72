"""The data of an image by its published chunks: all that is in no chunk of zeros (http.md §14).

A manifest counts if it has the digest of the whole image: then its chunks were cut from that image, and not from
another content. `zeros` says which of its entries are worth a look; their digests say whether it is right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing

import attrs

from aero_storage.chunks.manifest import MAX_CHUNK_COUNT
from aero_storage.chunks.published_digests import ManifestFile
from aero_storage.chunks.published_form import MAX_HEAD_BYTES, PublishedForm
from aero_storage.chunks.zero_chunks import data_extents, digest_of_zeros, parse_zeros, runs_of
from aero_storage.errors import BlobNotFoundError, BlobUnreadableError, ChunkFormatError, JsonError, ShortReadError
from aero_storage.http.extents.extents import Extents, KnownExtents
from aero_storage.strict_json import load

_MOST_BYTES = 4 * 1024 * 1024
"""Limit of the end of a manifest: of half a million chunks it has 1 MB at most."""


ENTRIES_AT_ONCE = 16_384
"""Entries of one read, of some 1.5 MB: half a million take 31 reads."""


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
    zeros = parse_zeros(document.get("zeros"), form.manifest)
    _require_zeros(file, form, runs_of(zeros, form.manifest.chunk_count))
    return data_extents(zeros, form.manifest)


def _require_zeros(file: ManifestFile, form: PublishedForm, runs: Iterable[tuple[int, int]]) -> None:
    """Raise ChunkFormatError unless the chunks of all runs have the digests of zeros."""
    count, entries = form.manifest.chunk_count, b""
    begin = end = 0
    for first, after in runs:
        at = first
        while at < after:
            if at >= end:
                begin, end = at, min(at + ENTRIES_AT_ONCE, count)
                entries = _entries(file, form, begin, end)
            stop = min(after, end)
            if not form.have_digests(at, stop, _sha256_of_zeros, entries, begin):
                raise ChunkFormatError(f"zeros: a chunk from {at} on is none by its digest")
            at = stop


def _entries(file: ManifestFile, form: PublishedForm, first: int, after: int) -> bytes:
    offset, most = form.span(first, after - first)
    return file.read(offset, max(0, min(most, file.size - offset)))


def _sha256_of_zeros(length: int) -> str:
    return digest_of_zeros(length).hex()
