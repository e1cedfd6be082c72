"""Mutated and forged leases: what is tried finds a verifier that is too lax, or too strict."""

from __future__ import annotations

import json
import random
from base64 import urlsafe_b64decode
from collections.abc import Callable
from typing import Any

import pytest
from torture.leases.confusion import forged_tokens
from torture.leases.issuer import IMAGE, KEYS
from torture.leases.mutations import CLAIM_VALUES, HEADER_VALUES, WAYS, WRITINGS, mutated
from torture.leases.pure import NOW, examine, mutated_tokens, word_of
from torture.leases.reference import Question, opens

from aero_storage import strict_json
from aero_storage.errors import JsonError
from aero_storage.http.leases import base64url, claims, judgement, signatures, tokens, verification
from aero_storage.http.leases.carriers import Carrier, Presented
from aero_storage.http.leases.results import LeaseResult

BY_KID = {key.kid: key for key in KEYS}
CLAIMS = {"img": IMAGE, "scope": "disk:read", "iat": int(NOW) - 60, "exp": int(NOW) + 800}
FORGED = list(forged_tokens(CLAIMS))


def test_same_seed() -> None:
    """A complaint names the seed: it must make the same tokens again, and other seeds other ones."""
    assert examine(3, 200, "a") == examine(3, 200, "a")
    assert mutated(random.Random(1), NOW) != mutated(random.Random(2), NOW)


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.kid)
def test_valid(key: Any) -> None:
    """A good lease is one by both readings, with each key and carrier."""
    token = key.lease(now=NOW)
    for carrier in Carrier:
        assert word_of(Presented(carrier, token)) == LeaseResult.OK
    assert opens(token, BY_KID, Question(IMAGE, NOW))
    assert not opens(token, BY_KID, Question("other", NOW))


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_ways_change_something(way: Callable[[str, random.Random], str]) -> None:
    """Each does something to a good token, not always the same, and takes what others have left."""
    token = KEYS[0].lease(now=NOW)
    made = {way(token, random.Random(seed)) for seed in range(300)} - {token}
    assert len(made) >= 3
    for text in ("", "x", ".", "..", "a.b.c.d", "é\ud800"):
        assert all(isinstance(way(text, random.Random(seed)), str) for seed in range(50))


def test_writings() -> None:
    """Each way to write a document takes any, and one in four at least is still read as it was."""
    texts = ['{"img":"disk"}', "{}"]
    made = [writing(text, random.Random(seed)) for writing in WRITINGS for text in texts for seed in range(9)]
    assert all(isinstance(one, bytes) for one in made)
    assert {"alg", "kid", "typ", "crit", "jku", "jwk"} <= set(HEADER_VALUES)
    assert {"img", "scope", "aud", "sub", "jti", "ver"} <= set(CLAIM_VALUES)


@pytest.mark.parametrize(("name", "token"), FORGED)
def test_forged(name: str, token: str) -> None:
    """Nothing that confuses algorithms or keys opens anything, by either reading."""
    assert word_of(Presented(Carrier.BEARER, token)) in {"malformed", "unknown_key", "bad_signature"}, name
    assert not opens(token, BY_KID, Question(IMAGE, NOW))


def test_forged_are_many() -> None:
    """Confusions of all kinds are tried."""
    text = "\n".join(name for name, _ in FORGED)
    for kind in ("PEM", "DER", "JWK", "none", "hs256", "jku", "x5c", "crit", "S + L", "JWE", "twice", "kid"):
        assert kind in text
    assert len({token for _, token in FORGED}) > 400


def lax_decode(text: str) -> bytes | None:
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return None


def lax_load(data: bytes, _limit: int) -> object:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise JsonError from error


def lax_time(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and abs(value) < 1e300 else None


def lax_in_urls(
    found: claims.Claims,
    now: float,
    leeway: float,
    *,
    in_url: bool,  # noqa: ARG001 - that is its fault
    real: Callable[..., LeaseResult | None] = judgement.judge_time,
) -> LeaseResult | None:
    return real(found, now, leeway, in_url=False)


WEAK: dict[str, tuple[object, str, object]] = {
    "stray bits": (base64url, "decode", lax_decode),
    "doubled names": (strict_json, "load", lax_load),
    "any type": (tokens, "TYPE", "JWT"),
    "headers with keys": (tokens, "_REFUSED", ()),
    "longer tokens": (tokens, "MAX_TOKEN_BYTES", 9000),
    "shorter tokens": (tokens, "MAX_TOKEN_BYTES", 250),
    "true is a time": (claims, "time_of", lax_time),
    "17 images": (claims, "MAX_IMAGES", 17),
    "longer names": (claims, "MAX_IDENTIFIER", 65),
    "any signature": (signatures.HmacKey, "verifies", lambda *_: True),
    "any signature of Ed25519": (signatures.Ed25519Key, "verifies", lambda *_: True),
    "any scope": (judgement, "READ_SCOPE", "disk:write"),
    "any time": (judgement, "judge_time", lambda *_, **__: None),
    "any version": (judgement, "opens_version", lambda *_: True),
    "URLs as headers": (judgement, "judge_time", lax_in_urls),
    "any lifetime": (verification.LeaseVerifier, "_check", lambda *_: None),
}


@pytest.mark.parametrize("name", WEAK)
def test_weak_verifier_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A verifier that takes what it must not, or refuses what is good, is found by some thousand tokens."""
    place, attribute, value = WEAK[name]
    monkeypatch.setattr(place, attribute, value)
    assert examine(0, 12_000, "weak").complaints


def test_other_errors_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception that is no refusal is a complaint with the token."""
    monkeypatch.setattr(tokens, "_read_header", lambda _: 1 / 0)
    complaints = examine(0, 100, "weak").complaints
    assert complaints
    assert all("ZeroDivisionError" in text for text in complaints)


def test_too_little() -> None:
    """A run in which a word never comes up has tried too little, and says so."""
    (text,) = mutated_tokens(3).complaints
    assert "too little was tried" in text
