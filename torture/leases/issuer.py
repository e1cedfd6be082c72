"""An issuer of leases, made from the standard library and `cryptography`: none of the daemon's code is in it."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Mapping
from pathlib import Path

import attrs
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

IMAGE = "disk"
HS, ED = "HS256", "EdDSA"
LIFETIME = 900


def b64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def unb64(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


@attrs.frozen
class Key:
    """A key that signs; its secret follows from its name and a seed."""

    kid: str
    algorithm: str
    seed: str = "torture"

    @property
    def secret(self) -> bytes:
        """The secret of HS256, or the private key."""
        return hashlib.sha256(f"{self.seed} {self.kid}".encode()).digest()

    @property
    def public(self) -> bytes:
        """The public key of Ed25519."""
        return self._private.public_key().public_bytes_raw()

    @property
    def _private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.secret)

    @property
    def jwk(self) -> dict[str, object]:
        """What the daemon's file has of it."""
        if self.algorithm == HS:
            return {"kty": "oct", "kid": self.kid, "k": b64(self.secret)}
        return {"kty": "OKP", "crv": "Ed25519", "kid": self.kid, "x": b64(self.public)}

    @property
    def header(self) -> dict[str, object]:
        return {"alg": self.algorithm, "kid": self.kid, "typ": "aero-lease+jwt"}

    def sign(self, data: bytes) -> bytes:
        return hmac.digest(self.secret, data, "sha256") if self.algorithm == HS else self._private.sign(data)

    def verifies(self, signature: bytes, data: bytes) -> bool:
        if self.algorithm == HS:
            return hmac.digest(self.secret, data, "sha256") == signature
        try:
            self._private.public_key().verify(signature, data)
        except InvalidSignature:
            return False
        return True

    def token(self, header: bytes, payload: bytes) -> str:
        """Return a token of any header and payload, with a good signature."""
        signed = f"{b64(header)}.{b64(payload)}"
        return f"{signed}.{b64(self.sign(signed.encode('ascii')))}"

    def lease(self, *images: str, lifetime: float = LIFETIME, now: float | None = None, **claims: object) -> str:
        """Return a good lease; without images for the one of the trials."""
        issued = int(time.time() if now is None else now)
        named = images or (IMAGE,)
        values = {
            "img": named[0] if len(named) == 1 else list(named),
            "scope": "disk:read",
            "iat": issued,
            "exp": issued + lifetime,
        }
        return self.token(as_json(self.header), as_json(values | claims))


HS_KEY, ED_KEY = Key("hs", HS), Key("ed", ED)
KEYS = (HS_KEY, ED_KEY, Key("hs-2", HS), Key("ed-2", ED))


def as_json(values: Mapping[str, object]) -> bytes:
    return json.dumps(values, separators=(",", ":")).encode("ascii")


def key_set(keys: Iterable[Key]) -> bytes:
    """Return the daemon's file of keys."""
    return json.dumps({"keys": [key.jwk for key in keys]}).encode("ascii")


def put(path: Path, data: bytes) -> None:
    """Put a file in place by rename, for its owner alone, as the contract asks for."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_bytes(data)
    fresh.chmod(0o600)
    fresh.replace(path)
