"""Leases that have opened a head before, which the fast path looks at again (http.md §12)."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from tests.delivery.conftest import Ask, Bench
from tests.lease_tokens import KEYS, NOW, OKP, key_document, with_claims

from aero_storage.catalog.model import Image
from aero_storage.delivery.access import LeaseAccess
from aero_storage.delivery.byte_handler import Memo
from aero_storage.delivery.exchange import Exchange
from aero_storage.delivery.leases_in_force import LeasesInForce
from aero_storage.delivery.token_verification import TokenVerification
from aero_storage.http.forwarded import TrustedProxies
from aero_storage.http.leases.failure_limit import FailureLimit
from aero_storage.http.leases.key_set import parse_key_set
from aero_storage.http.leases.revocations import read_revocations
from aero_storage.http.leases.verification import LeaseRules
from aero_storage.storage.store import BlobRequest

IMAGE = Image("win98", "disk.raw", "Disk", public=False)
URL = "/v1/images/win98"
BEARER = {"Authorization": f"Bearer {with_claims()}"}
LATER = f"aero-lease={with_claims(jti='cookie')}"


@attrs.define(eq=False)
class Fast:
    """A handler that asks for leases, and one memo for all requests: they have the same head."""

    bench: Bench
    leases: LeasesInForce
    handler: Any
    memo: Memo = attrs.field(factory=Memo)

    def answer(self, facts: Any) -> tuple[int, Exchange]:
        exchange = self.bench.exchange(facts)
        reply = self.handler.answer_now(exchange, None, self.memo)
        assert reply is not None
        return reply.status, exchange


@pytest.fixture
def fast(bench: Bench) -> Fast:
    bench.now = NOW
    leases = LeasesInForce.of(parse_key_set(KEYS), LeaseRules(leeway=0.0))
    verification = TokenVerification(leases, FailureLimit(0), bench.clock, bench.clock.seconds, bench.clock.seconds)
    access = LeaseAccess(leases, verification, bench.current_catalog, TrustedProxies(()), lambda: bench.now)
    bench.admission.max_concurrent_bytes_requests = 0
    bench.serve(IMAGE)
    bench.store.cached[BlobRequest(IMAGE)] = bench.store.put("disk.raw")
    return Fast(bench, leases, bench.handler(access=access))


def test_revoked(fast: Fast, ask: Ask) -> None:
    """A head that a lease has opened is a 401 once the lease is revoked."""
    assert fast.answer(ask(URL, BEARER))[0] == 200
    fast.leases.replace(revocations=read_revocations([b'{"jti": "lease-1"}'], 0.0))
    assert fast.answer(ask(URL, BEARER))[0] == 401


def test_without_its_key(fast: Fast, ask: Ask) -> None:
    """A head that a lease has opened is a 401 once its key is gone."""
    assert fast.answer(ask(URL, BEARER))[0] == 200
    fast.leases.replace(keys=parse_key_set(key_document(OKP)))
    assert fast.answer(ask(URL, BEARER))[0] == 401


def test_ended(fast: Fast, ask: Ask) -> None:
    """A head that a lease has opened is a 401 once the lease has ended."""
    assert fast.answer(ask(URL, BEARER))[0] == 200
    fast.bench.now = NOW + 840
    assert fast.answer(ask(URL, BEARER))[0] == 401


def test_an_earlier_one_becomes_good(fast: Fast, ask: Ask) -> None:
    """Of two leases the first counts from the moment at which it is good, not only for heads that are new then."""
    headers = {"Authorization": f"Bearer {with_claims(nbf=NOW + 60)}", "Cookie": LATER}
    for now, name in ((NOW, "cookie"), (NOW + 59, "cookie"), (NOW + 60, "lease-1")):
        fast.bench.now = now
        status, exchange = fast.answer(ask(URL, headers))
        assert exchange.lease is not None
        assert (status, exchange.lease.name) == (200, name)


def test_an_earlier_one_in_a_url(fast: Fast, ask: Ask) -> None:
    """Of an earlier lease in the query `uexp` counts on each use: past it, it stays refused."""
    query = f"lease={with_claims(nbf=NOW + 60, uexp=NOW + 60)}"
    for now, name in ((NOW, "cookie"), (NOW + 60, "lease-1"), (NOW + 61, "cookie")):
        fast.bench.now = now
        status, exchange = fast.answer(ask(URL, {"Cookie": LATER}, query=query))
        assert exchange.lease is not None
        assert (status, exchange.lease.name) == (200, name)
