"""A listing that stands in for a catalog is made anew before a request that finds it old."""

from __future__ import annotations

import attrs
import pytest
from tests.storage.objects.fake_origin import FakeOrigin, common_looks
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from aero_storage.service.listing_on_demand import ListingOnDemand
from aero_storage.storage.objects.polled_documents import PolledDocuments
from aero_storage.storage.objects.shared_look import LATE_SECONDS


@attrs.define(eq=False)
class Bench:
    clock: Clock = attrs.field(factory=Clock)
    origin: FakeOrigin = attrs.field(factory=FakeOrigin)
    checks: list[Deferred[None]] = attrs.field(factory=list)
    documents: PolledDocuments = attrs.field(init=False)
    renewal: ListingOnDemand = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        common = common_looks(self.origin, self.clock)
        self.documents = PolledDocuments(common, common, 5.0, self.clock.seconds)
        self.renewal = ListingOnDemand(self.documents, self.check, self.clock)
        self.documents.state()

    async def check(self) -> None:
        self.checks.append(Deferred())
        await self.checks[-1]

    def listed(self) -> None:
        """End the check that is under way, with a new listing."""
        self.documents.state()
        self.checks[-1].callback(None)

    def wait(self) -> list[None]:
        done: list[None] = []
        Deferred.fromCoroutine(self.renewal.done()).addCallback(done.append)
        return done


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_waits_for_one_listing(bench: Bench) -> None:
    """Requests that find the listing old wait for the same new one; those that follow do not wait."""
    bench.clock.advance(5)
    assert not bench.renewal.is_due()
    bench.clock.advance(0.1)
    assert bench.renewal.is_due()
    waiting = [bench.wait(), bench.wait()]
    assert (waiting, len(bench.checks)) == ([[], []], 1)
    bench.listed()
    assert waiting == [[None], [None]]
    assert not bench.renewal.is_due()


def test_origin_away(bench: Bench) -> None:
    """A listing that is late, or fails, holds nobody up until there is one again."""
    bench.clock.advance(6)
    assert bench.renewal.is_due()
    waiting = bench.wait()
    bench.clock.advance(LATE_SECONDS)
    assert waiting == [None]
    assert not bench.renewal.is_due()
    bench.checks[-1].callback(None)  # it has failed: the listing is as old as it was
    assert not bench.renewal.is_due()
    bench.documents.state()
    assert not bench.renewal.is_due()
    bench.clock.advance(6)
    assert bench.renewal.is_due()


def test_a_manifest(bench: Bench) -> None:
    """A catalog that is a manifest is polled, and no request waits for it."""
    bench.origin.bucket.put("manifest.json", b"[]")
    bench.clock.advance(60)
    bench.documents.state()
    bench.clock.advance(60)
    assert not bench.renewal.is_due()
