"""The handler: what it finds behind each route, and what becomes of errors on the way."""

from __future__ import annotations

import json
import weakref
from typing import TYPE_CHECKING

import attrs
import pytest
from tests.policies import policy_with
from twisted.internet.defer import Deferred, fail

from aero_storage.catalog.model import Image
from aero_storage.delivery.byte_handler import Memo
from aero_storage.delivery.exchange import Ending
from aero_storage.delivery.reply import Refused, Reply
from aero_storage.delivery.routes import ROUTES, Plane, Resource
from aero_storage.errors import (
    BlobNotFoundError,
    BlobUnreadableError,
    CatalogError,
    ClientError,
    DescriptorsError,
    DiskHangsError,
    ObjectChangedError,
    OriginDeniedError,
    OriginUnavailableError,
    OverdrawnError,
    OverloadedError,
    RefusalReason,
)
from aero_storage.metrics import Counts

if TYPE_CHECKING:
    from tests.delivery.conftest import Ask, Bench, Drive

IMAGE = Image("disk.img", "files/disk.raw", "Disk")
PRIVATE = Image("private.img", "files/private.raw", "Private", public=False)
VERSIONED = Image("versioned", "files/versioned.raw", "Versioned", chunked_version="v2")
PATHS = [
    route.template.replace(":image_id", "disk.img").replace(":version", "v1").replace(":chunk_name", "00000000.bin")
    for route in ROUTES
]
BYTES = "/v1/images/disk.img"


@pytest.fixture(autouse=True)
def _catalog(bench: Bench) -> None:
    bench.serve(IMAGE, PRIVATE, VERSIONED)
    bench.store.put("files/disk.raw")


@pytest.mark.parametrize("path", [BYTES, BYTES + "/data", "/v1/images/%64isk.img"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_bytes(ask: Ask, bench: Bench, path: str, method: str) -> None:
    """The image's file is opened, its blob belongs to the exchange, and the reply is about it."""
    handler = bench.handler()
    asked = ask(path, {"Range": "bytes=5-9"}, method=method)
    exchange = bench.exchange(asked)
    replies: list[Reply] = []
    Deferred.fromCoroutine(handler.answer(exchange, asked.range)).addCallback(replies.append)
    (reply,) = replies
    assert bench.store.opened == ["files/disk.raw"]
    assert exchange.blob is bench.store.blobs["files/disk.raw"]
    assert (reply.status, dict(reply.headers)["Content-Range"]) == (206, "bytes 5-9/1000")
    assert dict(reply.headers)["ETag"] == '"3e8-6553f100-1dcd6500"'


def test_no_old_catalog_is_kept(ask: Ask, bench: Bench) -> None:
    """What is remembered for a request follows the catalog, and keeps none alive that is not in force."""
    handler, memo, facts = bench.handler(), Memo(), ask()
    seen = []
    for images in ((IMAGE,), (attrs.evolve(IMAGE, file="files/other.raw"),)):
        bench.serve(*images)
        seen.append(weakref.ref(bench.current_catalog.current))
        exchange = bench.exchange(facts)
        handler.answer_now(exchange, None, memo)
        exchange.end(Ending.COMPLETE, 200, 0)
        assert memo.image is images[0]
        assert memo.request.image is images[0]
    bench.serve(PRIVATE)
    assert [catalog() for catalog in seen] == [None, None]


def test_policy_and_catalog_are_heeded(ask: Ask, bench: Bench) -> None:
    """What the catalog says of an image, and the settings, shape the reply."""
    bench.store.put("files/private.raw", size=10)
    reply = bench.answer(ask("/v1/images/private.img"), policy_with(cross_origin_resource_policy="cross-origin"))
    assert dict(reply.headers)["Cache-Control"] == "private, no-store, no-transform"
    assert dict(reply.headers)["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert bench.answer(ask(), policy_with(require_range=True)).status == 416


@pytest.mark.parametrize("path", ["/v1/images/no-such-image", "/v1/images/files", "/v1/images/disk.raw"])
def test_unknown_images(ask: Ask, bench: Bench, path: str) -> None:
    """An id that the catalog does not list is a 404; the store is not even asked."""
    reply = bench.answer(ask(path))
    assert (reply.status, reply.body, bench.store.opened) == (404, b"", [])
    assert ("Accept-Ranges", "bytes") in reply.headers
    assert bench.answer(ask(path + "/chunked/manifest")).status == 404
    assert bench.store.opened == []


@pytest.mark.parametrize("path", [BYTES, "/v1/images/disk.img/data", BYTES + "/chunked/chunks/00000000.bin"])
@pytest.mark.parametrize("missing", [True, False])
def test_files_that_cannot_be_opened(ask: Ask, bench: Bench, path: str, *, missing: bool) -> None:
    """A file that is missing is a 404; one that cannot be read is a 500 and counts as such, once."""
    bench.store.blobs.clear()
    if not missing:
        bench.store.unreadable |= {"files/disk.raw", "chunked/disk.img/chunks/00000000.bin"}
    reply = bench.answer(ask(path))
    assert (reply.status, reply.body) == (404 if missing else 500, b"")
    assert dict(reply.headers)["Cache-Control"] == "no-store, no-transform"
    kinds = [bench.count("store_errors_total", kind=kind) for kind in ("open_range", "meta", "manifest")]
    assert kinds == ([0, 0, 0] if missing else [1, 0, 0])


@pytest.mark.parametrize("image_id", ["data", "meta", "chunked", "chunks", "manifest", "manifest.json"])
def test_images_with_odd_names(ask: Ask, bench: Bench, image_id: str) -> None:
    """An image whose id is a word of the routes works like any other."""
    bench.serve(Image(image_id, "odd.raw", "odd"))
    bench.store.put("odd.raw", 5)
    bench.store.put(f"chunked/{image_id}/manifest.json", 7)
    for rest, length in (("", 5), ("/data", 5), ("/chunked/manifest", 7), ("/chunked/manifest.json", 7)):
        reply = bench.answer(ask(f"/v1/images/{image_id}{rest}"))
        assert (reply.status, reply.length) == (200, length)
    assert json.loads(bench.answer(ask(f"/v1/images/{image_id}/meta")).body)["id"] == image_id


# Chunks


@pytest.mark.parametrize(
    ("path", "file"),
    [
        ("disk.img/chunked/manifest.json", "chunked/disk.img/manifest.json"),
        ("disk.img/chunked/manifest", "chunked/disk.img/manifest.json"),
        ("disk.img/chunked/chunks/0.bin", "chunked/disk.img/chunks/0.bin"),
        ("disk.img/chunked/v1/manifest.json", "chunked/disk.img/v1/manifest.json"),
        ("disk.img/chunked/v1/manifest", "chunked/disk.img/v1/manifest.json"),
        ("disk.img/chunked/v1/chunks/00.bin", "chunked/disk.img/v1/chunks/00.bin"),
        ("versioned/chunked/manifest.json", "chunked/versioned/v2/manifest.json"),
        ("versioned/chunked/chunks/0.bin", "chunked/versioned/v2/chunks/0.bin"),
        ("versioned/chunked/v1/manifest.json", "chunked/versioned/v1/manifest.json"),
        ("versioned/chunked/v1/chunks/0.bin", "chunked/versioned/v1/chunks/0.bin"),
        ("%64isk.img/chunked/%76%31/chunks/%30.bin", "chunked/disk.img/v1/chunks/0.bin"),
        ("disk.img/chunked/manifest.json/chunks/0.bin", "chunked/disk.img/manifest.json/chunks/0.bin"),
    ],
)
@pytest.mark.parametrize("raw_file", [True, False])
def test_places_of_artifacts(ask: Ask, bench: Bench, path: str, file: str, *, raw_file: bool) -> None:
    """Manifests and chunks lie where http.md §6 says; the raw image file need not exist."""
    if not raw_file:
        bench.store.blobs.clear()
    bench.store.put(file, 7)
    reply = bench.answer(ask(f"/v1/images/{path}"))
    assert (reply.status, reply.length, bench.store.opened) == (200, 7, [file])
    expected = "application/json" if file.endswith("manifest.json") else "application/octet-stream"
    assert dict(reply.headers)["Content-Type"] == expected


def test_large_chunk(ask: Ask, bench: Bench) -> None:
    """A chunk over the limit is a 413, a manifest is not."""
    bench.store.put("chunked/disk.img/chunks/0.bin", 101)
    bench.store.put("chunked/disk.img/manifest.json", 101)
    policy = policy_with(max_chunk_bytes=100)
    statuses = [
        bench.answer(ask(BYTES + rest), policy).status for rest in ("/chunked/chunks/0.bin", "/chunked/manifest")
    ]
    assert statuses == [413, 200]


def test_chunks_without_a_manifest_catalog(ask: Ask, bench: Bench) -> None:
    """Where there is but a listing, chunks of an image without raw file are served; no bytes of it, no metadata."""
    bench.serve(attrs.evolve(IMAGE, id="listed", file="listed", follow_links=False), listing=True)
    bench.store.put("chunked/only-chunks/manifest.json")
    bench.store.put("only-chunks")
    assert bench.answer(ask("/v1/images/only-chunks/chunked/manifest")).status == 200
    assert bench.answer(ask("/v1/images/only-chunks")).status == 404
    assert bench.answer(ask("/v1/images/only-chunks/meta")).status == 404
    assert bench.store.opened == ["chunked/only-chunks/manifest.json"]


# Metadata


def test_meta(ask: Ask, bench: Bench) -> None:
    """`meta` opens one image alone, and reads nothing of it."""
    reply = bench.answer(ask(BYTES + "/meta"))
    assert (reply.status, json.loads(reply.body)["size_bytes"]) == (200, 1000)
    assert bench.store.asked == []
    assert bench.store.opened == ["files/disk.raw"]


def test_list(ask: Ask, bench: Bench) -> None:
    """The list has the images of the catalog in its order, without those whose file is missing."""
    bench.store.put("files/versioned.raw")
    reply = bench.answer(ask("/v1/images"))
    assert [each["id"] for each in json.loads(reply.body)] == ["disk.img", "versioned"]
    assert bench.store.asked == [("disk.img", "private.img", "versioned")]


def test_meta_of_an_unknown_image(ask: Ask, bench: Bench) -> None:
    """`meta` of an id that is not listed, or whose file is missing, is a 404 in JSON."""
    for image_id in ("no-such-image", "private.img"):
        reply = bench.answer(ask(f"/v1/images/{image_id}/meta"))
        assert (reply.status, list(json.loads(reply.body))) == (404, ["error"])
    assert bench.count("store_errors_total", kind="meta") == 0


@pytest.mark.parametrize(("path", "status"), [(BYTES + "/meta", 500), ("/v1/images", 200)])
def test_unreadable_metadata(ask: Ask, bench: Bench, path: str, status: int) -> None:
    """An image that cannot be read is a 500 by itself, left out of the list, and counted under `meta`."""
    bench.store.blobs.clear()
    bench.store.unreadable.add("files/disk.raw")
    reply = bench.answer(ask(path))
    assert reply.status == status
    assert status == 200 or list(json.loads(reply.body)) == ["error"]
    kinds = [bench.count("store_errors_total", kind=kind) for kind in ("open_range", "meta", "manifest")]
    assert kinds == [0, 1, 0]


# The catalog


@pytest.mark.parametrize("path", [path for path in PATHS if path.startswith("/v1/")])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_no_catalog(ask: Ask, bench: Bench, path: str, method: str) -> None:
    """Without a catalog data and metadata are a 500 with an empty or short body that tells nothing; it is counted."""
    bench.current_catalog = type(bench.current_catalog)()
    bench.break_catalog()
    reply = bench.answer(ask(path, method=method))
    assert reply.status == 500
    assert len(reply.body) <= 1024
    assert b"manifest.json" not in reply.body
    kinds = [bench.count("store_errors_total", kind=kind) for kind in ("manifest", "meta", "open_range")]
    assert kinds == [1, 0, 0]


def test_broken_catalog_after_a_good_one(ask: Ask, bench: Bench) -> None:
    """A new version that is broken changes nothing: the old one serves, and is ready."""
    bench.break_catalog()
    statuses = [bench.answer(ask(path)).status for path in (BYTES, BYTES + "/meta", "/v1/images", "/readyz")]
    assert statuses == [200, 200, 200, 200]
    assert bench.count("store_errors_total", kind="manifest") == 0


# Operations


@pytest.mark.parametrize(
    "path", [path for path, route in zip(PATHS, ROUTES, strict=True) if route.plane is Plane.OPERATIONS]
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_operations(ask: Ask, bench: Bench, path: str, method: str) -> None:
    """Health, readiness, version and metrics answer 200 and are never kept, whatever the catalog; HEAD like GET."""
    reply = bench.answer(ask(path, method=method))
    assert (reply.status, dict(reply.headers)["Cache-Control"]) == (200, "no-store")
    assert reply.body


def test_which_operation(ask: Ask, bench: Bench) -> None:
    """Each path of the operators leads to its own answer."""
    assert bench.answer(ask("/health")).body == b"ok"
    assert bench.answer(ask("/healthz")).body == b'{"status":"ok"}'
    assert json.loads(bench.answer(ask("/version")).body) == {"version": "1.2.3", "gitSha": "dev", "builtAt": ""}
    assert b"http_requests_total" in bench.answer(ask("/metrics")).body


@pytest.mark.parametrize("path", ["/readyz", "/ready"])
@pytest.mark.parametrize(
    ("shutting_down", "catalog", "complete", "status"),
    [
        (False, True, True, 200),
        (False, True, False, 503),
        (False, False, True, 503),
        (True, True, True, 503),
        (True, False, False, 503),
    ],
)
def test_readiness(
    ask: Ask,
    bench: Bench,
    drive: Drive,
    path: str,
    *,
    shutting_down: bool,
    catalog: bool,
    complete: bool,
    status: int,
) -> None:
    """Ready is who has a catalog, all of whose images are there, and is not shutting down."""
    if not catalog:
        bench.current_catalog = type(bench.current_catalog)()
        bench.break_catalog()
    bench.store.is_complete = complete
    handler = bench.handler()
    handler.shutting_down = shutting_down
    reply = drive(handler.answer(bench.exchange(ask(path)), None))
    assert reply.status == status
    assert json.loads(reply.body) == {"status": "ok" if status == 200 else "error"}


def test_readiness_looks_at_every_image(ask: Ask, bench: Bench) -> None:
    """Readiness asks for all images of the catalog."""
    bench.answer(ask("/readyz"))
    assert bench.store.asked == [("disk.img", "private.img", "versioned")]


def test_liveness_is_not_readiness(ask: Ask, bench: Bench, drive: Drive) -> None:
    """A process that is shutting down, without catalog, is still alive, and asks the store nothing."""
    bench.current_catalog = type(bench.current_catalog)()
    handler = bench.handler()
    handler.shutting_down = True
    assert drive(handler.answer(bench.exchange(ask("/healthz")), None)).status == 200
    assert bench.store.asked == []


@pytest.mark.parametrize(
    ("headers", "status"), [({}, 401), ({"Authorization": "Bearer x"}, 403), ({"Authorization": "Bearer t"}, 200)]
)
def test_metrics_token(ask: Ask, bench: Bench, drive: Drive, headers: dict[str, str], status: int) -> None:
    """The token guards the metrics, and nothing else."""
    handler = bench.handler(metrics_token="t")
    assert drive(handler.answer(bench.exchange(ask("/metrics", headers)), None)).status == status
    assert drive(handler.answer(bench.exchange(ask("/version", headers)), None)).status == 200


def test_metrics_of_all_workers(ask: Ask, bench: Bench, drive: Drive) -> None:
    """Where there are several workers, the handler asks for the total, and only for those who may read it."""
    asked: list[None] = []

    async def total() -> Counts:
        asked.append(None)
        return Counts(bytes={("everywhere",): 7}, process=bench.metrics.snapshot().process)

    handler = bench.handler(metrics_token="t", total=total)
    assert drive(handler.answer(bench.exchange(ask("/metrics")), None)).status == 401
    assert asked == []
    reply = drive(handler.answer(bench.exchange(ask("/metrics", {"Authorization": "Bearer t"})), None))
    assert b'image_bytes_served_total{image_id="everywhere"} 7.0' in reply.body


@pytest.mark.parametrize(
    ("path", "plane"), [(BYTES, Plane.DATA), (BYTES + "/meta", Plane.METADATA), ("/x", Plane.OPERATIONS)]
)
@pytest.mark.parametrize("status", [400, 404, 414, 431, 500])
def test_fail(ask: Ask, bench: Bench, path: str, plane: Plane, status: int) -> None:
    """A request that is refused before its turn gets an error in the shape of its plane."""
    facts = ask(path)
    reply = bench.handler().fail(facts, status, RefusalReason.HEAD)
    assert (reply.status, facts.plane, reply.refused) == (status, plane, Refused(RefusalReason.HEAD))
    assert (reply.body == b"") is (plane is Plane.DATA)


@pytest.mark.parametrize("path", [BYTES, BYTES + "/meta"])
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (CatalogError, "catalog"),
        (BlobNotFoundError, "existence"),
        (BlobUnreadableError, "unreadable"),
        (DescriptorsError, "descriptors"),
        (DiskHangsError, "disk"),
        (OverloadedError, "place"),
        (OverdrawnError, "share"),
        (OriginUnavailableError, "origin"),
        (OriginDeniedError, "origin"),
        (ObjectChangedError, "origin"),
    ],
)
def test_reasons(ask: Ask, bench: Bench, drive: Drive, path: str, error: type[ClientError], reason: str) -> None:
    """Whatever goes wrong as a file is opened has its status, and its own word in the log."""
    bench.store.held = fail(error("files/disk.raw"))
    reply = drive(bench.handler().answer(bench.exchange(ask(path)), None))
    assert (reply.status, reply.refused) == (error.status, Refused(RefusalReason(reason)))


@pytest.mark.parametrize("path", [BYTES, BYTES + "/meta"])
@pytest.mark.parametrize(
    ("error", "seconds"), [(OriginUnavailableError, "5"), (DiskHangsError, "1"), (OriginDeniedError, None)]
)
def test_retry_after(
    ask: Ask, bench: Bench, drive: Drive, path: str, error: type[ClientError], seconds: str | None
) -> None:
    """A client is asked to wait longer for an object store than for a disk, and not at all after a 500."""
    bench.store.held = fail(error("files/disk.raw"))
    reply = drive(bench.handler().answer(bench.exchange(ask(path)), None))
    assert dict(reply.headers).get("Retry-After") == seconds


def test_every_resource_is_tried() -> None:
    """These tests go through every kind of resource there is."""
    assert {route.resource for route in ROUTES} == set(Resource)
