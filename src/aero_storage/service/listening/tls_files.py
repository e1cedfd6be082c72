"""The files of an `ssl:` endpoint: which they are, and what is in them now."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
from twisted.internet import endpoints

from aero_storage.errors import CertificateError

if TYPE_CHECKING:  # an extra; with such endpoints it is installed
    from cryptography.x509 import Certificate

    from aero_storage.service.listening.tls_material import TLSMaterial

_ARGUMENTS = ("port", "privateKey", "certKey", "sslmethod", "interface", "backlog", "extraCertChain")
"""The arguments of an `ssl:` endpoint, in Twisted's order."""

_MOST_BYTES = 1024 * 1024
"""Limit of one file: a name that leads elsewhere, to a device perhaps, must not fill the memory."""

_PEM_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----\n.+?\n-----END CERTIFICATE-----", re.DOTALL)


@attrs.frozen
class TLSFiles:
    """The files of an endpoint, by absolute paths: `twistd` changes its directory after the start."""

    key: Path
    certificate: Path
    chain: Path | None

    @classmethod
    def of(cls, text: str) -> TLSFiles | None:
        """Return the files that an endpoint's text names; None for an endpoint without TLS."""
        kind, *positional = (words := endpoints._parse(text))[0]  # noqa: SLF001
        while kind.lower() == "haproxy" and positional:
            kind, *positional = positional
        if kind != "ssl":
            return None
        named = {**dict(zip(_ARGUMENTS, positional, strict=False)), **words[1]}
        key = named.get("privateKey", "server.pem")
        chain = named.get("extraCertChain")
        return cls(
            key=Path(key).absolute(),
            certificate=Path(named.get("certKey", key)).absolute(),
            chain=None if chain is None else Path(chain).absolute(),
        )

    def read(self, present: TLSMaterial) -> TLSMaterial:
        """Return what is in the files, with method and parameters of the material at `present`.

        Raises CertificateError, which names the file, unless a connection can be made with it. Waits for the disk.
        """
        read = attrs.evolve(
            present,
            certificate=_content(self.certificate),
            key=_content(self.key),
            chain=() if self.chain is None else _chain(self.chain),
        )
        _check_pair(self, read)
        try:
            return read.checked()
        except Exception as error:
            raise CertificateError(self.certificate, f"OpenSSL refuses it: {_one_line(error)}") from error


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise CertificateError(path, error.strerror or type(error).__name__) from error
    if len(content) > _MOST_BYTES:
        raise CertificateError(path, f"it has more than {_MOST_BYTES} bytes")
    return content


def _chain(path: Path) -> tuple[bytes, ...]:
    found = tuple(_PEM_CERTIFICATE.findall(_content(path)))
    if not found:
        raise CertificateError(path, "no certificate in PEM")
    for certificate in found:
        _certificate(path, certificate)
    return found


def _certificate(path: Path, pem: bytes) -> Certificate:
    from cryptography.x509 import load_pem_x509_certificate  # noqa: PLC0415 - an extra

    try:
        return load_pem_x509_certificate(pem)
    except ValueError as error:
        raise CertificateError(path, "no certificate in PEM") from error


def _check_pair(files: TLSFiles, read: TLSMaterial) -> None:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415 - an extra

    certificate = _certificate(files.certificate, read.certificate)
    try:
        # With OpenSSL's own reader, an encrypted key asks for its password at the terminal.
        key = load_pem_private_key(read.key, password=None)
    except TypeError as error:
        raise CertificateError(files.key, "the private key is encrypted") from error
    except Exception as error:  # ValueError, or UnsupportedAlgorithm
        raise CertificateError(files.key, "no private key in PEM that can be used") from error
    if key.public_key() != certificate.public_key():
        raise CertificateError(files.key, f"it is not the key of the certificate in {files.certificate}")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
