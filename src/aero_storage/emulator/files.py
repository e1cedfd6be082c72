"""The directory of the emulator's files: their names, and its document, which has digests and licences.

Functions here wait for a disk.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs

from aero_storage import strict_json
from aero_storage.errors import JsonError

DOCUMENT = "parts.json"
"""It is written last and read first."""

SCRIPT, CODE, BIOS, VGA_BIOS = "libv86.mjs", "v86.wasm", "bios.bin", "vgabios.bin"
NEEDED = frozenset({SCRIPT, CODE, BIOS, VGA_BIOS})
"""The files that a PC is made of; the others are licences."""

_MOST_BYTES = 32 << 20
"""Of all files together: the daemon keeps them in memory."""

_MOST_DOCUMENT_BYTES = 64 << 10
_MOST_VALUES = 500
_MOST_FILES = 500


class EmulatorFilesError(Exception):
    """The files are not as their document says; the message is one line that names the file."""


@attrs.frozen
class Work:
    """Somebody's work: its version, its licence by SPDX, the file that has the licence's text, where it is from."""

    name: str
    version: str
    licence: str
    licence_file: str
    url: str

    def told(self) -> dict[str, str]:
        """The same for JSON."""
        return {field.name: str(getattr(self, field.name)) for field in attrs.fields(Work)}


@attrs.frozen
class EmulatorFiles:
    """Files by their names, and the works that they are of."""

    files: Mapping[str, bytes] = attrs.field(repr=False)
    works: tuple[Work, ...]

    def document(self) -> bytes:
        """The document that describes them."""
        digests = {name: hashlib.sha256(body).hexdigest() for name, body in sorted(self.files.items())}
        works = [work.told() for work in self.works]
        return json.dumps({"files": digests, "works": works}, indent=2).encode() + b"\n"


def read_emulator_files(directory: Path) -> EmulatorFiles | None:
    """Read all files of a directory; None if it has none. Raises EmulatorFilesError and OSError."""
    document = _read_document(directory / DOCUMENT)
    return None if document is None else EmulatorFiles(dict(_checked(directory, document[0])), document[1])


def read_digests(document: Path) -> Mapping[str, str] | None:
    """Return the digests that a document has of files, by their names; None if there is no document.

    Raises EmulatorFilesError and OSError.
    """
    found = _read_document(document)
    return None if found is None else found[0]


def _read_document(path: Path) -> tuple[dict[str, str], tuple[Work, ...]] | None:
    document = read_bounded(path, _MOST_DOCUMENT_BYTES)
    if document is None and not path.exists():
        return None
    try:
        return _parse(document or b"")
    except (JsonError, TypeError, KeyError, AttributeError):
        raise EmulatorFilesError(f"{path} is no document of these files") from None


def _parse(document: bytes) -> tuple[dict[str, str], tuple[Work, ...]]:
    told = strict_json.load(document, _MOST_VALUES)
    digests = {str(name): str(digest) for name, digest in told["files"].items()}  # type: ignore[index]
    works = tuple(Work(**{key: str(value) for key, value in work.items()}) for work in told["works"])  # type: ignore[index]
    if not digests.keys() >= NEEDED or any(work.licence_file not in digests for work in works):
        raise KeyError(DOCUMENT)
    return digests, works


def _checked(directory: Path, digests: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
    left = _MOST_BYTES
    for name, digest in digests.items():
        path = directory / name
        body = read_bounded(path, left) if Path(name).name == name and name.isprintable() else None
        if body is None:
            raise EmulatorFilesError(f"{str(path)!r} is missing, or too long")
        left -= len(body)
        if hashlib.sha256(body).hexdigest() != digest:
            raise EmulatorFilesError(f"{path} is not what was fetched")
        yield name, body


def read_bounded(path: Path, most: int) -> bytes | None:
    """Return the content of a regular file; None if there is none, or if it is longer than `most`."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        with open(descriptor, "rb", closefd=False) as file:
            body = file.read(most + 1)
    finally:
        os.close(descriptor)
    return None if len(body) > most else body


def files_signature(directory: Path) -> tuple[tuple[str, int, int, int], ...]:
    """Return what changes when any file of a directory does: a fault may be repaired without a new document.

    Raises OSError.
    """
    with os.scandir(directory) as entries:
        found = [(entry.name, entry.stat(follow_symlinks=False)) for entry in itertools.islice(entries, _MOST_FILES)]
    return tuple(sorted((name, status.st_ino, status.st_size, status.st_ctime_ns) for name, status in found))


def signature(directory: Path) -> tuple[int, int, int] | None:
    """Return what changes when the document is written anew, or may be read now; None if there is none.

    Raises OSError.
    """
    try:
        status = (directory / DOCUMENT).stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_size, status.st_ctime_ns
