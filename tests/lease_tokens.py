"""Tokens and keys for tests, made by the standard library and `cryptography`, not by our own code."""

from __future__ import annotations

import hmac
import json
from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

if TYPE_CHECKING:
    from collections.abc import Mapping

NOW = 1_800_000_000.0
SECRET = bytes(range(32))
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(100, 132)))
CLAIMS: dict[str, object] = {
    "img": "win98",
    "scope": "disk:read",
    "iat": int(NOW) - 60,
    "exp": int(NOW) + 840,
    "jti": "lease-1",
    "sub": "ada",
}


def b64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def key_document(*members: Mapping[str, object]) -> bytes:
    return json.dumps({"keys": list(members)}).encode()


OCT: dict[str, object] = {"kty": "oct", "kid": "hs", "k": b64(SECRET)}
OKP: dict[str, object] = {
    "kty": "OKP",
    "crv": "Ed25519",
    "kid": "ed",
    "x": b64(PRIVATE.public_key().public_bytes_raw()),
}
KEYS = key_document(OCT, OKP)


def sign(signed: str, kid: str) -> str:
    """Complete a token, whatever its parts are."""
    data = signed.encode()
    signature = hmac.digest(SECRET, data, "sha256") if kid == "hs" else PRIVATE.sign(data)
    return f"{signed}.{b64(signature)}"


def header_of(kid: str = "hs", /, **members: object) -> dict[str, object]:
    return {"alg": "HS256" if kid == "hs" else "EdDSA", "kid": kid, "typ": "aero-lease+jwt"} | members


def token_of(
    payload: Mapping[str, object] | bytes | str | None = None,
    kid: str = "hs",
    header: Mapping[str, object] | bytes | None = None,
) -> str:
    """Make a token; the header and the payload may be any bytes."""
    parts = [as_bytes(header_of(kid) if header is None else header), as_bytes(CLAIMS if payload is None else payload)]
    return sign(".".join(map(b64, parts)), kid)


def with_claims(kid: str = "hs", /, **changed: object) -> str:
    """Make a token with some claims changed; ... leaves one out."""
    return token_of({name: value for name, value in (CLAIMS | changed).items() if value is not ...}, kid)


def as_bytes(part: Mapping[str, object] | bytes | str) -> bytes:
    if isinstance(part, bytes):
        return part
    return (part if isinstance(part, str) else json.dumps(part)).encode()
