"""From paths below an images root to keys of objects, and which of them never change."""

from __future__ import annotations

import re
from functools import lru_cache

from aero_storage.catalog.model import CHUNKED, MANIFEST_NAME
from aero_storage.errors import BlobNotFoundError

_CHUNKS = "chunks"
_CHUNK = re.compile(r"[0-9]+\.bin", re.ASCII)
_VERSIONED_MANIFEST, _VERSIONED_CHUNK = 4, 5
"""Parts of the paths chunked/<id>/<version>/manifest.json and chunked/<id>/<version>/chunks/<number>.bin."""


MAPS = ".aero-storage~/extents"
"""The directory of the maps of extents: below it, the key of the object that a map is about. No listing shows it."""


@lru_cache(maxsize=16_384)
def key_of(path: str) -> str:
    """Return the key of a path relative to the root. Raises BlobNotFoundError if no object can lie there."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            if not parts:
                raise BlobNotFoundError(f"{path}: outside the images root")
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    if not parts or path.startswith("/") or path.rpartition("/")[2] in ("", ".", ".."):
        raise BlobNotFoundError(f"{path}: not the path of an object below the images root")
    return "/".join(parts)


def is_chunk_file(name: str) -> bool:
    """Return whether a publication makes files of this name."""
    return _CHUNK.fullmatch(name) is not None


def is_immutable(key: str) -> bool:
    """Return whether an object never changes while it exists: a chunk or a chunk manifest of a version."""
    parts = key.split("/")
    if parts[0] != CHUNKED:
        return False
    if len(parts) == _VERSIONED_MANIFEST:
        return parts[3] == MANIFEST_NAME
    return len(parts) == _VERSIONED_CHUNK and parts[3] == _CHUNKS and is_chunk_file(parts[4])


def map_key(key: str) -> str:
    """Return the key of the map of extents of an object."""
    return f"{MAPS}/{key}"
