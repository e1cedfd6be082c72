"""What an `ssl:` endpoint was configured with, in a form that another process can be handed.

The parent reads keys while it may: workers are started after it has dropped its privileges. And a worker that
replaces another must show the certificate that its siblings show.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:  # pyOpenSSL is an extra, which is there where there are such endpoints
    from twisted.internet.ssl import CertificateOptions, DiffieHellmanParameters


@attrs.frozen
class TLSMaterial:
    """Key and certificates, as PEM."""

    key: bytes = attrs.field(repr=False)
    certificate: bytes
    chain: tuple[bytes, ...]
    method: int | None
    """Of OpenSSL's, where the endpoint names one; None for what Twisted takes to be safe."""
    parameters: DiffieHellmanParameters | None

    @classmethod
    def of(cls, options: CertificateOptions) -> TLSMaterial:
        """What the options of an endpoint hold."""
        from cryptography.hazmat.primitives import serialization as form  # noqa: PLC0415
        from OpenSSL import SSL  # noqa: PLC0415

        assert options.privateKey is not None  # noqa: S101
        assert options.certificate is not None  # noqa: S101
        key, pem = options.privateKey.to_cryptography_key(), form.Encoding.PEM
        return cls(
            key=key.private_bytes(pem, form.PrivateFormat.PKCS8, form.NoEncryption()),  # type: ignore[union-attr]
            certificate=options.certificate.to_cryptography().public_bytes(pem),
            chain=tuple(one.to_cryptography().public_bytes(pem) for one in options.extraCertChain),
            method=None if options.method == SSL.TLS_METHOD else options.method,
            parameters=options.dhParameters,
        )

    def options(self) -> CertificateOptions:
        """The options again, as Twisted's parser of endpoints makes them."""
        from twisted.internet import ssl  # noqa: PLC0415

        own = ssl.PrivateCertificate.loadPEM(self.certificate + b"\n" + self.key)
        return ssl.CertificateOptions(
            privateKey=own.privateKey.original,
            certificate=own.original,
            extraCertChain=[ssl.Certificate.loadPEM(pem).original for pem in self.chain],
            method=self.method,
            dhParameters=self.parameters,
        )


def free_tls_at_end(port: object) -> None:
    """Have the TLS connections of a listening port, if it speaks TLS, be freed when they end; see TLSConnection."""
    if "twisted.protocols.tls" in sys.modules:  # else there is no such port, and perhaps no pyOpenSSL
        from aero_storage.service.listening.tls_connection import TLSConnection, TLSMemoryBIOFactory  # noqa: PLC0415

        factory = getattr(port, "factory", None)
        if isinstance(factory, TLSMemoryBIOFactory):
            factory.protocol = TLSConnection
