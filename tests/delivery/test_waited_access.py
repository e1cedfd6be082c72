"""Who may have what, where an image changes or is missing while a request waits (http.md §12)."""

from __future__ import annotations

import attrs
import pytest
from tests.delivery.conftest import Ask, Bench, Drive
from tests.lease_tokens import KEYS, NOW, with_claims
from twisted.internet.defer import Deferred

from aero_storage.catalog.model import Image
from aero_storage.delivery.access import LeaseAccess
from aero_storage.delivery.handler import RequestHandler
from aero_storage.delivery.leases_in_force import LeasesInForce
from aero_storage.delivery.reply import Reply
from aero_storage.delivery.token_verification import TokenVerification
from aero_storage.http.forwarded import TrustedProxies
from aero_storage.http.leases.failure_limit import FailureLimit
from aero_storage.http.leases.key_set import parse_key_set
from aero_storage.http.leases.results import LeaseResult
from aero_storage.http.leases.verification import LeaseRules

OPEN = Image("win98", "disk.raw", "Disk")
CLOSED = attrs.evolve(OPEN, public=False)
CHUNKED = attrs.evolve(CLOSED, chunked_version="v1", virtual_chunks=False)
URL = "/v1/images/win98"


@pytest.fixture
def leases() -> LeasesInForce:
    return LeasesInForce.of(parse_key_set(KEYS), LeaseRules())


@pytest.fixture
def verification(bench: Bench, leases: LeasesInForce) -> TokenVerification:
    return TokenVerification(leases, FailureLimit(10), bench.clock, bench.clock.seconds, bench.clock.seconds)


@pytest.fixture
def handler(bench: Bench, leases: LeasesInForce, verification: TokenVerification) -> RequestHandler:
    """A handler that asks for leases, over a store with the image."""
    access = LeaseAccess(leases, verification, bench.current_catalog, TrustedProxies(()), lambda: NOW)
    bench.store.put("disk.raw")
    return bench.handler(access=access)


def bearer(**claims: object) -> dict[str, str]:
    return {"Authorization": f"Bearer {with_claims(**claims)}"}


@pytest.mark.parametrize(
    ("headers", "status"), [({}, 401), (bearer(img="other"), 403), (bearer(), 200)], ids=["none", "other", "good"]
)
def test_made_private_while_it_waits_for_a_place(
    bench: Bench, ask: Ask, drive: Drive, handler: RequestHandler, headers: dict[str, str], status: int
) -> None:
    """A request that waits for its place needs a lease if the catalog has made its image private meanwhile."""
    bench.serve(OPEN)
    places = [drive(bench.admission.acquire("192.0.2.1")) for _ in range(2)]
    exchange, replies = bench.exchange(ask(URL, headers)), list[Reply]()
    Deferred.fromCoroutine(handler.answer(exchange, None)).addCallback(replies.append)
    assert replies == []
    bench.serve(CLOSED)
    for place in places:
        place.release()
    (reply,) = replies
    assert reply.status == status
    assert (exchange.lease is not None) is (status == 200)


def test_made_private_while_a_token_waits_for_its_verification(
    bench: Bench, ask: Ask, handler: RequestHandler, verification: TokenVerification
) -> None:
    """The list is of the catalog as it is when its tokens are verified: it shows nothing that is private by then."""
    bench.serve(OPEN)
    verification._budget.spend(1.0, bench.clock.seconds())  # noqa: SLF001
    replies = list[Reply]()
    asked = bench.exchange(ask("/v1/images", bearer(img="other")))
    Deferred.fromCoroutine(handler.answer(asked, None)).addCallback(replies.append)
    assert replies == []
    bench.serve(CLOSED)
    bench.clock.pump([0.1] * 12)
    (reply,) = replies
    assert (reply.status, reply.body) == (200, b"[]")


@pytest.mark.parametrize(
    "path", [URL, *(f"{URL}/{rest}" for rest in ("meta", "extents", "profile", "chunked/manifest"))]
)
def test_made_private_by_a_look_at_the_origin(bench: Bench, ask: Ask, handler: RequestHandler, path: str) -> None:
    """A request needs a lease if the catalog that was looked at anew for it has its image as a private one."""
    del bench.store.blobs["disk.raw"]
    bench.serve(OPEN)

    async def look_anew() -> None:
        bench.store.put("disk.raw")
        bench.store.put("chunked/win98/v1/manifest.json")
        bench.serve(CHUNKED)

    anew = bench.handler(access=handler._access, look_anew=look_anew)  # noqa: SLF001
    reply = bench.answer(ask(path), handler=anew)
    assert (reply.status, dict(reply.headers).get("WWW-Authenticate")) == (401, "Bearer")
    assert bench.count("aero_storage_leases_total", result="missing") == 1


MISSING = [
    f"{URL}/chunked/v1/chunks/00000009.bin",
    f"{URL}/chunked/v9/chunks/00000000.bin",
    f"{URL}/chunked/v9/manifest",
    f"{URL}/chunked/manifest",
]


@pytest.mark.parametrize("path", MISSING)
def test_a_lease_for_another_version_finds_nothing_out(
    bench: Bench, ask: Ask, handler: RequestHandler, path: str
) -> None:
    """A lease for another version than that of the URL, and of the image, is a 403, chunk or no chunk."""
    bench.serve(CHUNKED)
    reply = bench.answer(ask(path, bearer(ver="v2")), handler=handler)
    assert reply.status == 403
    assert bench.count("aero_storage_leases_total", result=str(LeaseResult.WRONG_VERSION)) == 1
    assert bench.answer(ask(path, bearer()), handler=handler).status == 404
    del bench.store.blobs["disk.raw"]
    assert bench.answer(ask(path, bearer(ver="v2")), handler=handler).status == 403


def test_the_list_of_a_client_that_has_failed_too_often(bench: Bench, ask: Ask, handler: RequestHandler) -> None:
    """A lease that was seen before goes on showing its image in the list, whatever else the client presents."""
    bench.serve(CLOSED)
    cookie = f"aero-lease={with_claims()}"
    bad = {"Authorization": f"Bearer {with_claims()[:-4]}AAAA"}
    assert b"win98" in bench.answer(ask("/v1/images", {"Cookie": cookie}), handler=handler).body
    for _ in range(10):
        assert bench.answer(ask("/v1/images", bad), handler=handler).body == b"[]"
    shown = bench.answer(ask("/v1/images", bad | {"Cookie": cookie}), handler=handler)
    assert (shown.status, b"win98" in shown.body) == (200, True)
