"""JWK Sets with the keys of leases (RFC 7517 §5, RFC 8037 §2): Ed25519, and secrets of at least 256 bits."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from aero_storage import strict_json
from aero_storage.errors import JsonError, LeaseDocumentError
from aero_storage.http.leases import base64url
from aero_storage.http.leases.claims import time_of
from aero_storage.http.leases.signatures import ED25519_BYTES, MIN_SECRET_BYTES, Algorithm
from aero_storage.strict_json import Values, show

MAX_KEY_SET_BYTES = 1 << 20
"""Longest file of keys."""

RETIRED = "retired_at"
"""A member of ours: the time, in seconds, at which `aero-storage lease keys rotate` replaced this key."""

_MAX_VALUES = 20_000
_ALGORITHMS = {Algorithm.ED25519: ("EdDSA", "Ed25519"), Algorithm.HS256: ("HS256",)}  # RFC 9864 renames the first


@attrs.frozen
class Jwk:
    """One usable key of a set."""

    kid: str
    algorithm: Algorithm
    public: bytes = b""
    """Of an Ed25519 key, its 32 bytes; empty where only the private key was given."""
    secret: bytes | None = attrs.field(repr=False, default=None)
    """The secret of HS256, or the private key of Ed25519."""
    retired_at: float | None = None


@attrs.frozen
class JwkSet:
    """The usable keys of a file, in its order."""

    keys: tuple[Jwk, ...]
    warnings: tuple[str, ...] = ()
    """A line for each key that was skipped."""
    has_secrets: bool = False
    """Whether any key, a skipped one too, has a secret or private part."""


class _UnknownKindError(Exception):
    """A key is of no kind that leases use."""


def parse_jwk_set(data: bytes) -> JwkSet:
    """Return the keys of a JWK Set. Raises LeaseDocumentError; no message has a secret in it."""
    members = _members(data)
    keys: list[Jwk] = []
    warnings: list[str] = []
    for number, member in enumerate(members, 1):
        try:
            keys.append(_read(member, f"keys[{number - 1}]"))
        except _UnknownKindError as error:
            warnings.append(f"keys[{number - 1}] is skipped: {error}")
    for kid in _doubled(keys):
        raise LeaseDocumentError(f"the `kid` {show(kid)} is given to two keys")
    return JwkSet(tuple(keys), tuple(warnings), any("d" in one or "k" in one for one in members))


def _members(data: bytes) -> list[Values]:
    if len(data) > MAX_KEY_SET_BYTES:
        raise LeaseDocumentError(f"longer than {MAX_KEY_SET_BYTES} bytes")
    try:
        document = strict_json.load(data, _MAX_VALUES)
    except JsonError as error:
        raise LeaseDocumentError(str(error)) from None
    found = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(found, list):
        raise LeaseDocumentError('no JWK Set: it must be an object with an array "keys" (RFC 7517 §5)')
    members = [one for one in found if isinstance(one, dict)]
    if len(members) < len(found):
        raise LeaseDocumentError('no JWK Set: "keys" must hold objects only')
    return members


def _doubled(keys: list[Jwk]) -> Iterator[str]:
    seen: set[str] = set()
    for key in keys:
        if key.kid in seen:
            yield key.kid
        seen.add(key.kid)


def _read(member: Values, place: str) -> Jwk:
    algorithm = _algorithm(member)
    kid = member.get("kid")
    if not isinstance(kid, str) or not kid:
        raise LeaseDocumentError(f"{place} has no `kid`")
    retired_at = _retired_at(member, place)
    if algorithm is Algorithm.HS256:
        return Jwk(kid, algorithm, secret=_secret(member, place), retired_at=retired_at)
    private = _bytes(member, "d", place) if "d" in member else None
    return Jwk(kid, algorithm, _bytes(member, "x", place), private, retired_at)


def _algorithm(member: Values) -> Algorithm:
    """Return the algorithm of a key. Raises _UnknownKindError if leases have no use for it."""
    algorithm = _by_type(member)
    if "alg" in member and member["alg"] not in _ALGORITHMS[algorithm]:
        raise _UnknownKindError(f"its `alg` is {show(member['alg'])}")
    if "use" in member and member["use"] != "sig":
        raise _UnknownKindError(f"its `use` is {show(member['use'])}")
    return algorithm


def _by_type(member: Values) -> Algorithm:
    if member.get("kty") == "oct":
        return Algorithm.HS256
    if member.get("kty") != "OKP":
        raise _UnknownKindError(f"its `kty` is {show(member.get('kty'))}, neither OKP nor oct")
    if member.get("crv") != "Ed25519":
        raise _UnknownKindError(f"its `crv` is {show(member.get('crv'))}, not Ed25519")
    return Algorithm.ED25519


def _retired_at(member: Values, place: str) -> float | None:
    if RETIRED not in member:
        return None
    moment = time_of(member[RETIRED])
    if moment is None:
        raise LeaseDocumentError(f"{place}: `{RETIRED}` is no time in seconds")
    return moment


def _secret(member: Values, place: str) -> bytes:
    secret = _decoded(member, "k", place)
    if len(secret) < MIN_SECRET_BYTES:
        raise LeaseDocumentError(f"{place}: a secret of {len(secret)} bytes; HS256 needs {MIN_SECRET_BYTES} or more")
    return secret


def _bytes(member: Values, name: str, place: str) -> bytes:
    data = _decoded(member, name, place)
    if len(data) != ED25519_BYTES:
        raise LeaseDocumentError(f"{place}: `{name}` has {len(data)} bytes; a key of Ed25519 has {ED25519_BYTES}")
    return data


def _decoded(member: Values, name: str, place: str) -> bytes:
    text = member.get(name)
    data = base64url.decode(text) if isinstance(text, str) else None
    if data is None:
        raise LeaseDocumentError(f"{place}: `{name}` is missing, or is no base64url without padding")
    return data
