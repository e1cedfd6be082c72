"""Packages of npm's registry: their document names the archive; the digest is ours."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Collection
from pathlib import Path

import attrs

from aero_storage.cli.downloads.cache import Digest, Downloads, UnavailableError

PUBLIC_REGISTRY = "https://registry.npmjs.org"
_MOST_DOCUMENT_BYTES = 4 << 20
_MOST_MEMBER_BYTES = 32 << 20


@attrs.frozen
class NpmPackage:
    """A version of a package; `integrity` is what its archive has to be."""

    name: str
    version: str
    integrity: str


def fetch(downloads: Downloads, registry: str, package: NpmPackage) -> Path:
    """Return the archive of a package. Raises UnavailableError, and OSError."""
    address = f"{registry.rstrip('/')}/{package.name}/{package.version}"
    document = downloads.small(address, f"{package.name} in npm's registry", _MOST_DOCUMENT_BYTES)
    try:
        archive = str(json.loads(document.content)["dist"]["tarball"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UnavailableError(f"{address}: is no document of npm's registry") from None
    return downloads.file(archive, Digest.of_integrity(package.integrity), f"{package.name} {package.version}")


def read_members(archive: Path, names: Collection[str]) -> dict[str, bytes]:
    """Return files of an archive by their names in the package. Raises UnavailableError if one is missing."""
    with tarfile.open(archive, "r:gz") as tar:
        found = {
            member.name.partition("/")[2]: tar.extractfile(member)
            for member in tar
            if member.isfile() and member.name.partition("/")[2] in names and member.size <= _MOST_MEMBER_BYTES
        }
        files = {name: file.read() for name, file in found.items() if file is not None}
    if missing := sorted(set(names) - files.keys()):
        raise UnavailableError(f"{archive.name} has no file {missing[0]}")
    return files
