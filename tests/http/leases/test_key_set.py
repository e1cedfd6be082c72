"""Key sets: which keys a daemon takes, which break the file, which are skipped."""

from __future__ import annotations

import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.lease_tokens import KEYS, OCT, OKP, PRIVATE, SECRET, b64, key_document

from aero_storage.errors import LeaseDocumentError
from aero_storage.http.leases.jwk import MAX_KEY_SET_BYTES
from aero_storage.http.leases.key_set import parse_key_set

RSA: dict[str, object] = {"kty": "RSA", "n": "AQAB", "e": "AQAB"}
P256: dict[str, object] = {"kty": "EC", "crv": "P-256", "kid": "hs", "x": "AA", "y": "AA"}
PRIVATE_OKP = OKP | {"d": b64(PRIVATE.private_bytes_raw())}


def refusal(data: bytes) -> str:
    with pytest.raises(LeaseDocumentError) as caught:
        parse_key_set(data)
    message = str(caught.value)
    assert message.isprintable()
    assert b64(SECRET) not in message
    return message


def test_keys() -> None:
    """Secrets and public Ed25519 keys are found by their names, each with its own algorithm."""
    keys = parse_key_set(KEYS)
    assert len(keys) == 2
    assert [(key.kid, key.algorithm) for name in ("hs", "ed", "x") if (key := keys.find(name))] == [
        ("hs", "HS256"),
        ("ed", "EdDSA"),
    ]
    assert (keys.has_secrets, keys.warnings) == (True, ())
    assert not parse_key_set(key_document(OKP)).has_secrets


def test_example_of_rfc_8037() -> None:
    """The public key of RFC 8037 A.2 is taken."""
    key = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "kid": "a"}
    assert parse_key_set(key_document(key)).find("a") is not None


@pytest.mark.parametrize(
    ("other", "warning"),
    [
        (RSA, "kty"),
        (RSA | {"kid": "hs"}, "kty"),
        (P256, "kty"),
        ({}, "kty"),
        ({"kty": 1, "kid": []}, "kty"),
        (OKP | {"crv": "X25519"}, "crv"),
        (OKP | {"crv": "Ed448", "kid": "hs"}, "crv"),
        (OKP | {"alg": "ES256"}, "alg"),
        (OCT | {"alg": "HS512"}, "alg"),
        (OCT | {"alg": ["HS256"]}, "alg"),
        (OCT | {"use": "enc"}, "use"),
    ],
)
def test_unknown_kinds(other: dict[str, object], warning: str) -> None:
    """Keys of other kinds and for other uses are skipped with a warning, whatever their names are."""
    keys = parse_key_set(key_document(OCT, other))
    assert len(keys) == 1
    (line,) = keys.warnings
    assert line.startswith("keys[1] is skipped: ")
    assert warning in line


@pytest.mark.parametrize(
    "extra", [{"alg": "EdDSA"}, {"alg": "Ed25519"}, {"use": "sig"}, {"key_ops": ["verify"]}, {"x5t": 1}]
)
def test_members(extra: dict[str, object]) -> None:
    """A key may name its algorithm, by the old name or the new one, and have members that nobody knows."""
    assert len(parse_key_set(key_document(OKP | extra))) == 1


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not JSON"),
        (b"-----BEGIN PUBLIC KEY-----\n", "not JSON"),
        (b"\xff", "not UTF-8"),
        (b'{"keys": [], "keys": []}', "given twice"),
        (b"[]", "no JWK Set"),
        (b"{}", "no JWK Set"),
        (json.dumps(OCT).encode(), "no JWK Set"),
        (b'{"keys": {}}', "no JWK Set"),
        (b'{"keys": [1]}', "objects only"),
        (key_document(), "no usable key"),
        (key_document(RSA, P256), "no usable key"),
        (key_document(PRIVATE_OKP), "private"),
        (key_document(OCT, PRIVATE_OKP), "lease keys public"),
        (key_document(OCT, OCT), "two keys"),
        (key_document(OCT, OKP | {"kid": "hs"}), "two keys"),
        (key_document({k: v for k, v in OCT.items() if k != "kid"}), "no `kid`"),
        (key_document(OCT | {"kid": ""}), "no `kid`"),
        (key_document(OCT | {"kid": 1}), "no `kid`"),
        (key_document(OCT | {"k": b64(SECRET[:31])}), "31 bytes"),
        (key_document(OCT | {"k": ""}), "0 bytes"),
        (key_document(OCT | {"k": b64(SECRET) + "="}), "base64url"),
        (key_document(OCT | {"k": b64(SECRET)[:-1] + "9"}), "base64url"),
        (key_document(OCT | {"k": None}), "base64url"),
        (key_document(OKP | {"x": b64(bytes(31))}), "31 bytes"),
        (key_document(OKP | {"x": b64(bytes(33))}), "33 bytes"),
        (key_document({k: v for k, v in OKP.items() if k != "x"}), "`x` is missing"),
        (key_document(OKP | {"retired_at": "yesterday"}), "retired_at"),
        (b" " * (MAX_KEY_SET_BYTES + 1), "longer than"),
        (b'{"keys": [' + b",".join([b"[]"] * 30_000) + b"]}", "values"),
    ],
)
def test_broken(data: bytes, reason: str) -> None:
    """A file is broken as a whole by a wrong form, a private key, a missing or doubled name, or without any key."""
    assert reason in refusal(data)


def test_secrets_of_skipped_keys() -> None:
    """The secrets of keys that are skipped count as well: nobody else may read them."""
    assert parse_key_set(key_document(OKP, RSA | {"d": "AA"})).has_secrets


def test_equality() -> None:
    """Sets are equal if their keys are, in any order; another secret under the same name makes another set."""
    assert parse_key_set(key_document(OCT, OKP)) == parse_key_set(key_document(OKP, OCT | {"use": "sig"}))
    assert parse_key_set(key_document(OCT)) != parse_key_set(key_document(OCT | {"k": b64(SECRET[::-1])}))
    assert parse_key_set(key_document(OCT)) != parse_key_set(key_document(OCT | {"kid": "other"}))


def test_retired() -> None:
    """When keys were replaced is known."""
    assert parse_key_set(key_document(OCT, OKP | {"retired_at": 1.5})).retired == {"ed": 1.5}


def test_nothing_is_shown() -> None:
    """The text of a set has no secret."""
    assert b64(SECRET) not in repr(parse_key_set(KEYS))
    assert repr(SECRET) not in repr(parse_key_set(KEYS))


@given(data=st.binary(max_size=100) | st.sampled_from([KEYS[:n] for n in range(len(KEYS))]))
def test_any_bytes(data: bytes) -> None:
    """Any bytes, and any beginning of a good file, are refused in one line."""
    refusal(data)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where `cryptography` is not installed, secrets are taken, and a key of Ed25519 names the extra."""
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric.ed25519", None)
    assert len(parse_key_set(key_document(OCT))) == 1
    assert "aero-storage[lease]" in refusal(KEYS)
