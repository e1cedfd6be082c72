"""Checks of a directory with a version's name. A published version never changes: clients cache it for a year."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import attrs

from aero_storage.catalog.model import MANIFEST_NAME
from aero_storage.chunks.manifest import (
    CHUNKS_DIRECTORY,
    MAX_MANIFEST_BYTES,
    ChunkManifest,
)
from aero_storage.chunks.manifest_parser import parse_chunk_manifest
from aero_storage.errors import ChunkFormatError, OperatorError


def require_room(directory: Path, draft: ChunkManifest) -> None:
    """Raise OperatorError if `directory` holds something else than the version of `draft`, as yet without digests."""
    if not os.path.lexists(directory) or _begins_with(directory, [draft.to_json().removesuffix(b"}")]):
        return
    existing = _parsed(directory)
    if existing.digests is None or attrs.evolve(existing, digests=None) != draft:
        raise _taken(directory, "it is of other content")


def is_published(directory: Path, manifest: ChunkManifest) -> bool:
    """Return whether `directory` holds exactly this version. Raises OperatorError if it holds anything else."""
    if not os.path.lexists(directory):
        return False
    # Compare bytes first: a parsed manifest of half a million chunks takes 130 MiB.
    if not (_begins_with(directory, manifest.pieces(), whole=True) or _parsed(directory) == manifest):
        raise _taken(directory, "it is of other content")
    damaged = next(_damaged(directory, manifest), None)
    if damaged is not None:
        raise OperatorError(
            f"{directory} was published before, but its {damaged} is missing or cut short; remove its chunks "
            f"(aero-storage remove {manifest.image_id} --chunks-only) and publish again"
        )
    return True


def _damaged(directory: Path, manifest: ChunkManifest) -> Iterator[str]:
    """Yield the chunks that are missing or of another length; the verifier checks their content."""
    for index in range(manifest.chunk_count):
        name = manifest.chunk_name(index)
        try:
            size = (directory / CHUNKS_DIRECTORY / name).stat().st_size
        except FileNotFoundError:
            size = -1
        if size != manifest.chunk_length(index):
            yield name


def _begins_with(directory: Path, pieces: Iterable[bytes], *, whole: bool = False) -> bool:
    """Return whether the manifest in `directory` begins with these bytes; if `whole`, whether it equals them."""
    try:
        with (directory / MANIFEST_NAME).open("rb") as file:
            return all(file.read(len(piece)) == piece for piece in pieces) and not (whole and file.read(1))
    except OSError:  # reported when it is parsed
        return False


def _parsed(directory: Path) -> ChunkManifest:
    try:
        with (directory / MANIFEST_NAME).open("rb") as file:
            return parse_chunk_manifest(file.read(MAX_MANIFEST_BYTES + 1))
    except OSError as error:
        raise _taken(directory, f"{MANIFEST_NAME} in it cannot be read ({error.strerror})") from error
    except ChunkFormatError as error:
        raise _taken(directory, f"{MANIFEST_NAME} in it is invalid ({error})") from error


def _taken(directory: Path, reason: str) -> OperatorError:
    return OperatorError(
        f"{directory} is there already and {reason}; choose another version name, or remove it first"
    )
