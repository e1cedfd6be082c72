"""The replies to requests without a lease that opens what they ask for."""

from __future__ import annotations

from aero_storage.delivery.facts import Facts
from aero_storage.delivery.policy import Policy
from aero_storage.delivery.reply import Refused, Reply, error
from aero_storage.errors import ClientError, RefusalReason
from aero_storage.http.cors import CHALLENGE
from aero_storage.http.leases.judgement import Verdict
from aero_storage.http.leases.results import LeaseResult


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
