"""Finds what lies among the chunks of an image and no publication made: it is not ours to remove."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress

from aero_storage.atomic_files import Directory
from aero_storage.catalog.model import CHUNKED, MANIFEST_NAME
from aero_storage.chunks.manifest import CHUNKS_DIRECTORY
from aero_storage.chunks.publish.publisher import STAGING_NAME
from aero_storage.cli.terminal import printable
from aero_storage.errors import OperatorError
from aero_storage.http.identifiers import is_version

_CHUNK = re.compile(r"[0-9]+\.bin", re.ASCII)


def is_chunk_file(name: str) -> bool:
    """Return whether a publication makes files of this name."""
    return _CHUNK.fullmatch(name) is not None


def refuse_foreign_files(root: Directory, image_id: str) -> None:
    """Raise OperatorError if something of the operator's own would be removed with all chunks of an image."""
    found = next(_foreign(root, image_id), None)
    if found is not None:
        raise OperatorError(
            f"{printable(root.path / found, None)} is no chunk, and would be removed with them; move it away first"
        )


def _foreign(root: Directory, image_id: str) -> Iterator[str]:
    """Yield the paths, relative to the root, of what no publication made. Links are removed as such: not followed."""
    top = (CHUNKED, image_id)
    for name, is_directory in _entries(root, *top):
        if is_directory and name == CHUNKS_DIRECTORY:
            yield from _no_chunks(root, *top, name)
        elif is_directory and is_version(name):
            yield from _foreign_in_version(root, *top, name)
        elif name not in {MANIFEST_NAME, STAGING_NAME}:
            yield "/".join((*top, name))


def _foreign_in_version(root: Directory, *path: str) -> Iterator[str]:
    for name, is_directory in _entries(root, *path):
        if is_directory and name == CHUNKS_DIRECTORY:
            yield from _no_chunks(root, *path, name)
        elif name != MANIFEST_NAME:
            yield "/".join((*path, name))


def _no_chunks(root: Directory, *path: str) -> Iterator[str]:
    with suppress(OSError, OperatorError), root.below(*path) as directory:
        yield from ("/".join((*path, name)) for name in directory.names() if not is_chunk_file(name))


def _entries(root: Directory, *path: str) -> Iterator[tuple[str, bool]]:
    """Yield the names in a directory, each with whether it is a directory; none of one that is missing, or a link."""
    with suppress(OSError, OperatorError), root.below(*path) as directory:
        yield from [(name, directory.is_directory(name)) for name in directory.names()]
