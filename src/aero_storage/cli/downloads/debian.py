"""Packages from a mirror of Debian, by its index: the release names the index, the index each package, by SHA-256."""

from __future__ import annotations

import ipaddress
import lzma
import re
import shutil
import subprocess
import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote, urlsplit

import attrs

from aero_storage.cli.downloads.cache import Digest, Downloads, UnavailableError
from aero_storage.errors import OperatorError
from aero_storage.http.digests import is_sha256

PUBLIC_MIRROR = "https://deb.debian.org/debian"
SUITE = "bookworm"
"""The last release with a kernel for PCs of 32 bits, as v86 is one."""

ARCHITECTURE = "i386"
_INDEX = f"main/binary-{ARCHITECTURE}/Packages.xz"
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_MOST_RELEASE_BYTES = 4 << 20
_MOST_INDEX_BYTES = 256 << 20
_SHA256_LINE = re.compile(r" ([0-9a-f]{64}) +([0-9]+) (\S+)")
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
        release = self.downloads.small(f"{directory}/InRelease", f"Debian {self.suite}", _MOST_RELEASE_BYTES)
        text = self._trusted(release)
        sha256 = digest_in(text, _INDEX)
        if sha256 is None:
            raise UnavailableError(f"{directory}/InRelease: has no digest of {_INDEX}")
        path = _INDEX
        if "\nAcquire-By-Hash: yes" in text:  # the plain path may have the next index already
            path = f"{_INDEX.rpartition('/')[0]}/by-hash/SHA256/{sha256}"
        return self.downloads.file(f"{directory}/{path}", Digest("sha256", sha256), "Debian's list of packages")

    def _trusted(self, release: bytes) -> str:
        """Return the text of a release that comes over TLS or from this machine, or is signed by Debian."""
        if not is_trustworthy(self.url):
            return verified(release, self.url).decode("utf-8", "replace")
        return release.decode("utf-8", "replace")


def is_trustworthy(url: str) -> bool:
    """Return whether nobody on the way can change what comes from a URL."""
    parts = urlsplit(url)
    try:
        return parts.scheme == "https" or ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return parts.hostname == "localhost"


def verified(release: bytes, url: str, keyring: Path = _KEYRING) -> bytes:
    """Return the signed text of a release. Raises OperatorError if it is not signed by Debian, or nobody can tell."""
    gpgv = shutil.which("gpgv")
    if gpgv is None or not keyring.exists():
        raise OperatorError(
            f"{url} is plain http, and who signed it cannot be told here; name a mirror by https, or install gpgv "
            "and debian-archive-keyring"
        )
    with tempfile.TemporaryDirectory(prefix="aero-release-") as place:
        signed, text = Path(place) / "InRelease", Path(place) / "Release"
        signed.write_bytes(release)
        command = [gpgv, "--quiet", "--keyring", str(keyring), "--output", str(text), str(signed)]
        done = subprocess.run(command, capture_output=True, check=False, timeout=60)  # noqa: S603 - gpgv, our words
        if done.returncode or not text.exists():
            raise OperatorError(f"{url}: its InRelease has no good signature of Debian")
        return text.read_bytes()


def digest_in(release: str, path: str) -> str | None:
    """Return the SHA-256 of a file of a release."""
    lines = release.partition("\nSHA256:\n")[2].splitlines()
    found = (_SHA256_LINE.fullmatch(line) for line in lines)
    return next((line[1] for line in found if line is not None and line[3] == path), None)


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
