"""Checks of a directory with a version's name. A published version never changes: clients cache it for a year."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import attrs

from aero_storage.chunks.manifest import (
    CHUNKS_DIRECTORY,
    MANIFEST_NAME,
    MAX_MANIFEST_BYTES,
    ChunkManifest,
    parse_chunk_manifest,
)
from aero_storage.errors import ChunkFormatError, OperatorError


def require_room(place: Path, draft: ChunkManifest) -> None:
    """Raise OperatorError if `place` holds something other than the version of `draft`, which has no digests yet."""
    if not os.path.lexists(place) or _begins_with(place, [draft.to_json().removesuffix(b"}")]):
        return
    existing = _parsed(place)
    if existing.digests is None or attrs.evolve(existing, digests=None) != draft:
        raise _taken(place, "it is of other content")


def is_published(place: Path, manifest: ChunkManifest) -> bool:
    """Return whether `place` holds exactly this version. Raises OperatorError if it holds anything else."""
    if not os.path.lexists(place):
        return False
    # Compare bytes first: a parsed manifest of half a million chunks takes 130 MiB.
    if not (_begins_with(place, manifest.pieces(), whole=True) or _parsed(place) == manifest):
        raise _taken(place, "it is of other content")
    damaged = next(_damaged(place, manifest), None)
    if damaged is not None:
        raise OperatorError(
            f"{place} was published before, but its {damaged} is missing or cut short; remove its chunks "
            f"(aero-storage remove {manifest.image_id} --chunks-only) and publish again"
        )
    return True


def _damaged(place: Path, manifest: ChunkManifest) -> Iterator[str]:
    """Yield the chunks that are missing or of another length; the verifier checks their content."""
    for index in range(manifest.chunk_count):
        name = manifest.chunk_name(index)
        try:
            size = (place / CHUNKS_DIRECTORY / name).stat().st_size
        except FileNotFoundError:
            size = -1
        if size != manifest.chunk_length(index):
            yield name


def _begins_with(place: Path, pieces: Iterable[bytes], *, whole: bool = False) -> bool:
    """Return whether the manifest in `place` begins with these bytes; if `whole`, whether it equals them."""
    try:
        with (place / MANIFEST_NAME).open("rb") as file:
            return all(file.read(len(piece)) == piece for piece in pieces) and not (whole and file.read(1))
    except OSError:  # reported when it is parsed
        return False


def _parsed(place: Path) -> ChunkManifest:
    try:
        with (place / MANIFEST_NAME).open("rb") as file:
            return parse_chunk_manifest(file.read(MAX_MANIFEST_BYTES + 1))
    except OSError as error:
        raise _taken(place, f"{MANIFEST_NAME} in it cannot be read ({error.strerror})") from error
    except ChunkFormatError as error:
        raise _taken(place, f"{MANIFEST_NAME} in it is invalid ({error})") from error


def _taken(place: Path, reason: str) -> OperatorError:
    return OperatorError(f"{place} is there already and {reason}; choose another version name, or remove it first")
