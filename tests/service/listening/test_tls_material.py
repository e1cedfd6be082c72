"""What an `ssl:` endpoint was configured with, on its way to a worker."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL
from tests.certificates import write_certificate
from twisted.internet.endpoints import serverFromString
from twisted.internet.ssl import CertificateOptions
from twisted.internet.testing import MemoryReactorClock

from aero_storage.service.listening.tls_material import TLSMaterial

if TYPE_CHECKING:
    from pathlib import Path

PEM = serialization.Encoding.PEM
FREED = """
import gc, sys, weakref
from types import SimpleNamespace
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import DefaultOpenSSLContextFactory
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from aero_storage.service.listening.tls_material import free_tls_at_end

factory = TLSMemoryBIOFactory(
    DefaultOpenSSLContextFactory("key.pem", "cert.pem"), False, Factory.forProtocol(Protocol)
)
if sys.argv[1] == "ours":
    free_tls_at_end(SimpleNamespace(factory=factory))
gc.disable()
connection = factory.buildProtocol(None)
transport = StringTransport()
connection.makeConnection(transport)
if sys.argv[2] == "amid a stream":
    connection.registerProducer(SimpleNamespace(consumer=connection, stopProducing=gc.collect), True)
    transport.unregisterProducer()  # as TCP does when the connection is lost
state, whole = weakref.ref(connection._tlsConnection), weakref.ref(connection)
connection.connectionLost(Failure(ConnectionDone()))
del connection, transport
print(state() is None and whole() is None)
"""
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
        options._options & ~SSL.OP_NO_TICKET,  # noqa: SLF001 - tickets are ours
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


def freed(place: Path, how: str, when: str) -> bool:
    done = subprocess.run(
        [sys.executable, "-c", FREED, how, when], cwd=place, capture_output=True, text=True, check=True
    )
    return {"True\n": True, "False\n": False}[done.stdout]


@pytest.mark.parametrize("when", ["between requests", "amid a stream"])
def test_freed_at_end(place: Path, when: str) -> None:
    """OpenSSL's state goes with a connection whose client just goes; by itself it waits for the collector of cycles.

    In a process of its own: pytest-twisted keeps the stacks of failures.
    """
    assert freed(place, "ours", when)
    assert not freed(place, "twisted's", when)


def test_key_is_not_shown(place: Path) -> None:
    """The key stays out of whatever prints the material."""
    assert "PRIVATE" not in repr(TLSMaterial.of(options_of(place)))
