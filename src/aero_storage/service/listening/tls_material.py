"""Key and certificates of an `ssl:` endpoint, in a form that can be sent to another process.

The parent reads the keys before it drops its privileges; workers start after that. And a replacement worker must
present the same certificate as the other workers.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:  # pyOpenSSL is an extra; with such endpoints it is installed
    from OpenSSL.SSL import Context
    from twisted.internet.ssl import CertificateOptions, DiffieHellmanParameters

_CIPHERS = b"TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
"""Of TLS 1.3, the fastest first: browsers prefer it, too. A MiB takes an eighth less than with the second."""


@attrs.frozen
class TLSMaterial:
    """Key and certificates, as PEM."""

    key: bytes = attrs.field(repr=False)
    certificate: bytes
    chain: tuple[bytes, ...]
    method: int | None
    """OpenSSL's protocol method, if the endpoint names one; None for Twisted's default."""
    parameters: DiffieHellmanParameters | None

    @classmethod
    def of(cls, options: CertificateOptions) -> TLSMaterial:
        """Return the material of an endpoint's options."""
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

    @property
    def expires(self) -> str:
        """The last moment at which the certificate is valid, in UTC."""
        from cryptography.x509 import load_pem_x509_certificate  # noqa: PLC0415

        return load_pem_x509_certificate(self.certificate).not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ")

    def checked(self) -> TLSMaterial:
        """Return the same material in the form of `of`. Raises an exception if OpenSSL cannot use it."""
        self.context()
        return TLSMaterial.of(self.options())

    def context(self) -> Context:
        """Return OpenSSL's context. Raises an exception if OpenSSL cannot use the material."""
        context = self.options().getContext()
        context.set_tls13_ciphersuites(_CIPHERS)
        return context

    def options(self) -> CertificateOptions:
        """Return options like those that Twisted's parser of endpoints makes."""
        from twisted.internet import ssl  # noqa: PLC0415

        own = ssl.PrivateCertificate.loadPEM(self.certificate + b"\n" + self.key)
        return ssl.CertificateOptions(
            privateKey=own.privateKey.original,
            certificate=own.original,
            extraCertChain=[ssl.Certificate.loadPEM(pem).original for pem in self.chain],
            method=self.method,
            dhParameters=self.parameters,
            enableSessionTickets=True,  # the client keeps them: they take no memory here
        )


def free_tls_at_end(port: object) -> None:
    """Make a TLS port use TLSConnection, which is freed when it ends; does nothing for other ports."""
    if "twisted.protocols.tls" in sys.modules:  # else there is no TLS port, and perhaps no pyOpenSSL
        from aero_storage.service.listening.tls_connection import TLSConnection, TLSMemoryBIOFactory  # noqa: PLC0415

        factory = getattr(port, "factory", None)
        if isinstance(factory, TLSMemoryBIOFactory):
            factory.protocol = TLSConnection
