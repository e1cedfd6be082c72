"""Signatures of leases: HS256 by the standard library, Ed25519 by `cryptography` (RFC 7518 §3.2, RFC 8037 §3.1).

The algorithm belongs to the key. A header that names another one is a wrong signature, and no reason to try it.
"""

from __future__ import annotations

import enum
import hmac
from typing import TYPE_CHECKING, Protocol

import attrs
from typing_extensions import override

from aero_storage.errors import LeaseDocumentError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ED25519_BYTES = 32
"""Length of an Ed25519 key, private or public (RFC 8032 §5.1.5)."""

MIN_SECRET_BYTES = 32
"""Shortest secret for HS256 (RFC 7518 §3.2)."""


class Algorithm(enum.StrEnum):
    """The algorithms of leases, by their names in a header."""

    ED25519 = "EdDSA"
    HS256 = "HS256"


class VerificationKey(Protocol):
    """A key that leases are verified with."""

    @property
    def kid(self) -> str:
        """Its name in headers and in the key set."""
        ...

    @property
    def algorithm(self) -> Algorithm:
        """The only algorithm that it is for."""
        ...

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Return whether this key has signed `data`."""
        ...


@attrs.frozen
class HmacKey(VerificationKey):
    """A secret that signs and verifies by HMAC-SHA-256."""

    kid: str
    secret: bytes = attrs.field(repr=False)

    @property
    @override
    def algorithm(self) -> Algorithm:
        return Algorithm.HS256

    @override
    def verifies(self, signature: bytes, data: bytes) -> bool:
        return hmac.compare_digest(self.sign(data), signature)

    def sign(self, data: bytes) -> bytes:
        """Return the signature of `data`."""
        return hmac.digest(self.secret, data, "sha256")


@attrs.frozen
class Ed25519Key(VerificationKey):
    """A public key; keys are equal if their bytes are."""

    kid: str
    public: bytes
    _loaded: Ed25519PublicKey = attrs.field(repr=False, eq=False)

    @classmethod
    def of(cls, kid: str, public: bytes) -> Ed25519Key:
        """Make it from its 32 bytes. Raises LeaseDocumentError where `cryptography` is missing."""
        return cls(kid, public, _load_public(public))

    @property
    @override
    def algorithm(self) -> Algorithm:
        return Algorithm.ED25519

    @override
    def verifies(self, signature: bytes, data: bytes) -> bool:
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - an extra

        try:
            self._loaded.verify(signature, data)
        except InvalidSignature:
            return False
        return True


@attrs.frozen
class Ed25519SigningKey:
    """A private key, which the operator's command signs with; the daemon never reads one."""

    kid: str
    private: bytes = attrs.field(repr=False)
    _loaded: Ed25519PrivateKey = attrs.field(repr=False, eq=False)

    @classmethod
    def of(cls, kid: str, private: bytes) -> Ed25519SigningKey:
        """Make it from its 32 bytes. Raises LeaseDocumentError where `cryptography` is missing."""
        return cls(kid, private, _load_private(private))

    @property
    def algorithm(self) -> Algorithm:
        """The only algorithm that it is for."""
        return Algorithm.ED25519

    @property
    def public(self) -> bytes:
        """The 32 bytes of its public key."""
        return self._loaded.public_key().public_bytes_raw()

    def sign(self, data: bytes) -> bytes:
        """Return the signature of `data`."""
        return self._loaded.sign(data)


def _load_public(public: bytes) -> Ed25519PublicKey:
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise _without_extra() from error
    return Ed25519PublicKey.from_public_bytes(public)


def _load_private(private: bytes) -> Ed25519PrivateKey:
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise _without_extra() from error
    return Ed25519PrivateKey.from_private_bytes(private)


def _without_extra() -> LeaseDocumentError:
    return LeaseDocumentError(
        "an Ed25519 key needs the package cryptography: pip install 'aero-storage[lease]' (HS256 keys do not)"
    )
