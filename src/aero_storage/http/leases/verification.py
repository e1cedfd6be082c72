"""Verifies a token in the contract's order: shape, key, signature, JSON, claims, revocation (http.md §12)."""

from __future__ import annotations

import hashlib

import attrs

from aero_storage.http.leases.claims import Claims, parse_claims
from aero_storage.http.leases.key_set import KeySet
from aero_storage.http.leases.results import LeaseRefusedError, LeaseResult
from aero_storage.http.leases.revocations import NO_REVOCATIONS, Revocations
from aero_storage.http.leases.signatures import VerificationKey
from aero_storage.http.leases.tokens import Jws, parse_token

_DIGITS = 8


@attrs.frozen
class LeaseRules:
    """The operator's rules: the settings of leases."""

    audience: str | None = None
    max_lifetime: float = 86400.0
    """Limit of `exp - iat`, in seconds."""
    leeway: float = 30.0
    """Seconds that are granted on every time."""
    stream_grace: float = 0.0
    """Seconds for which a response goes on after its lease has ended."""

    @property
    def longest_use(self) -> float:
        """Seconds from the making of a lease until none of that age can be good any more."""
        return self.max_lifetime + self.leeway

    @property
    def longest_stream(self) -> float:
        """Seconds from the making of a lease until no response can be under way that one of that age opened."""
        return self.longest_use + self.stream_grace


LeaseIdentity = tuple[str, str]
"""The key and the name of a lease: tokens that have both in common are one lease for limits."""


@attrs.frozen
class Lease:
    """A verified token: its signature, audience and lifetime are good, and it is not revoked as a whole.

    Times, scope, image and version are for `judgement`. It holds while keys and revocations stay as they are.
    """

    kid: str
    name: str
    """Its `jti`, or the first 8 hex digits of the token's SHA-256: `lease` in the log."""
    claims: Claims
    revoked_images: frozenset[str] = frozenset()
    """Those of its images for which it is revoked."""

    @property
    def identity(self) -> LeaseIdentity:
        """Its key and name; issuers with keys of their own may choose the same names."""
        return self.kid, self.name


@attrs.frozen(eq=False)
class Unverified:
    """A token of good shape with a known key; `verify` is the costly part."""

    jws: Jws
    key: VerificationKey


@attrs.frozen(eq=False)
class LeaseVerifier:
    """Verifies tokens by one key set, one list of revocations and the operator's rules."""

    keys: KeySet
    revocations: Revocations = NO_REVOCATIONS
    rules: LeaseRules = LeaseRules()

    def verify(self, token: str) -> Lease:
        """Return the lease of a token. Raises LeaseRefusedError with the first word that applies."""
        return self.finish(token, self.begin(token))

    def begin(self, token: str) -> Unverified:
        """Check shape and key, at a small cost. Raises LeaseRefusedError: `malformed` or `unknown_key`."""
        jws = parse_token(token)
        key = self.keys.find(jws.kid)
        if key is None:
            raise LeaseRefusedError(LeaseResult.UNKNOWN_KEY, "no key of this set has the `kid` of the token")
        return Unverified(jws, key)

    def finish(self, token: str, begun: Unverified) -> Lease:
        """Check signature and claims of the same token. Raises LeaseRefusedError."""
        jws, key = begun.jws, begun.key
        if jws.algorithm is not key.algorithm:
            raise _bad_signature("the header names another algorithm than that of the key")
        if not key.verifies(jws.signature, jws.signed):
            raise _bad_signature("the signature is not that of the key")
        claims = parse_claims(jws.payload)
        self._check(claims)
        return self._unless_revoked(Lease(jws.kid, claims.identifier or digits_of(token), claims))

    def revised(self, lease: Lease) -> Lease | None:
        """Return a lease that was verified by the same keys as it is by these revocations; None if it is revoked."""
        if self.revocations.revoke(lease.kid, lease.claims):
            return None
        revoked = self.revocations.images_of(lease.claims)
        return lease if revoked == lease.revoked_images else attrs.evolve(lease, revoked_images=revoked)

    def _check(self, claims: Claims) -> None:
        if self.rules.audience is not None and self.rules.audience not in claims.audience:
            raise LeaseRefusedError(LeaseResult.WRONG_AUDIENCE, "`aud` does not have the audience of this server")
        if claims.lifetime > self.rules.max_lifetime:
            raise LeaseRefusedError(
                LeaseResult.TOO_LONG,
                f"from `iat` to `exp` are {claims.lifetime:g} seconds; {self.rules.max_lifetime:g} are allowed",
            )

    def _unless_revoked(self, lease: Lease) -> Lease:
        revised = self.revised(lease)
        if revised is None:
            raise LeaseRefusedError(LeaseResult.REVOKED, "the lease, its user or its key is revoked")
        return revised


def digits_of(token: str) -> str:
    """Return the first 8 hex digits of a token's SHA-256, by which the log names it."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]


def _bad_signature(message: str) -> LeaseRefusedError:
    return LeaseRefusedError(LeaseResult.BAD_SIGNATURE, message)
