"""Whether leases open an image now: times, then scope, image, version (http.md §12)."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import attrs

from aero_storage.http.leases.carriers import Presented
from aero_storage.http.leases.claims import READ_SCOPE, Claims
from aero_storage.http.leases.results import LeaseResult
from aero_storage.http.leases.verification import Lease, digits_of


@attrs.frozen
class Wanted:
    """The image that a request asks for, and the versions that its URL means.

    `versions` is None where any version will do, or where it is not known yet; then `ver` is judged later, by
    `opens_version`.
    """

    image_id: str
    versions: Collection[str] | None = None


@attrs.frozen
class Verdict:
    """The answer to one token, or to a request; `presented` is None if the request has none."""

    result: LeaseResult
    presented: Presented | None = None
    lease: Lease | None = None
    """Set where the signature is good."""

    @property
    def name(self) -> str | None:
        """How the log calls it: of a good one its `jti` or digits, of a refused one the digits alone."""
        if self.presented is None:
            return None
        if self.result is LeaseResult.OK and self.lease is not None:
            return self.lease.name
        return digits_of(self.presented.token)


MISSING = Verdict(LeaseResult.MISSING)
"""The answer to a request without a token."""


def judge(lease: Lease, wanted: Wanted, now: float, leeway: float, *, in_url: bool) -> LeaseResult:
    """Return what a verified lease is good for at `now`, a wall-clock time; `in_url` if it came in a query."""
    if wanted.image_id in lease.revoked_images:
        return LeaseResult.REVOKED
    return judge_time(lease.claims, now, leeway, in_url=in_url) or _judge_use(lease.claims, wanted)


def judge_time(claims: Claims, now: float, leeway: float, *, in_url: bool) -> LeaseResult | None:
    """Return `expired` or `not_yet`; None if the lease is good at `now`.

    `exp` is the first moment at which it is none any more (RFC 7519 §4.1.4), `uexp` the last at which it is one.
    """
    if now >= claims.expires_at + leeway:
        return LeaseResult.EXPIRED
    if in_url and claims.url_until is not None and now > claims.url_until + leeway:
        return LeaseResult.EXPIRED
    if now + leeway < max(claims.issued_at, claims.not_before or claims.issued_at):
        return LeaseResult.NOT_YET
    return None


def _judge_use(claims: Claims, wanted: Wanted) -> LeaseResult:
    if READ_SCOPE not in claims.scopes:
        return LeaseResult.WRONG_SCOPE
    if wanted.image_id not in claims.images:
        return LeaseResult.WRONG_IMAGE
    if wanted.versions is not None and not opens_version(claims, wanted.versions):
        return LeaseResult.WRONG_VERSION
    return LeaseResult.OK


def opens_version(claims: Claims, versions: Collection[str]) -> bool:
    """Return whether a lease is for any version, or for one of these."""
    return claims.version is None or claims.version in versions


def choose(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the answer to a request, from those to its tokens in the order of their carriers.

    The first that is good wins; else the first that is valid, else the first. No more are asked for than it takes.
    """
    first: Verdict | None = None
    valid: Verdict | None = None
    for verdict in verdicts:
        if verdict.result is LeaseResult.OK:
            return verdict
        first = first or verdict
        if valid is None and verdict.result.is_valid:
            valid = verdict
    return valid or first or MISSING
