"""Packages from a mirror of Debian, by its index: the release names the index, the index each package, by SHA-256."""

from __future__ import annotations

import lzma
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import attrs

from aero_storage.cli.downloads.cache import Digest, Downloads, UnavailableError
from aero_storage.cli.downloads.debian_release import KEYRING, check_suite, check_validity, digest_in, signed_text
from aero_storage.http.digests import is_sha256

PUBLIC_MIRROR = "https://deb.debian.org/debian"
SUITE = "bookworm"
"""The last release with a kernel for PCs of 32 bits, as v86 is one."""

ARCHITECTURE = "i386"
_INDEX = f"main/binary-{ARCHITECTURE}/Packages.xz"
_MOST_RELEASE_BYTES = 4 << 20
_MOST_INDEX_BYTES = 256 << 20
_FIELD = re.compile(rb"^([A-Za-z0-9-]+):[ \t]*(.*)$", re.MULTILINE)
_SAFE_PATH = re.compile(r"pool/[A-Za-z0-9./+~:_-]+\.deb")


@attrs.frozen
class DebianPackage:
    """A package of the index."""

    name: str
    version: str
    path: str
    sha256: str
    depends: str
    source: str


@attrs.define
class Mirror:
    """A mirror of Debian."""

    url: str
    downloads: Downloads
    suite: str = SUITE
    keyring: Path = KEYRING
    now: Callable[[], float] = time.time
    _content: bytes | None = attrs.field(init=False, default=None, repr=False)

    def fetch(self, package: DebianPackage) -> Path:
        """Return the file of a package. Raises UnavailableError, and OSError."""
        address = f"{self._base}/{quote(package.path, safe='/+~:')}"
        return self.downloads.file(address, Digest("sha256", package.sha256), f"{package.name} {package.version}")

    def find(self, names: Collection[str]) -> dict[str, DebianPackage]:
        """Return packages by their names. Raises UnavailableError if one is not there, and OSError."""
        found = {one.name: one for one in packages_in(self._read_index(), names)}
        if missing := sorted(set(names) - found.keys()):
            raise UnavailableError(f"{self._base}: {self.suite} has no package {missing[0]}")
        return found

    @property
    def _base(self) -> str:
        return self.url.rstrip("/")

    def _read_index(self) -> bytes:
        """Return the index; it is read once."""
        if self._content is None:
            self._content = decompressed(self._index())
        return self._content

    def _index(self) -> Path:
        """Return the file of the index, compressed."""
        directory = f"{self._base}/dists/{self.suite}"
        text = self._release(f"{directory}/InRelease")
        sha256 = digest_in(text, _INDEX)
        if sha256 is None:
            raise UnavailableError(f"{directory}/InRelease: has no digest of {_INDEX}")
        path = _INDEX
        if "\nAcquire-By-Hash: yes" in text:  # the plain path may have the next index already
            path = f"{_INDEX.rpartition('/')[0]}/by-hash/SHA256/{sha256}"
        return self.downloads.file(f"{directory}/{path}", Digest("sha256", sha256), "Debian's list of packages")

    def _release(self, url: str) -> str:
        """Return the text of the release, which came over TLS or from this machine, or is signed by Debian.

        A signed one may be an old one, so its time counts; an archive over TLS may be as old as it is.
        """
        document = self.downloads.small(url, f"Debian {self.suite}", _MOST_RELEASE_BYTES)
        if document.is_unaltered:
            text = document.content.decode("utf-8", "replace")
        else:
            text = signed_text(document.content, document.url, self.keyring)
            check_validity(text, self.now(), document.url)
        check_suite(text, self.suite, document.url)
        return text


def decompressed(index: Path) -> bytes:
    """Return the content of an index, some 50 MB. Raises UnavailableError."""
    try:
        with lzma.open(index) as file:
            content = file.read(_MOST_INDEX_BYTES + 1)
    except (lzma.LZMAError, EOFError) as error:
        raise UnavailableError(f"{index.name} cannot be decompressed: {error}") from error
    if len(content) > _MOST_INDEX_BYTES:
        raise UnavailableError(f"{index.name} is too long")
    return content


def packages_in(index: bytes, names: Collection[str]) -> Iterator[DebianPackage]:
    """Yield those packages of an index that have one of these names."""
    wanted = b"|".join(re.escape(name.encode()) for name in names)
    for found in re.finditer(rb"^Package: (?:%b)\n(?:.+\n)*" % wanted, index, re.MULTILINE):
        if (package := _package(found[0])) is not None:
            yield package


def _package(stanza: bytes) -> DebianPackage | None:
    fields: Mapping[str, str] = {
        key.decode().lower(): value.decode("utf-8", "replace") for key, value in _FIELD.findall(stanza)
    }
    path, sha256, name = fields.get("filename", ""), fields.get("sha256", ""), fields.get("package", "")
    if not _SAFE_PATH.fullmatch(path) or ".." in path or not is_sha256(sha256):
        return None
    source = fields.get("source", name).partition(" ")[0]
    return DebianPackage(name, fields.get("version", ""), path, sha256, fields.get("depends", ""), source)
