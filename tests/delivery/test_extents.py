"""Requests for the extents of images (http.md §14)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from tests.policies import policy_with
from twisted.internet.defer import CancelledError, Deferred, fail, succeed

from aero_storage.catalog.model import Image
from aero_storage.delivery.exchange import Ending
from aero_storage.delivery.extents_handler import UNKNOWN_SECONDS, WAIT_SECONDS
from aero_storage.errors import ImageChangedError, OriginUnavailableError, RefusalReason
from aero_storage.http.extents.extents import Extents, ExtentsBuilder, KnownExtents
from aero_storage.http.versions import image_version
from aero_storage.storage.store import BlobRequest

if TYPE_CHECKING:
    from tests.delivery.conftest import Ask, Bench, Drive

    from aero_storage.delivery.reply import Reply

SIZE = 100_000
IMAGE = Image("disk.img", "disk.raw", "Disk")
URL = "/v1/images/disk.img/extents"
OWN_TAG = '"186a0-6553f100-1dcd6500"'
VERSION = image_version(SIZE, OWN_TAG, OWN_TAG, None)
VERSIONED = f"/v1/images/disk.img/versions/{VERSION}/extents"
IMMUTABLE = "public, max-age=31536000, immutable, no-transform"


def extents_of(*pairs: tuple[int, int]) -> Extents:
    builder = ExtentsBuilder(SIZE)
    for first, after in pairs:
        builder.add(first, after)
    return builder.finish()


DATA = extents_of((5000, 5001), (70_000, SIZE))


@pytest.fixture(autouse=True)
def _catalog(bench: Bench) -> None:
    bench.serve(IMAGE)
    bench.store.put("disk.raw", SIZE)
    bench.store.maps.append(succeed(KnownExtents(DATA)))


def document(reply: Reply) -> dict[str, Any]:
    assert reply.status == 200, reply
    found: dict[str, Any] = json.loads(reply.body)
    return found


@pytest.mark.parametrize("url", [URL, VERSIONED])
def test_answer(ask: Ask, bench: Bench, url: str) -> None:
    """The answer names image, version and tag, and has gaps and lengths in the default unit."""
    assert document(bench.answer(ask(url))) == {
        "schema": "aero.extents.v1",
        "image_id": "disk.img",
        "version": VERSION,
        "etag": OWN_TAG,
        "size_bytes": SIZE,
        "unit": 4096,
        "data_bytes": 4096 + SIZE - 69_632,
        "data": [1, 1, 15, 8],
    }


def test_headers(ask: Ask, bench: Bench) -> None:
    """A tag of the body and no date; revalidated each time, but under a version kept for good."""
    handler = bench.handler()
    moving, named = (bench.answer(ask(url), handler=handler) for url in (URL, VERSIONED))
    assert moving.body == named.body
    for reply, kept in ((moving, "no-cache"), (named, IMMUTABLE)):
        headers = dict(reply.headers)
        assert headers["Cache-Control"] == kept
        assert headers["Content-Type"] == "application/json"
        assert headers["ETag"].startswith('"extents-')
        assert not {"Last-Modified", "Cross-Origin-Resource-Policy", "Accept-Ranges"} & headers.keys()
        assert headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("url", [URL, VERSIONED])
def test_conditions(ask: Ask, bench: Bench, url: str) -> None:
    """Conditions are those of the body's tag; a date matters to none."""
    handler = bench.handler()
    tag = dict(bench.answer(ask(url), handler=handler).headers)["ETag"]
    for headers, status in (
        ({"If-None-Match": tag}, 304),
        ({"If-None-Match": f'"x", W/{tag}'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": OWN_TAG}, 200),
        ({"If-Match": tag}, 200),
        ({"If-Match": '"x"'}, 412),
        ({"If-Modified-Since": "Tue, 14 Nov 2033 22:13:20 GMT"}, 200),
        ({"If-Unmodified-Since": "Tue, 14 Nov 2003 22:13:20 GMT"}, 200),
    ):
        reply = bench.answer(ask(url, headers), handler=handler)
        assert reply.status == status
        if status == 304:
            assert dict(reply.headers)["ETag"] == tag
            assert not reply.body


@pytest.mark.parametrize(
    ("query", "unit", "data"),
    [
        ("unit=512", 512, [9, 1, 126, 60]),
        ("unit=67108864", 1 << 26, [0, 1]),
        ("offset=69632&length=1", 4096, [17, 1]),
        ("offset=8192&length=61440", 4096, []),
        ("offset=100000", 4096, []),
        ("offset=99999999999999999999999", 4096, []),
        ("length=0", 4096, []),
        ("offset=4097&length=1&unit=1024", 1024, [4, 1]),
        ("lease=x&unit=8192&x=1", 8192, [0, 1, 7, 5]),
    ],
)
def test_parts(ask: Ask, bench: Bench, query: str, unit: int, data: list[int]) -> None:
    """Unit, offset and length choose a part, in whole units; past the end there is none."""
    found = document(bench.answer(ask(f"{URL}?{query}")))
    assert (found["unit"], found["data"]) == (unit, data)


@pytest.mark.parametrize(
    "query", ["unit=0", "unit=513", "unit=", "unit", "offset=-1", "length=1.5", "unit=134217728"]
)
@pytest.mark.parametrize("url", [URL, VERSIONED])
def test_values_that_are_none(ask: Ask, bench: Bench, url: str, query: str) -> None:
    """A value that is none is a 400 as JSON, for the image as for one of its versions."""
    reply = bench.answer(ask(f"{url}?{query}"))
    assert (reply.status, list(json.loads(reply.body))) == (400, ["error"])
    assert reply.refused is not None
    assert reply.refused.reason is RefusalReason.TARGET
    assert dict(reply.headers)["Cache-Control"] == "no-store"


def test_chunk_sizes_are_units(ask: Ask, bench: Bench) -> None:
    """The chunk size that the catalog recommends, that of virtual chunks and that of published ones are units."""
    url = f"{URL}?unit=1536"
    assert bench.answer(ask(url)).status == 400
    bench.store.maps.append(succeed(KnownExtents(DATA, 1536)))
    bench.serve(attrs.evolve(IMAGE, chunked_version="v1"))
    handler = bench.handler()
    assert document(bench.answer(ask(url), handler=handler))["unit"] == 1536
    bench.serve(attrs.evolve(IMAGE, recommended_chunk_size_bytes=1536))
    assert document(bench.answer(ask(url), handler=handler))["unit"] == 1536
    bench.serve(IMAGE)
    virtual = bench.handler(policy_with(virtual_chunks=True, virtual_chunk_bytes=1536))
    assert document(bench.answer(ask(url), handler=virtual))["unit"] == 1536
    assert bench.answer(ask(f"{URL}?unit=2560"), handler=virtual).status == 400


@pytest.mark.parametrize("unit", [1, 256, 513, 1535, (1 << 26) + 512, 1 << 27, 10**30])
def test_units_of_no_image(ask: Ask, bench: Bench, unit: int) -> None:
    """A number that no image has as a unit is a 400 at once: nothing is looked for, and nobody waits."""
    bench.store.maps[:] = [Deferred()]
    reply = bench.answer(ask(f"{URL}?unit={unit}"))
    assert (reply.status, bench.store.mapped) == (400, [])


def test_units_by_the_catalog(ask: Ask, bench: Bench) -> None:
    """A recommended chunk size of any number is a unit; that of another image is none."""
    bench.serve(attrs.evolve(IMAGE, recommended_chunk_size_bytes=1000), Image("b", "disk.raw", "B"))
    handler = bench.handler()
    assert document(bench.answer(ask(f"{URL}?unit=1000"), handler=handler))["unit"] == 1000
    assert bench.answer(ask("/v1/images/b/extents?unit=1000"), handler=handler).status == 400


def test_missing(ask: Ask, bench: Bench) -> None:
    """Unknown images, those without a raw file and other versions are 404, an invalid id is 400, a version 404."""
    bench.serve(IMAGE, Image("chunks-only", "none.raw", "x"), attrs.evolve(IMAGE, id="weak", etag='W/"x"'))
    for path, status in (
        ("nothing/extents", 404),
        ("chunks-only/extents", 404),
        ("disk.img/versions/v-0/extents", 404),
        (f"weak/versions/{VERSION}/extents", 404),
        ("nothing/versions/v-0/extents", 404),
        ("a%2Fb/extents", 400),
        (f"a%2Fb/versions/{VERSION}/extents", 400),
        ("disk.img/versions/a%2Fb/extents", 404),
        ("disk.img/versions/chunks/extents", 404),
    ):
        reply = bench.answer(ask(f"/v1/images/{path}?unit=7"))
        assert (reply.status, dict(reply.headers)["Cache-Control"]) == (status, "no-store"), path
    assert not bench.store.mapped


def test_image_without_a_version(ask: Ask, bench: Bench) -> None:
    """An image with a weak tag has extents, and no version in them."""
    bench.serve(attrs.evolve(IMAGE, etag='W/"x"'))
    found = document(bench.answer(ask(URL)))
    assert (found["etag"], "version" in found) == ('W/"x"', False)


def test_private_image(ask: Ask, bench: Bench) -> None:
    """Nobody keeps what is said of a private image, or to a client with credentials."""
    bench.serve(attrs.evolve(IMAGE, public=False))
    assert dict(bench.answer(ask(VERSIONED)).headers)["Cache-Control"] == "private, no-store, no-transform"
    bench.serve(IMAGE)
    reply = bench.answer(ask(VERSIONED, {"Cookie": "a=b"}))
    assert dict(reply.headers)["Cache-Control"] == "private, no-store, no-transform"


def test_made_once_for_a_version(ask: Ask, bench: Bench) -> None:
    """Extents are looked for once for a version; the answer to one query is made once, and shared."""
    handler = bench.handler()
    first, second = (bench.answer(ask(URL), handler=handler) for _ in range(2))
    assert first.body is second.body
    document(bench.answer(ask(f"{URL}?unit=512"), handler=handler))
    assert bench.store.mapped == ["disk.img"]
    bench.store.put("disk.raw", SIZE, 1_700_000_000_000_000_000)
    assert document(bench.answer(ask(URL), handler=handler))["data"] == [0, 25]
    assert len(bench.store.mapped) == 2


def test_nothing_known(ask: Ask, bench: Bench) -> None:
    """Where nothing is known one extent covers all, until somebody may have stored a map."""
    bench.store.maps[:] = [succeed(KnownExtents()), succeed(KnownExtents(DATA))]
    handler = bench.handler()
    assert document(bench.answer(ask(URL), handler=handler))["data"] == [0, 25]
    bench.clock.advance(UNKNOWN_SECONDS - 1)
    assert document(bench.answer(ask(URL), handler=handler))["data"] == [0, 25]
    bench.clock.advance(1)
    assert document(bench.answer(ask(URL), handler=handler))["data"] == [1, 1, 15, 8]
    bench.clock.advance(100 * UNKNOWN_SECONDS)
    assert document(bench.answer(ask(URL), handler=handler))["data"] == [1, 1, 15, 8]


def test_late(ask: Ask, bench: Bench, drive: Drive) -> None:
    """A request that has waited for five seconds is a 503; the extents are looked for once, and used later."""
    looking: Deferred[KnownExtents] = Deferred()
    bench.store.maps[:] = [looking]
    handler = bench.handler()
    exchange = bench.exchange(ask(URL))
    waiting = Deferred.fromCoroutine(handler.answer(exchange, None))
    bench.clock.advance(WAIT_SECONDS - 0.1)
    assert not waiting.called
    bench.clock.advance(0.1)
    reply = drive(waiting)
    assert (reply.status, list(json.loads(reply.body))) == (503, ["error"])
    assert {"Retry-After", "Access-Control-Allow-Origin"} <= dict(reply.headers).keys()
    assert reply.refused is not None
    assert reply.refused.reason is RefusalReason.DISK
    exchange.end(Ending.COMPLETE, 503, 0)
    looking.callback(KnownExtents(DATA))
    assert document(bench.answer(ask(URL), handler=handler))["data"] == [1, 1, 15, 8]
    assert bench.store.mapped == ["disk.img"]


def test_client_that_leaves(ask: Ask, bench: Bench) -> None:
    """A client that leaves ends its request, and leaves no timer."""
    looking: Deferred[KnownExtents] = Deferred()
    bench.store.maps[:] = [looking]
    exchange = bench.exchange(ask(URL))
    waiting = Deferred.fromCoroutine(bench.handler().answer(exchange, None))
    waiting.addErrback(lambda failure: failure.trap(CancelledError))
    waiting.cancel()
    exchange.end(Ending.DISCONNECTED, 499, 0)
    assert not bench.clock.getDelayedCalls()
    assert bench.store.blobs["disk.raw"].closes == 1
    looking.callback(KnownExtents(DATA))


def test_changed_while_looked_at(ask: Ask, bench: Bench) -> None:
    """An image that changes meanwhile is opened anew, once; then it is a 503."""
    bench.store.maps[:] = [fail(ImageChangedError("x")), succeed(KnownExtents(DATA))]
    assert document(bench.answer(ask(URL)))["data"] == [1, 1, 15, 8]
    assert bench.store.blobs["disk.raw"].closes == 2
    bench.store.maps[:] = [fail(ImageChangedError("x")), fail(ImageChangedError("x"))]
    reply = bench.answer(ask(URL))
    assert (reply.status, dict(reply.headers)["Retry-After"]) == (503, "1")


def test_changed_while_the_former_file_is_at_hand(ask: Ask, bench: Bench) -> None:
    """An image that has changed is opened anew, even if the file at hand still counts as fresh."""
    old = bench.store.cached[BlobRequest(IMAGE)] = bench.store.put("disk.raw", SIZE, 1_600_000_000_000_000_000)
    bench.store.put("disk.raw", SIZE)
    bench.store.maps[:] = [fail(ImageChangedError("x")), succeed(KnownExtents(DATA))]
    found = document(bench.answer(ask(URL)))
    assert (found["version"], found["data"]) == (VERSION, [1, 1, 15, 8])
    assert (old.closes, bench.store.blobs["disk.raw"].closes) == (1, 1)


def test_origin_away(ask: Ask, bench: Bench) -> None:
    """While the origin does not answer there is no map, and none is made up; nothing of it is remembered."""
    bench.store.maps[:] = [fail(OriginUnavailableError("away")), succeed(KnownExtents(DATA))]
    handler = bench.handler()
    assert bench.answer(ask(URL), handler=handler).status == 503
    assert document(bench.answer(ask(URL), handler=handler))["data"] == [1, 1, 15, 8]


def test_remembered_file_of_an_older_version(ask: Ask, bench: Bench) -> None:
    """A version that the file at hand does not have is looked for in one that is opened anew."""
    old = bench.store.put("disk.raw", SIZE, 1_600_000_000_000_000_000)
    bench.store.cached[BlobRequest(IMAGE)] = old
    bench.store.put("disk.raw", SIZE)
    assert document(bench.answer(ask(VERSIONED)))["version"] == VERSION
    assert old.closes == 1


def test_head(ask: Ask, bench: Bench) -> None:
    """HEAD has the headers of GET."""
    handler = bench.handler()
    get, head = (bench.answer(ask(URL, method=method), handler=handler) for method in ("GET", "HEAD"))
    assert (head.status, head.headers, head.length) == (get.status, get.headers, get.length)


def test_looks_are_counted(ask: Ask, bench: Bench) -> None:
    """Each look for extents is counted once, by its result; answers from memory are not."""
    bench.store.maps[:] = [fail(OriginUnavailableError("away")), succeed(KnownExtents()), succeed(KnownExtents(DATA))]
    handler = bench.handler()
    for seconds in (0, 0, UNKNOWN_SECONDS, 0):
        bench.clock.advance(seconds)
        bench.answer(ask(URL), handler=handler)
    name = "aero_storage_extent_maps_total"
    assert [bench.count(name, result=result) for result in ("made", "unknown", "failed")] == [1, 1, 1]
