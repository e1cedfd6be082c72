"""A second reading of the contract (http.md §12): whether a token opens an image. It is plain, slow, and not ours.

What the daemon accepts must be what this accepts, of tokens that are well signed in odd ways too.
"""

from __future__ import annotations

import json
import math
import re
from base64 import urlsafe_b64encode
from collections.abc import Mapping

import attrs

from torture.leases.issuer import Key, unb64

_ID = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._-]{1,128}\Z")
_FORBIDDEN = {"crit", "jku", "jwk", "x5u", "x5c"}
_LONGEST, _LIFETIME, _LEEWAY = 2048, 86400, 30


class _NoLeaseError(Exception):
    pass


@attrs.frozen
class Question:
    """What is asked for, and when."""

    image_id: str
    now: float
    in_url: bool = False
    versions: tuple[str, ...] | None = None


def opens(token: str, keys: Mapping[str, Key], question: Question) -> bool:
    """Return whether a token opens the image."""
    try:
        claims = _verified(token, keys)
        _check_forms(claims)
        _check_times(claims, question)
        return _is_for(claims, question)
    except (_NoLeaseError, ValueError, RecursionError):  # JSON, UTF-8 and base64 raise ValueErrors
        return False


def _require(holds: object) -> None:
    if not holds:
        raise _NoLeaseError


def _verified(token: str, keys: Mapping[str, Key]) -> dict[str, object]:
    _require(len(token.encode("utf-8", "surrogatepass")) <= _LONGEST)
    parts = token.split(".")
    _require(len(parts) == 3)
    header, payload, signature = map(_decoded, parts)
    values = _object(header)
    _require(not _FORBIDDEN & values.keys())
    _require(values.get("typ") == "aero-lease+jwt")
    kid = values.get("kid")
    key = keys.get(kid) if isinstance(kid, str) else None
    _require(key is not None)
    assert key is not None
    _require(values.get("alg") == key.algorithm)
    _require(key.verifies(signature, ".".join(parts[:2]).encode("ascii")))
    return _object(payload)


def _decoded(text: str) -> bytes:
    _require(text and re.fullmatch("[A-Za-z0-9_-]+", text))
    data = unb64(text)
    _require(urlsafe_b64encode(data).decode().rstrip("=") == text)
    return data


def _object(data: bytes) -> dict[str, object]:
    values = json.loads(data.decode("utf-8"), object_pairs_hook=_distinct, parse_constant=_no_constant)
    _require(isinstance(values, dict))
    return dict(values)


def _distinct(pairs: list[tuple[str, object]]) -> dict[str, object]:
    _require(len({name for name, _ in pairs}) == len(pairs))
    return dict(pairs)


def _no_constant(_name: str) -> object:
    raise _NoLeaseError


def _check_forms(claims: dict[str, object]) -> None:
    images = claims.get("img")
    images = images if isinstance(images, list) else [images]
    _require(1 <= len(images) <= 16 and all(isinstance(one, str) and _ID.match(one) for one in images))
    _require(isinstance(claims.get("scope"), str))
    for name, limit in (("sub", 128), ("jti", 64)):
        text = claims.get(name, "x")
        _require(isinstance(text, str) and 1 <= len(text) <= limit and all("!" <= one <= "~" for one in text))
    version = claims.get("ver", "x")
    _require(isinstance(version, str) and re.fullmatch(r"[A-Za-z0-9._-]{1,128}", version))
    audience = claims.get("aud", [])
    _require(isinstance(audience, str | list) and all(isinstance(one, str) for one in audience))
    _require({"iat", "exp"} <= claims.keys())


def _check_times(claims: dict[str, object], question: Question) -> None:
    times = {name: _time(claims[name]) for name in ("iat", "exp", "nbf", "uexp") if name in claims}
    now, exp, iat = question.now, times["exp"], times["iat"]
    _require(iat <= exp and exp - iat <= _LIFETIME)
    _require(times.get("uexp", exp) <= exp)
    _require(now - _LEEWAY < exp)
    _require(now + _LEEWAY >= max(iat, times.get("nbf", iat)))
    if question.in_url:
        _require(now - _LEEWAY <= times.get("uexp", now))


def _time(value: object) -> float:
    _require(type(value) in (int, float))
    assert isinstance(value, int | float)
    _require(abs(value) <= 1.7e308 and math.isfinite(value))
    return float(value)


def _is_for(claims: dict[str, object], question: Question) -> bool:
    images, version = claims["img"], claims.get("ver")
    names = images if isinstance(images, list) else [images]
    is_version = question.versions is None or version is None or version in question.versions
    return "disk:read" in str(claims["scope"]).split(" ") and question.image_id in names and is_version
