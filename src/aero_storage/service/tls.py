"""What an `ssl:` endpoint was configured with, in a form that another process can be handed.

The parent reads keys while it may: workers are started after it has dropped its privileges. And a worker that
replaces another must show the certificate that its siblings show.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:  # pyOpenSSL is an extra, which is there where there are such endpoints
    from OpenSSL import crypto
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
        from OpenSSL import SSL, crypto  # noqa: PLC0415

        def pem(certificate: crypto.X509) -> bytes:
            return crypto.dump_certificate(crypto.FILETYPE_PEM, certificate)

        assert options.privateKey is not None  # noqa: S101
        assert options.certificate is not None  # noqa: S101
        return cls(
            key=crypto.dump_privatekey(crypto.FILETYPE_PEM, options.privateKey),
            certificate=pem(options.certificate),
            chain=tuple(pem(certificate) for certificate in options.extraCertChain),
            method=None if options.method == SSL.TLS_METHOD else options.method,
            parameters=options.dhParameters,
        )

    def options(self) -> CertificateOptions:
        """The options again, as Twisted's parser of endpoints makes them."""
        from OpenSSL import crypto  # noqa: PLC0415
        from twisted.internet.ssl import CertificateOptions  # noqa: PLC0415

        def certificate(pem: bytes) -> crypto.X509:
            return crypto.load_certificate(crypto.FILETYPE_PEM, pem)

        return CertificateOptions(
            privateKey=crypto.load_privatekey(crypto.FILETYPE_PEM, self.key),
            certificate=certificate(self.certificate),
            extraCertChain=[certificate(pem) for pem in self.chain],
            method=self.method,
            dhParameters=self.parameters,
        )
