"""The handler: which question about a request comes first, and whose its place under the cap is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import attrs
import pytest
from twisted.internet.defer import CancelledError, Deferred

from aero_storage.catalog.model import Image
from aero_storage.delivery.admission import Place
from aero_storage.delivery.byte_handler import Memo
from aero_storage.delivery.exchange import Ending
from aero_storage.delivery.facts import Names
from aero_storage.delivery.routes import ROUTES, Plane, Resource, Route
from aero_storage.errors import RefusalReason
from aero_storage.storage.blob import Blob
from aero_storage.storage.store import BlobRequest

if TYPE_CHECKING:
    from tests.delivery.conftest import Ask, Bench, Drive

IMAGE = Image("disk.img", "files/disk.raw", "Disk")
PRIVATE = Image("private.img", "files/private.raw", "Private", public=False)
PATHS = [
    route.template.replace(":image_id", "disk.img").replace(":version", "v1").replace(":chunk_name", "00000000.bin")
    for route in ROUTES
]
LIMITED = [path for path, route in zip(PATHS, ROUTES, strict=True) if route.takes_place]
UNLIMITED = [path for path in PATHS if path not in LIMITED]
BAD_IDS = ["..", "%2e%2e", "a%2Fb", "%00", "%zz", "a" * 129, "a%5Cb", "%252e"]
BYTES = "/v1/images/disk.img"


@pytest.fixture(autouse=True)
def _catalog(bench: Bench) -> None:
    bench.serve(IMAGE, PRIVATE)
    bench.store.put("files/disk.raw")


def fill(bench: Bench, drive: Drive) -> list[Place]:
    """Take all places, so that every request that wants one has to wait."""
    return [drive(bench.admission.acquire("192.0.2.1")) for _ in range(2)]


# Before anything is looked for


@pytest.mark.parametrize(
    "path", ["//", "/nowhere", "/v1", "/v1/images/x/y", "/v1/images/disk.img/", "//v1/images/disk.img"]
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "BREW"])
def test_unknown_paths(ask: Ask, bench: Bench, path: str, method: str) -> None:
    """A path that no route knows is a 404 whatever the method, empty below /v1/images/, and nothing is opened."""
    reply = bench.answer(ask(path, method=method))
    assert reply.status == 404
    assert (reply.body == b"") is path.startswith("/v1/images/")
    assert not bench.store.opened


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "get", "BREW"])
@pytest.mark.parametrize("body", [False, True])
def test_other_methods(ask: Ask, bench: Bench, path: str, method: str, *, body: bool) -> None:
    """Any other method on a known route is a 405 with `Allow`, with a body or without."""
    reply = bench.answer(ask(path, method=method, body=body))
    assert reply.status == 405
    assert ("Allow", "GET, HEAD, OPTIONS") in reply.headers


@pytest.mark.parametrize("bad_id", BAD_IDS)
@pytest.mark.parametrize("path", ["/v1/images/{}", "/v1/images/{}/meta", "/v1/images/{}/chunked/manifest"])
def test_method_before_id(ask: Ask, bench: Bench, path: str, bad_id: str) -> None:
    """The method is looked at before the id: 405, and 204 for a preflight, whatever the id."""
    assert bench.answer(ask(path.format(bad_id), method="POST")).status == 405
    assert bench.answer(ask(path.format(bad_id), method="OPTIONS")).status == 204


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_announced_body(ask: Ask, bench: Bench, path: str, method: str) -> None:
    """A request that announces a body is a 413 before anything is done for it."""
    assert bench.answer(ask(path, method=method, body=True)).status == 413
    assert not bench.store.opened + bench.store.asked


@pytest.mark.parametrize("path", PATHS)
def test_preflights(ask: Ask, bench: Bench, drive: Drive, path: str) -> None:
    """A preflight is answered on every route: without a place, a catalog or an image."""
    fill(bench, drive)
    assert bench.answer(ask(path.replace("disk.img", "no-such-image"), method="OPTIONS")).status == 204
    assert (bench.admission.waiting, bench.store.opened) == (0, [])


@pytest.mark.parametrize("bad_id", BAD_IDS)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_invalid_ids(ask: Ask, bench: Bench, drive: Drive, bad_id: str, method: str) -> None:
    """An invalid id is a 404 among bytes and a 400 among metadata, before a place is taken or anything asked."""
    fill(bench, drive)
    for rest in ("", "/data", "/chunked/manifest", "/chunked/v1/chunks/0.bin"):
        reply = bench.answer(ask(f"/v1/images/{bad_id}{rest}", method=method))
        assert (reply.status, reply.body) == (404, b"")
    reply = bench.answer(ask(f"/v1/images/{bad_id}/meta", method=method))
    assert (reply.status, list(json.loads(reply.body))) == (400, ["error"])
    assert not bench.store.opened + bench.store.asked


@pytest.mark.parametrize(
    "rest",
    [
        "chunked/../manifest",
        "chunked/chunks/manifest.json",
        "chunked/%00/chunks/0.bin",
        "chunked/chunks/chunks/0.bin",
        "chunked/v1/chunks/0.BIN",
        "chunked/chunks/x.bin",
        "chunked/chunks/..%2f0.bin",
        f"chunked/chunks/{'0' * 33}.bin",
        f"chunked/{'v' * 129}/manifest",
    ],
)
def test_invalid_chunk_names(ask: Ask, bench: Bench, drive: Drive, rest: str) -> None:
    """An invalid version or chunk name is a 404, before a place is taken or anything opened."""
    fill(bench, drive)
    assert bench.answer(ask(f"{BYTES}/{rest}")).status == 404
    assert (bench.admission.waiting, bench.store.opened) == (0, [])


@pytest.mark.parametrize(
    ("image_id", "version", "status"), [("disk.img", b"v-%20", 404), ("disk.img", b"chunks", 404), ("..", b"..", 400)]
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_invalid_versions_among_metadata(
    ask: Ask, bench: Bench, image_id: str, version: bytes, status: int, method: str
) -> None:
    """An invalid version is a 404 that nobody keeps among metadata too; the id is looked at before it."""
    route = Route("/v1/images/:image_id/versions/:version/about", Resource.META, Plane.METADATA)
    names = Names.parse({"image_id": image_id.encode(), "version": version})
    reply = bench.answer(attrs.evolve(ask(f"{BYTES}/meta", method=method), route=route, names=names))
    assert (reply.status, list(json.loads(reply.body))) == (status, ["error"])
    assert dict(reply.headers)["Cache-Control"] == "no-store"
    assert reply.refused is not None
    assert (reply.refused.reason, bench.store.opened) == (RefusalReason.ID, [])


# The place


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", LIMITED)
@pytest.mark.parametrize("known", [True, False])
def test_place_before_existence(ask: Ask, bench: Bench, drive: Drive, path: str, method: str, *, known: bool) -> None:
    """A request for bytes waits for a place before anybody looks whether the image exists; late it is a 429."""
    fill(bench, drive)
    if not known:
        path = path.replace("disk.img", "no-such-image")
    handler = bench.handler()
    waiting = Deferred.fromCoroutine(handler.answer(bench.exchange(ask(path, method=method)), None))
    assert (waiting.called, bench.admission.waiting, bench.store.opened) == (False, 1, [])
    bench.clock.advance(1.0)
    reply = drive(waiting)
    assert (reply.status, reply.body) == (429, b"")
    assert ("Retry-After", "1") in reply.headers
    assert {"Access-Control-Allow-Origin", "Cross-Origin-Resource-Policy"} <= set(dict(reply.headers))
    assert dict(reply.headers)["Cache-Control"] == "no-store, no-transform"


def test_place_comes_free(ask: Ask, bench: Bench, drive: Drive) -> None:
    """A request that gets a place while it waits is answered as if it had never waited."""
    first, _ = fill(bench, drive)
    handler = bench.handler()
    waiting = Deferred.fromCoroutine(handler.answer(bench.exchange(ask()), None))
    first.release()
    assert drive(waiting).status == 200


@pytest.mark.parametrize("path", UNLIMITED)
def test_unlimited_routes(ask: Ask, bench: Bench, drive: Drive, path: str) -> None:
    """Metadata and operations need no place."""
    fill(bench, drive)
    statuses = {
        "": 404,
        "lease": 204,
        ":part": 404,
        "profile": 404,
        "extents": 404 if "/versions/v1/" in path else 200,
    }
    assert bench.answer(ask(path)).status == statuses.get(path.rpartition("/")[2], 200)


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        (BYTES, {}, 200),
        (BYTES, {"Range": "bytes=0-9"}, 206),
        (BYTES, {"If-None-Match": "*"}, 304),
        (BYTES, {"Range": "bytes=5000-"}, 416),
        ("/v1/images/no-such-image", {}, 404),
        ("/v1/images/private.img", {}, 404),
        (BYTES + "/chunked/manifest", {}, 404),
    ],
)
def test_place_is_held_to_the_end(ask: Ask, bench: Bench, path: str, headers: dict[str, str], status: int) -> None:
    """Whatever the reply, the place belongs to the exchange until that ends."""
    handler = bench.handler()
    asked = ask(path, headers)
    exchange = bench.exchange(asked)
    waiting = Deferred.fromCoroutine(handler.answer(exchange, asked.range))
    assert bench.admission.taken == 1
    exchange.end(Ending.COMPLETE, status, 0)
    assert bench.admission.taken == 0
    waiting.addCallback(lambda reply: reply.status)
    assert waiting.result == status


def test_client_that_leaves_the_queue(ask: Ask, bench: Bench, drive: Drive) -> None:
    """A client that goes while its request waits for a place leaves the queue."""
    fill(bench, drive)
    handler = bench.handler()
    waiting = Deferred.fromCoroutine(handler.answer(bench.exchange(ask()), None))
    waiting.cancel()
    with pytest.raises(CancelledError):
        drive(waiting)
    assert bench.admission.waiting == 0
    assert not bench.clock.getDelayedCalls()


def test_client_that_leaves_during_the_open(ask: Ask, bench: Bench, drive: Drive) -> None:
    """A client that goes while its image is opened cancels the open; its place is free when the exchange ends."""
    opening: list[Deferred[Blob]] = []
    bench.store.held = Deferred(opening.append)
    handler = bench.handler()
    exchange = bench.exchange(ask())
    waiting = Deferred.fromCoroutine(handler.answer(exchange, None))
    waiting.cancel()
    assert opening == [bench.store.held]
    with pytest.raises(CancelledError):
        drive(waiting)
    exchange.end(Ending.DISCONNECTED, 499, 0)
    assert bench.admission.taken == 0
    assert bench.disk.works == 0


def test_remembered_decision_before_and_after_its_date(ask: Ask, bench: Bench) -> None:
    """A remembered decision shows a date as soon as it has come, and hides it again if the clock is set back."""
    bench.store.cached[BlobRequest(IMAGE)] = bench.store.put("disk.img", mtime_ns=int(bench.now + 1) * 10**9)
    handler, memo, seen = bench.handler(), Memo(), []
    for step in (0, 0.9, 0.1, 5, -5.5):
        bench.now += step
        exchange = bench.exchange(ask())
        reply = handler.answer_now(exchange, "bytes=0-0", memo)
        assert reply is not None
        exchange.end(Ending.COMPLETE, reply.status, 0)
        seen.append("Last-Modified" in dict(reply.headers))
    assert seen == [False, False, True, True, False]
