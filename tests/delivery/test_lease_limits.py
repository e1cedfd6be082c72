"""What one lease may take: how many requests at once, which tokens count as one lease, and what is remembered."""

from __future__ import annotations

import attrs
import pytest
from twisted.internet.task import Clock

from aero_storage.delivery.lease_limits import LeaseLimiter
from aero_storage.errors import LeaseOverdrawnError
from aero_storage.http.leases.claims import Claims
from aero_storage.http.leases.verification import Lease
from aero_storage.streaming.throttle import BURST_SECONDS, shared_bucket

LEASE = Lease("key", "name", Claims(("win98",), frozenset(), 0.0, 1.0))


@attrs.define(eq=False)
class Limits:
    """A limiter, and how often it has refused."""

    most: int = 0
    rate: int = 0
    clock: Clock = attrs.field(factory=Clock)
    refusals: int = 0
    limiter: LeaseLimiter = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        make = (lambda: shared_bucket(self.rate, self.clock)) if self.rate else None
        self.limiter = LeaseLimiter(self.most, make, self.clock.seconds, refused=self.refused)

    def refused(self) -> None:
        self.refusals += 1

    @property
    def remembered(self) -> int:
        return len(self.limiter._uses)  # noqa: SLF001


def test_the_most_of_one_lease() -> None:
    """One more than the most is refused and counted; a request that ends makes room, and nothing is left behind."""
    limits = Limits(most=2)
    uses = [limits.limiter.take(LEASE) for _ in range(2)]
    for times in (1, 2):
        with pytest.raises(LeaseOverdrawnError):
            limits.limiter.take(LEASE)
        assert limits.refusals == times
    uses.pop().release()
    uses.append(limits.limiter.take(LEASE))
    for use in uses:
        use.release()
    assert limits.remembered == 0


@pytest.mark.parametrize("other", [attrs.evolve(LEASE, kid="other"), attrs.evolve(LEASE, name="other")])
def test_other_leases(other: Lease) -> None:
    """Leases of another name, or of the same name by another key, have limits of their own."""
    limits = Limits(most=1)
    limits.limiter.take(LEASE)
    limits.limiter.take(other)
    assert limits.refusals == 0


def test_tokens_of_one_name() -> None:
    """A renewed token of the same name and key is the same lease: renewal is no way around a limit."""
    limits = Limits(most=1)
    limits.limiter.take(LEASE)
    renewed = attrs.evolve(LEASE, claims=attrs.evolve(LEASE.claims, expires_at=2.0))
    with pytest.raises(LeaseOverdrawnError):
        limits.limiter.take(renewed)


def test_no_most() -> None:
    """0 is any number, and without a limit of speed there is no bucket."""
    limits = Limits()
    uses = [limits.limiter.take(LEASE) for _ in range(1000)]
    assert {use.bucket for use in uses} == {None}


def test_one_bucket() -> None:
    """Requests of one lease share a bucket, also with one that begins just after the others have ended."""
    limits = Limits(rate=1000)
    first, second = limits.limiter.take(LEASE), limits.limiter.take(LEASE)
    bucket = first.bucket
    assert bucket is not None
    assert second.bucket is bucket
    bucket.spend(150)
    first.release()
    second.release()
    limits.clock.advance(BURST_SECONDS / 2)
    third = limits.limiter.take(LEASE)
    assert third.bucket is bucket
    assert bucket.left == 75


def test_what_is_remembered() -> None:
    """A lease without requests is forgotten when its bucket is full again, and not while another request has it."""
    limits = Limits(rate=1000)
    busy = limits.limiter.take(LEASE)
    for number in range(100):
        limits.limiter.take(attrs.evolve(LEASE, name=str(number))).release()
    again = limits.limiter.take(attrs.evolve(LEASE, name="7"))
    assert limits.remembered == 101
    limits.clock.advance(BURST_SECONDS)
    limits.limiter.take(attrs.evolve(LEASE, name="new")).release()
    assert limits.remembered == 3
    again.release()
    busy.release()
    limits.clock.advance(BURST_SECONDS)
    limits.limiter.take(LEASE).release()
    assert limits.remembered == 1
