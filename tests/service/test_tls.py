"""What an `ssl:` endpoint was configured with, on its way to a worker."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL
from tests.certificates import write_certificate
from twisted.internet.endpoints import serverFromString
from twisted.internet.ssl import CertificateOptions
from twisted.internet.testing import MemoryReactorClock

from aero_storage.service.tls import TLSMaterial

if TYPE_CHECKING:
    from pathlib import Path

PEM = serialization.Encoding.PEM
FORM = serialization.PrivateFormat.TraditionalOpenSSL


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with a key, a certificate, and a chain of two, all of them the same."""
    write_certificate(tmp_path)
    (tmp_path / "chain.pem").write_bytes((tmp_path / "cert.pem").read_bytes() * 2)
    return tmp_path


def options_of(place: Path, more: str = "") -> CertificateOptions:
    reactor: Any = MemoryReactorClock()
    text = f"ssl:443:privateKey={place}/key.pem:certKey={place}/cert.pem{more}"
    options: CertificateOptions = serverFromString(reactor, text)._sslContextFactory  # noqa: SLF001
    return options


def shown(options: CertificateOptions) -> tuple[Any, ...]:
    assert options.privateKey is not None
    assert options.certificate is not None
    return (
        options.privateKey.to_cryptography_key().private_bytes(PEM, FORM, serialization.NoEncryption()),  # type: ignore[union-attr]
        options.certificate.to_cryptography(),
        [certificate.to_cryptography() for certificate in options.extraCertChain],
        options.method,
        options._options,  # noqa: SLF001
        options._cipherString,  # noqa: SLF001
    )


@pytest.mark.parametrize("more", ["", ":extraCertChain={place}/chain.pem"], ids=["plain", "chain"])
def test_round_trip(place: Path, more: str) -> None:
    """A worker shows the key, the certificates and the ciphers of the endpoint, though the files are gone."""
    options = options_of(place, more.format(place=place))
    travelling = pickle.dumps(TLSMaterial.of(options))
    for name in ("key.pem", "cert.pem", "chain.pem"):
        (place / name).unlink()
    material: TLSMaterial = pickle.loads(travelling)
    assert shown(material.options()) == shown(options)


@pytest.mark.filterwarnings("ignore:Passing method")
def test_method(place: Path) -> None:
    """A method that the endpoint names is named to the worker too."""
    options = options_of(place, ":sslmethod=TLSv1_2_METHOD")
    assert TLSMaterial.of(options).options().method == SSL.TLSv1_2_METHOD


def test_parameters(place: Path) -> None:
    """Diffie-Hellman parameters are read from their file, as they are without workers."""
    options = options_of(place, f":dhParameters={place}/dh.pem")
    material: TLSMaterial = pickle.loads(pickle.dumps(TLSMaterial.of(options)))
    parameters = material.options().dhParameters
    assert parameters is not None
    assert parameters._dhFile.path == str(place / "dh.pem")  # noqa: SLF001


def test_key_is_not_shown(place: Path) -> None:
    """The key stays out of whatever prints the material."""
    assert "PRIVATE" not in repr(TLSMaterial.of(options_of(place)))
