"""Chunks that are all zeros: which they are by their digests, and how a manifest tells them (http.md §14). Pure.

`zeros` in a manifest is an array of pairs: how many chunks lie between, and how many are zeros.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import groupby

from aero_storage.chunks.manifest import DIGEST_SIZE, ChunkManifest, Geometry
from aero_storage.errors import ChunkFormatError
from aero_storage.http.extents.extents import Extents, ExtentsBuilder

_BLOCK = bytes(1 << 20)
_RULE = "zeros: must be an array of pairs of whole numbers, of gaps and lengths in chunks"


@lru_cache(8)
def digest_of_zeros(length: int) -> bytes:
    """Return the SHA-256 digest of so many zeros."""
    digest = hashlib.sha256()
    for start in range(0, length, len(_BLOCK)):
        digest.update(memoryview(_BLOCK)[: length - start])
    return digest.digest()


def zeros_by_digest(digests: bytes, geometry: Geometry) -> tuple[int, ...]:
    """Return the chunks whose digests are those of zeros, as a manifest tells them."""
    return tuple(_pairs(_are_zeros(digests, geometry)))


def _are_zeros(digests: bytes, geometry: Geometry) -> Iterator[bool]:
    last = geometry.chunk_count - 1
    usual, at_last = (digest_of_zeros(geometry.chunk_length(index)) for index in (0, last))
    for index in range(last):
        yield digests.startswith(usual, DIGEST_SIZE * index)
    yield digests.startswith(at_last, DIGEST_SIZE * last)


def _pairs(flags: Iterable[bool]) -> Iterator[int]:
    gap = 0
    for is_zeros, group in groupby(flags):
        length = sum(1 for _ in group)
        if is_zeros:
            yield gap
            yield length
        gap = 0 if is_zeros else length


def parse_zeros(document: object, manifest: ChunkManifest) -> tuple[int, ...]:
    """Return `zeros` of a manifest. Raises ChunkFormatError if it is none, or a digest is not that of zeros."""
    if not isinstance(document, list) or len(document) % 2 or not all(type(number) is int for number in document):
        raise ChunkFormatError(_RULE)
    zeros = tuple(document)
    for first, after in runs_of(zeros, manifest.chunk_count):
        if manifest.digests is not None:
            _require_zeros(manifest.digests, first, after, manifest)
    return zeros


def runs_of(zeros: tuple[int, ...], count: int) -> Iterator[tuple[int, int]]:
    """Yield the first chunk of each run of zeros, and the one after its last. Raises ChunkFormatError."""
    after = 0
    for gap, length in zip(zeros[::2], zeros[1::2], strict=True):
        if gap < 0 or length <= 0:
            raise ChunkFormatError(_RULE)
        first, after = after + gap, after + gap + length
        if after > count:
            raise ChunkFormatError("zeros: goes beyond the last chunk")
        yield first, after


def _require_zeros(digests: bytes, first: int, after: int, geometry: Geometry) -> None:
    for index in range(first, after):
        if not digests.startswith(digest_of_zeros(geometry.chunk_length(index)), DIGEST_SIZE * index):
            raise ChunkFormatError(f"zeros: chunk {index} is none by its digest")


def data_extents(zeros: tuple[int, ...], geometry: Geometry) -> Extents:
    """Return what is not in chunks of zeros. Raises ChunkFormatError."""
    builder, end = ExtentsBuilder(geometry.total_size), 0
    for first, after in runs_of(zeros, geometry.chunk_count):
        if first > end:
            builder.add(geometry.chunk_offset(end), geometry.chunk_offset(first))
        end = after
    if end < geometry.chunk_count:
        builder.add(geometry.chunk_offset(end), geometry.total_size)
    return builder.finish()
