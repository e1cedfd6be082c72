"""Tokens that were verified before, when keys or revocations change (http.md §12)."""

from __future__ import annotations

import json

import pytest
from tests.lease_tokens import KEYS, NOW, OKP, key_document, with_claims
from twisted.internet.task import Clock

from aero_storage.delivery.leases_in_force import LeasesInForce
from aero_storage.delivery.token_verification import TokenVerification
from aero_storage.http.leases.failure_limit import FailureLimit
from aero_storage.http.leases.key_set import parse_key_set
from aero_storage.http.leases.results import LeaseResult
from aero_storage.http.leases.revocations import Revocations, read_revocations
from aero_storage.http.leases.signatures import HmacKey
from aero_storage.http.leases.verification import Lease, LeaseRules

CLIENT = "192.0.2.1"


def revoking(*lines: dict[str, object]) -> Revocations:
    return read_revocations([json.dumps(line).encode() for line in lines], 0.0)


@pytest.fixture
def leases() -> LeasesInForce:
    return LeasesInForce.of(parse_key_set(KEYS), LeaseRules())


@pytest.fixture
def verification(leases: LeasesInForce) -> TokenVerification:
    """One that has verified the tokens of Ada and Bob, for an image each and both."""
    clock = Clock()
    made = TokenVerification(leases, FailureLimit(10), clock, clock.seconds, clock.seconds)
    for token in (ADA, BOB):
        assert isinstance(made.verify_now(CLIENT, token), Lease)
    return made


ADA = with_claims(jti="ada", sub="ada", img=["win98", "other"])
BOB = with_claims(jti="bob", sub="bob")


@pytest.fixture
def signatures(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The signatures that are verified from now on."""
    verified: list[bytes] = []
    verifies = HmacKey.verifies

    def count(self: HmacKey, signature: bytes, data: bytes) -> bool:
        verified.append(signature)
        return verifies(self, signature, data)

    monkeypatch.setattr(HmacKey, "verifies", count)
    return verified


def test_a_revocation_of_others(
    leases: LeasesInForce, verification: TokenVerification, signatures: list[bytes]
) -> None:
    """A change of the revocations has no signature verified anew: thousands of readers do not have to wait for it."""
    for name in ("carol", "dave", "ada"):
        leases.replace(revocations=revoking({"jti": name}))
        lease = verification.verify_now(CLIENT, BOB)
        assert isinstance(lease, Lease)
        assert lease.name == "bob"
    assert signatures == []


@pytest.mark.parametrize("line", [{"jti": "ada"}, {"sub": "ada", "before": NOW}, {"kid": "hs"}])
def test_its_own_revocation(leases: LeasesInForce, verification: TokenVerification, line: dict[str, object]) -> None:
    """A token that was verified before is revoked like any other, and good again when the revocation is gone."""
    leases.replace(revocations=revoking(line))
    for _ in range(2):
        assert verification.verify_now(CLIENT, ADA) is LeaseResult.REVOKED
    leases.replace(revocations=revoking())
    assert isinstance(verification.verify_now(CLIENT, ADA), Lease)


def test_the_revocation_of_an_image(leases: LeasesInForce, verification: TokenVerification) -> None:
    """A token that was verified before loses the image that is revoked, and gets it back when that is undone."""
    for images in (["win98"], ["other"], ["other", "win98"], []):
        leases.replace(revocations=revoking(*({"img": image, "before": NOW} for image in images)))
        lease = verification.verify_now(CLIENT, ADA)
        assert isinstance(lease, Lease)
        assert lease.revoked_images == set(images)


def test_other_keys(leases: LeasesInForce, verification: TokenVerification) -> None:
    """A token whose key is gone is forgotten, also by the next change of the revocations."""
    leases.replace(keys=parse_key_set(key_document(OKP)))
    leases.replace(revocations=revoking({"jti": "carol"}))
    assert verification.verify_now(CLIENT, ADA) is LeaseResult.UNKNOWN_KEY
