"""The replies that leases bring about: refusals, and the header that says for how long a lease is good."""

from __future__ import annotations

from functools import lru_cache

import attrs

from aero_storage.delivery.facts import Facts
from aero_storage.delivery.policy import Policy
from aero_storage.delivery.reply import Refused, Reply, error
from aero_storage.errors import ClientError, RefusalReason
from aero_storage.http.cors import CHALLENGE, EXPOSE, LEASE_REMAINING, Headers
from aero_storage.http.leases.judgement import Verdict
from aero_storage.http.leases.results import LeaseResult
from aero_storage.http.leases.verification import Lease


class LeaseDeniedError(ClientError):
    """A private image is asked for without a lease that opens it; 401 or 403, as the verdict says."""

    status, reason = 401, RefusalReason.LEASE

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(str(verdict.result))
        self.verdict = verdict


def denial(facts: Facts, policy: Policy, verdict: Verdict) -> Reply:
    """Return the 401 or 403 to a request whose tokens got this verdict (RFC 6750 §3)."""
    result = verdict.result
    text = "a lease is required" if result is LeaseResult.MISSING else f"the lease is refused: {result}"
    challenge = (CHALLENGE, result.challenge or "")
    return error(facts, policy, result.status, challenge, reason=Refused(RefusalReason.LEASE), text=text)


def with_remaining(reply: Reply, lease: Lease, now: float) -> Reply:
    """Return the reply to a request that a lease has opened, with the time for which that is good."""
    remaining = (LEASE_REMAINING, str(lease.claims.remaining(now)))
    return attrs.evolve(reply, common=_exposing(reply.common), own=(*reply.own, remaining))


@lru_cache(256)  # also so that equal headers stay one object, by which the writer of heads knows them
def _exposing(headers: Headers) -> Headers:
    return tuple(
        (name, f"{value}, {LEASE_REMAINING}") if name == EXPOSE else (name, value) for name, value in headers
    )
