"""Keys of what the commands write into a bucket: new ones for each run, which nothing names yet.

A bucket has no locks: two commands on two machines may work on one image. So none writes what another may be writing.
"""

from __future__ import annotations

import posixpath
import secrets
from collections.abc import Iterable
from pathlib import PurePosixPath

from aero_storage.catalog.model import CHUNKED, MANIFEST_NAME, Catalog, Image, chunked_directory
from aero_storage.cli.image_files import IMPORTED

OURS = ".aero-storage~"
"""The directory of objects of the commands alone: no listing shows it, and no id contains `~`."""

_SUFFIX = ".img"
_TOKEN_BYTES = 6


def key_of(file: str) -> str:
    """Return the key of a file as an entry names it; `sub/./a.img` is the key `sub/a.img`."""
    return posixpath.normpath(file)


def file_key(image: Image) -> str:
    """Return the key of an image's raw file."""
    return key_of(image.file)


def new_token() -> str:
    """Return a text that no other run has."""
    return secrets.token_hex(_TOKEN_BYTES)


def imported_directory(image_id: str) -> str:
    """Return where the imports of an image lie."""
    return f"{IMPORTED}/{image_id}"


def new_imported_key(image_id: str, present: Iterable[str]) -> str:
    """Return a key for an import, `imported/ID/N-….img`; N counts the imports that are `present`."""
    numbers = [PurePosixPath(key).stem.partition("-")[0] for key in present]
    number = max((int(text) for text in numbers if is_number(text)), default=0) + 1
    return f"{imported_directory(image_id)}/{number}-{new_token()}{_SUFFIX}"


def is_number(text: str) -> bool:
    """Return whether a text is a number that an import has counted."""
    return text.isascii() and text.isdecimal() and len(text) < 10  # noqa: PLR2004 - digits


def is_imported_key(image_id: str, key: str) -> bool:
    """Return whether an import of this id made an object with this key: to a bucket, or before a copy to it."""
    path = PurePosixPath(key)
    number = path.stem.partition("-")[0]
    return str(path.parent) == imported_directory(image_id) and path.suffix == _SUFFIX and is_number(number)


def chunks_of(image_id: str) -> str:
    """Return where all chunks of an image lie."""
    return f"{CHUNKED}/{image_id}"


def version_directory(image_id: str, version: str | None) -> str:
    """Return where a version lies, or the unversioned chunks."""
    return str(chunked_directory(image_id, version))


def chunk_manifest_key(directory: str) -> str:
    """Return the key of the chunk manifest in a version's directory."""
    return f"{directory}/{MANIFEST_NAME}"


def named_by(catalog: Catalog) -> frozenset[str]:
    """Return the keys of all raw files that the catalog names."""
    return frozenset(file_key(image) for image in catalog.images)
