"""Keys and leases that the operator's command makes: the daemon takes them, and secrets stay where they belong."""

from __future__ import annotations

import json

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.lease_tokens import KEYS, NOW, OCT, OKP, PRIVATE, b64, key_document

from aero_storage.errors import LeaseDocumentError
from aero_storage.http.leases import base64url
from aero_storage.http.leases.claims import Claims
from aero_storage.http.leases.issuing import Keyring, new_key, parse_keyring, sign_lease
from aero_storage.http.leases.key_set import parse_key_set
from aero_storage.http.leases.signatures import Algorithm
from aero_storage.http.leases.verification import LeaseVerifier

CLAIMS = Claims(("win98",), frozenset({"disk:read"}), NOW, NOW + 900, subject="ada", identifier="one")
ALGORITHMS = tuple(Algorithm)
DAY = 86400


def ring_of(algorithm: Algorithm) -> Keyring:
    return Keyring((new_key(algorithm),))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_leases_verify(algorithm: Algorithm) -> None:
    """A lease of a new key is verified by the daemon's file, which comes from the issuer's."""
    ring = parse_keyring(ring_of(algorithm).private_set())
    verifier = LeaseVerifier(parse_key_set(ring.public_set()))
    assert verifier.verify(sign_lease(ring.signing_key(), CLAIMS)).claims == CLAIMS


NAMES = st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True)


@given(
    images=st.lists(NAMES, min_size=1, max_size=16),
    audience=st.lists(st.text(max_size=5), max_size=2),
    moments=st.lists(st.integers(0, 4_000_000_000), min_size=4, max_size=4).map(sorted),
    subject=st.none() | NAMES,
    version=st.none() | NAMES,
)
def test_any_claims(
    images: list[str], audience: list[str], moments: list[int], subject: str | None, version: str | None
) -> None:
    """Claims of any kind are read as they were written."""
    issued, before, until, end = map(float, moments)
    claims = Claims(
        tuple(images),
        frozenset({"disk:read", "x"}),
        issued,
        end,
        tuple(audience),
        subject,
        None,
        before,
        until,
        version,
    )
    ring = ring_of(Algorithm.HS256)
    verifier = LeaseVerifier(parse_key_set(ring.public_set()))
    rules = attrs.evolve(verifier.rules, max_lifetime=5e9)
    assert attrs.evolve(verifier, rules=rules).verify(sign_lease(ring.signing_key(), claims)).claims == claims


def test_public_set() -> None:
    """The daemon's file of Ed25519 keys has no private part."""
    ring = ring_of(Algorithm.ED25519)
    assert '"d"' in ring.private_set().decode()
    assert '"d"' not in ring.public_set().decode()
    assert not parse_key_set(ring.public_set()).has_secrets
    assert (ring.has_shared_secrets, ring_of(Algorithm.HS256).has_shared_secrets) == (False, True)


def test_keys_differ() -> None:
    """Each new key is another one, with a name of its own."""
    keys = [new_key(algorithm) for algorithm in ALGORITHMS for _ in range(3)]
    assert len({key.kid for key in keys}) == len({key.secret for key in keys}) == 6
    assert all(repr(key.secret) not in repr(key) for key in keys)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_rotation(algorithm: Algorithm) -> None:
    """The new key signs; the old one verifies on, without its private part, until no lease of it can live."""
    first, second, third = (new_key(algorithm) for _ in range(3))
    old = Keyring((first,))
    token = sign_lease(old.signing_key(), CLAIMS)
    ring = parse_keyring(old.rotated(second, NOW, lambda retired: retired + DAY).private_set())
    assert [key.kid for key in ring.keys] == [second.kid, first.kid]
    verifier = LeaseVerifier(parse_key_set(ring.public_set()))
    assert verifier.verify(token).kid == first.kid
    assert verifier.verify(sign_lease(ring.signing_key(), CLAIMS)).kid == second.kid
    assert parse_key_set(ring.public_set()).retired == {first.kid: NOW}
    if algorithm is Algorithm.ED25519:
        assert ring.keys[1].secret is None
    soon = ring.rotated(third, NOW + DAY - 1, lambda retired: retired + DAY)
    assert [key.kid for key in soon.keys] == [third.kid, second.kid, first.kid]
    late = ring.rotated(third, NOW + DAY, lambda retired: retired + DAY)
    assert [key.kid for key in late.keys] == [third.kid, second.kid]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (key_document(OKP), "cannot sign"),
        (key_document(OKP, OCT), "cannot sign"),
        (key_document(), "no usable key"),
        (key_document(OKP | {"d": b64(bytes(32))}), "is not the public key"),
        (key_document(OCT, OKP | {"d": b64(bytes(32))}), "is not the public key"),
        (b"{}", "no JWK Set"),
    ],
)
def test_no_ring(data: bytes, reason: str) -> None:
    """A file whose first key cannot sign, or whose halves do not fit, is refused."""
    with pytest.raises(LeaseDocumentError, match=reason):
        parse_keyring(data)


def test_foreign_rings() -> None:
    """Sets that were made elsewhere are taken, the first key as the one that signs."""
    private = OKP | {"d": b64(PRIVATE.private_bytes_raw())}
    ring = parse_keyring(key_document(private, OCT))
    assert LeaseVerifier(parse_key_set(KEYS)).verify(sign_lease(ring.signing_key(), CLAIMS)).kid == "ed"
    assert parse_keyring(KEYS).signer.kid == "hs"


def test_long_leases() -> None:
    """A lease that is longer than a token may be is not issued."""
    ring = ring_of(Algorithm.HS256)
    with pytest.raises(LeaseDocumentError, match="fewer images"):
        sign_lease(ring.signing_key(), attrs.evolve(CLAIMS, images=tuple(f"{n:0>120}" for n in range(16))))


def test_claims_are_short() -> None:
    """What is not set does not travel; one image is no array; whole seconds have no fraction."""
    token = sign_lease(ring_of(Algorithm.HS256).signing_key(), attrs.evolve(CLAIMS, subject=None))
    payload = token.split(".")[1]
    written = json.loads(base64url.decode(payload) or b"")
    assert written == {"img": "win98", "scope": "disk:read", "iat": 1800000000, "exp": 1800000900, "jti": "one"}
