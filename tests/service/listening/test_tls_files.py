"""The files of an `ssl:` endpoint: which they are, and what of them can be presented."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from cryptography.hazmat.primitives import serialization
from tests.certificates import write_certificate
from twisted.internet.endpoints import serverFromString
from twisted.internet.testing import MemoryReactorClock

from aero_storage.errors import CertificateError
from aero_storage.service.listening.tls_files import TLSFiles
from aero_storage.service.listening.tls_material import TLSMaterial

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# Twisted gives pyOpenSSL objects of a kind that it wants no more.
pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a pair and, in `other`, another one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").mkdir()
    for pair in (tmp_path, tmp_path / "other"):
        write_certificate(pair)
    return tmp_path


def material_of(place: Path) -> TLSMaterial:
    """The pair as it is at start."""
    reactor: Any = MemoryReactorClock()
    endpoint: Any = serverFromString(reactor, f"ssl:0:privateKey={place}/key.pem:certKey={place}/cert.pem")
    return TLSMaterial.of(endpoint._sslContextFactory)  # noqa: SLF001


TEXTS: dict[str, tuple[str, str | None]] = {
    "ssl:443:privateKey=key.pem:certKey=cert.pem": ("key.pem cert.pem", None),
    "ssl:443:privateKey=both.pem": ("both.pem both.pem", None),
    "ssl:443": ("server.pem server.pem", None),
    "ssl:443:key.pem:cert.pem:interface=127.0.0.1": ("key.pem cert.pem", None),
    "ssl:port=443:certKey=a\\:b/cert.pem:privateKey=key\\=.pem": ("key=.pem a:b/cert.pem", None),
    "ssl:443:privateKey=key.pem:extraCertChain=chain.pem": ("key.pem key.pem", "chain.pem"),
    "haproxy:ssl:443:privateKey=key.pem": ("key.pem key.pem", None),
}


@pytest.mark.parametrize(("text", "names", "chain"), [(text, *names) for text, names in TEXTS.items()], ids=TEXTS)
def test_names(place: Path, text: str, names: str, chain: str | None) -> None:
    """The files are those that Twisted's parser reads, by absolute paths."""
    key, certificate = (place / name for name in names.split())
    assert TLSFiles.of(text) == TLSFiles(key, certificate, None if chain is None else place / chain)


@pytest.mark.parametrize("text", ["tcp:80", "unix:/run/ssl", "systemd:domain=INET:index=0", "haproxy:tcp:80"])
def test_no_tls(text: str) -> None:
    """Endpoints without TLS have no files."""
    assert TLSFiles.of(text) is None


def test_unchanged(place: Path) -> None:
    """Files that are as they were give what was presented before, whoever wrote the PEM."""
    present = material_of(place)
    assert TLSFiles(place / "key.pem", place / "cert.pem", None).read(present) == present


def test_chain(place: Path) -> None:
    """Certificates of the chain come with the pair, in their order."""
    (place / "chain.pem").write_bytes((place / "other/cert.pem").read_bytes() + (place / "cert.pem").read_bytes())
    read = TLSFiles(place / "key.pem", place / "cert.pem", place / "chain.pem").read(material_of(place))
    assert read.chain == ((place / "other/cert.pem").read_bytes(), (place / "cert.pem").read_bytes())


def _directory(place: Path) -> None:
    (place / "key.pem").unlink()
    (place / "key.pem").mkdir()


def _encrypted(place: Path) -> None:
    key = serialization.load_pem_private_key((place / "key.pem").read_bytes(), None)
    how = serialization.BestAvailableEncryption(b"sesame")
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)
    (place / "key.pem").write_bytes(pem)


BROKEN: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "no file": (lambda place: (place / "cert.pem").unlink(), "cert.pem", "No such file or directory"),
    "a directory": (_directory, "key.pem", "Is a directory"),
    "empty": (lambda place: (place / "cert.pem").write_bytes(b""), "cert.pem", "no certificate in PEM"),
    "no key": (lambda place: (place / "key.pem").write_bytes(b"key"), "key.pem", "no private key in PEM"),
    "encrypted": (_encrypted, "key.pem", "encrypted"),
    "another": (
        lambda place: shutil.copy(place / "other/key.pem", place),
        "key.pem",
        "not the key of the certificate",
    ),
    "no end": (lambda place: (place / "key.pem").write_bytes(bytes(2 << 20)), "key.pem", "more than 1048576 bytes"),
    "no chain": (lambda place: (place / "chain.pem").unlink(), "chain.pem", "No such file"),
    "empty chain": (lambda place: (place / "chain.pem").write_bytes(b"x"), "chain.pem", "no certificate in PEM"),
    "broken chain": (
        lambda place: (place / "chain.pem").write_bytes(
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
        ),
        "chain.pem",
        "no certificate in PEM",
    ),
}


@pytest.mark.parametrize(("damage", "name", "reason"), BROKEN.values(), ids=BROKEN)
def test_broken(place: Path, damage: Callable[[Path], object], name: str, reason: str) -> None:
    """What cannot be presented is refused, with file and reason; nobody is asked for a password."""
    shutil.copy(place / "cert.pem", place / "chain.pem")
    present = material_of(place)
    damage(place)
    with pytest.raises(CertificateError, match=reason) as caught:
        TLSFiles(place / "key.pem", place / "cert.pem", place / "chain.pem").read(present)
    assert caught.value.path == place / name


def test_endpoint_keeps_its_method(place: Path) -> None:
    """What the endpoint says beside the files stays."""
    present = attrs.evolve(material_of(place), parameters=None)
    shutil.copy(place / "other/key.pem", place)
    shutil.copy(place / "other/cert.pem", place)
    read = TLSFiles(place / "key.pem", place / "cert.pem", None).read(present)
    assert (read.method, read.parameters) == (present.method, present.parameters)
    assert read.certificate != present.certificate
