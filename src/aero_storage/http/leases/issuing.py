"""Making keys and leases, for the operator's command; the daemon does neither."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable

import attrs

from aero_storage.errors import LeaseDocumentError
from aero_storage.http.leases import base64url
from aero_storage.http.leases.claims import Claims
from aero_storage.http.leases.jwk import RETIRED, Jwk, parse_jwk_set
from aero_storage.http.leases.signatures import ED25519_BYTES, MIN_SECRET_BYTES, Algorithm, Ed25519SigningKey, HmacKey
from aero_storage.http.leases.tokens import MAX_TOKEN_BYTES, TYPE

_KID_BYTES = 8
SigningKey = Ed25519SigningKey | HmacKey


@attrs.frozen
class Keyring:
    """The keys of an issuer: the first signs, the others still verify what they have signed."""

    keys: tuple[Jwk, ...]

    @property
    def signer(self) -> Jwk:
        """The key that signs."""
        return self.keys[0]

    def signing_key(self) -> SigningKey:
        """Return the key that signs, to sign with. Raises LeaseDocumentError where `cryptography` is missing."""
        return _signing(self.signer)

    def rotated(self, new: Jwk, now: float, keep_until: Callable[[float], float]) -> Keyring:
        """Return a ring in which `new` signs.

        The old signer becomes public and keeps verifying. Older ones go, once `keep_until` of the time when they were
        retired has passed.
        """
        retired = attrs.evolve(_public(self.signer), retired_at=now)
        others = [one for one in self.keys[1:] if one.retired_at is None or keep_until(one.retired_at) > now]
        return Keyring((new, retired, *others))

    def private_set(self) -> bytes:
        """Return the file of the issuer, a JWK Set with secrets."""
        return _written(self.keys)

    def public_set(self) -> bytes:
        """Return the file for the daemon. Of HS256 that is the secret itself: nothing else verifies."""
        return _written(tuple(_public(one) for one in self.keys))

    @property
    def has_shared_secrets(self) -> bool:
        """Whether it has keys of HS256, which the daemon has to know."""
        return any(one.algorithm is Algorithm.HS256 for one in self.keys)


def parse_keyring(data: bytes) -> Keyring:
    """Return the ring in an issuer's file. Raises LeaseDocumentError if its first key cannot sign."""
    found = parse_jwk_set(data)
    if not found.keys:
        raise LeaseDocumentError("there is no usable key; `aero-storage lease keys new` makes one")
    if found.keys[0].secret is None:
        raise LeaseDocumentError("its first key is a public one, and cannot sign; name the file of `lease keys new`")
    for key in found.keys:
        if key.algorithm is Algorithm.ED25519 and key.secret is not None:
            _require_a_pair(key)
    return Keyring(found.keys)


def _require_a_pair(key: Jwk) -> None:
    if Ed25519SigningKey.of(key.kid, key.secret or b"").public != key.public:
        raise LeaseDocumentError(f"the key {json.dumps(key.kid)}: `x` is not the public key of `d`")


def new_key(algorithm: Algorithm) -> Jwk:
    """Make a key with a random name. Raises LeaseDocumentError where `cryptography` is missing."""
    kid = secrets.token_hex(_KID_BYTES)
    if algorithm is Algorithm.HS256:
        return Jwk(kid, algorithm, secret=secrets.token_bytes(MIN_SECRET_BYTES))
    private = secrets.token_bytes(ED25519_BYTES)  # RFC 8032 §5.1.5: any 32 random bytes are a private key
    return Jwk(kid, algorithm, Ed25519SigningKey.of(kid, private).public, private)


def sign_lease(key: SigningKey, claims: Claims) -> str:
    """Return the token of these claims. Raises LeaseDocumentError if it is longer than a token may be."""
    header: dict[str, object] = {"alg": str(key.algorithm), "kid": key.kid, "typ": TYPE}
    signed = f"{_segment(header)}.{_segment(_claims(claims))}"
    token = f"{signed}.{base64url.encode(key.sign(signed.encode('ascii')))}"
    if len(token) > MAX_TOKEN_BYTES:
        raise LeaseDocumentError(
            f"the lease has {len(token)} bytes, and {MAX_TOKEN_BYTES} are allowed: name fewer images"
        )
    return token


def _claims(claims: Claims) -> dict[str, object]:
    images, audience = claims.images, claims.audience
    values = {
        "img": images[0] if len(images) == 1 else list(images),
        "scope": " ".join(sorted(claims.scopes)),
        "iat": _number(claims.issued_at),
        "exp": _number(claims.expires_at),
        "aud": (audience[0] if len(audience) == 1 else list(audience)) if audience else None,
        "sub": claims.subject,
        "jti": claims.identifier,
        "nbf": _number(claims.not_before),
        "uexp": _number(claims.url_until),
        "ver": claims.version,
    }
    return {name: value for name, value in values.items() if value is not None}


def _number(moment: float | None) -> float | None:
    return int(moment) if moment is not None and moment.is_integer() else moment


def _segment(values: dict[str, object]) -> str:
    return base64url.encode(json.dumps(values, separators=(",", ":")).encode("ascii"))


def _signing(key: Jwk) -> SigningKey:
    if key.algorithm is Algorithm.HS256:
        return HmacKey(key.kid, key.secret or b"")
    return Ed25519SigningKey.of(key.kid, key.secret or b"")


def _public(key: Jwk) -> Jwk:
    return key if key.algorithm is Algorithm.HS256 else attrs.evolve(key, secret=None)


def _written(keys: tuple[Jwk, ...]) -> bytes:
    return json.dumps({"keys": [_member(key) for key in keys]}, indent=2).encode("ascii") + b"\n"


def _member(key: Jwk) -> dict[str, object]:
    member: dict[str, object] = {"kid": key.kid, "alg": str(key.algorithm), "use": "sig"}
    if key.algorithm is Algorithm.HS256:
        member |= {"kty": "oct", "k": base64url.encode(key.secret or b"")}
    else:
        member |= {"kty": "OKP", "crv": "Ed25519", "x": base64url.encode(key.public)}
        if key.secret is not None:
            member["d"] = base64url.encode(key.secret)
    if key.retired_at is not None:
        member[RETIRED] = _number(key.retired_at)
    return member
