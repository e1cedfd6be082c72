"""Images under URLs that name a version (http.md §13)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.delivery.decide import decide
from tests.policies import policy_with
from twisted.internet.defer import Deferred

from aero_storage.catalog.model import Image
from aero_storage.delivery.access_record import AccessRecord
from aero_storage.delivery.byte_handler import Memo
from aero_storage.delivery.exchange import Ending, Exchange
from aero_storage.delivery.representation import image_representation, version_of
from aero_storage.errors import ObjectChangedError, OtherVersionError, RefusalReason
from aero_storage.http.versions import image_version
from aero_storage.storage.local.file_status import file_status
from aero_storage.storage.store import BlobRequest

if TYPE_CHECKING:
    from tests.delivery.conftest import Ask, Bench

    from aero_storage.delivery.reply import Reply

IMAGE = Image("disk.img", "disk.raw", "Disk")
PRIVATE = attrs.evolve(IMAGE, public=False)
SHA256 = "ab" * 32
DIGESTED = attrs.evolve(IMAGE, sha256=SHA256)
WEAK = attrs.evolve(IMAGE, etag='W/"mine"')
BASE = "/v1/images/disk.img"
SIZE, MTIME = 1000, 1_700_000_000_500_000_000
OWN_TAG = '"3e8-6553f100-1dcd6500"'
VERSION = image_version(SIZE, OWN_TAG, OWN_TAG, None)
IMMUTABLE = "public, max-age=31536000, immutable, no-transform"
NO_CACHING = "private, no-store, no-transform"
BAD_VERSIONS = ("..", "%2e%2e", "a%2Fb", "%00", "%zz", "v" * 129, "%41" * 129, "", "chunks", "v-%20")


@pytest.fixture(autouse=True)
def _catalog(bench: Bench) -> None:
    bench.serve(IMAGE)
    bench.store.put("disk.raw")


def told(ask: Ask, bench: Bench) -> str | None:
    """The version that the metadata have."""
    version: str | None = json.loads(bench.answer(ask(f"{BASE}/meta")).body).get("version")
    return version


def headers_of(reply: Reply) -> dict[str, str]:
    return dict(reply.headers)


@pytest.mark.parametrize(
    ("image", "version"),
    [
        (IMAGE, VERSION),
        (attrs.evolve(IMAGE, etag='"mine"'), image_version(SIZE, '"mine"', OWN_TAG, None)),
        (DIGESTED, f"sha256-{SHA256}"),
        (attrs.evolve(DIGESTED, etag='"mine"'), f"sha256-{SHA256}"),
        (attrs.evolve(DIGESTED, etag='W/"mine"'), f"sha256-{SHA256}"),
        (attrs.evolve(DIGESTED, sha256_of=f"{SIZE}-{MTIME}"), f"sha256-{SHA256}"),
        (attrs.evolve(DIGESTED, sha256_of=f"{SIZE}-{MTIME + 1}"), VERSION),
        (WEAK, None),
        (attrs.evolve(WEAK, sha256=SHA256, sha256_of=f"{SIZE}-{MTIME + 1}"), None),
    ],
)
def test_version_in_metadata(ask: Ask, bench: Bench, image: Image, version: str | None) -> None:
    """`meta` and the list have the version by digest, else by size and tags, and none under a weak tag."""
    bench.serve(image)
    assert told(ask, bench) == version
    (listed,) = json.loads(bench.answer(ask("/v1/images")).body)
    assert listed.get("version") == version
    assert ("version" in listed) is (version is not None)


@pytest.mark.parametrize("image", [IMAGE, DIGESTED, attrs.evolve(DIGESTED, etag='W/"mine"')], ids=repr)
@pytest.mark.parametrize("rest", ["", "/data"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Range": "bytes=5-9"}, 206),
        ({"Range": "bytes=-5"}, 206),
        ({"If-None-Match": "*"}, 304),
        ({"If-Match": '"other"'}, 412),
        ({"Range": "bytes=0-500"}, 413),
        ({"Range": "bytes=1000-"}, 416),
        ({"Range": "bytes=5-9", "If-Range": '"other"'}, 200),
    ],
    ids=repr,
)
def test_as_without_it(
    ask: Ask, bench: Bench, image: Image, rest: str, method: str, headers: dict[str, str], status: int
) -> None:
    """Under its version an image answers as without, but that caches may keep its bytes for good, and errors not."""
    bench.serve(image)
    policy = policy_with(max_range_bytes=100)
    paths = (BASE + rest, f"{BASE}/versions/{told(ask, bench)}{rest}")
    plain, named = (bench.answer(ask(path, headers, method=method), policy) for path in paths)
    assert (named.status, named.segment, named.body) == (plain.status, plain.segment, plain.body)
    assert named.status == status
    kept = {200: IMMUTABLE, 206: IMMUTABLE, 304: IMMUTABLE}.get(status, "no-store, no-transform")
    assert headers_of(named) == headers_of(plain) | {"Cache-Control": kept}


RANGES = st.builds("bytes={}-{}".format, st.integers(0, 1100) | st.just(""), st.integers(0, 1100) | st.just(""))
TAGS = st.sampled_from([OWN_TAG, f'"sha256-{SHA256}"', "*", '"other"', f'"x", {OWN_TAG}', 'W/"mine"', "nonsense"])
DATES = st.sampled_from(["Tue, 14 Nov 2023 22:13:20 GMT", "Tue, 14 Nov 2023 22:13:19 GMT", "yesterday"])
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "Range": RANGES | st.just("bytes=0-1,5-6"),
        "If-Range": TAGS | DATES,
        "If-Match": TAGS,
        "If-None-Match": TAGS,
        "If-Modified-Since": DATES,
        "If-Unmodified-Since": DATES,
        "Cookie": st.just("a=b"),
    },
)
IMAGES = st.sampled_from([IMAGE, PRIVATE, DIGESTED, WEAK, attrs.evolve(WEAK, sha256=SHA256)])


@given(image=IMAGES, headers=HEADERS, method=st.sampled_from(["GET", "HEAD"]), named=st.none() | st.just("v-0"))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_request(ask: Ask, image: Image, headers: dict[str, str], method: str, named: str | None) -> None:
    """A version changes nothing of any reply but for how long it may be kept; any other has no representation."""
    status, policy = file_status(SIZE, MTIME), policy_with(max_range_bytes=100)
    version = named or version_of(image, status)
    plain, asked = (ask(path, headers, method=method) for path in (BASE, f"{BASE}/versions/{version}"))
    if named is not None or version is None:
        with pytest.raises(OtherVersionError):
            image_representation(asked, policy, image, status)
        return
    one, other = (
        decide(facts, policy, image_representation(facts, policy, image, status)) for facts in (plain, asked)
    )
    kept = headers_of(other).pop("Cache-Control")
    assert attrs.evolve(one, common=(), own=()) == attrs.evolve(other, common=(), own=())
    assert headers_of(one) | {"Cache-Control": kept} == headers_of(other)
    is_kept = one.status in {200, 206, 304} and image.public and "Cookie" not in headers
    assert (kept == IMMUTABLE) is is_kept
    assert is_kept or kept == headers_of(one)["Cache-Control"]


@pytest.mark.parametrize(
    ("image", "headers"),
    [(PRIVATE, {}), (IMAGE, {"Cookie": "a=b"}), (IMAGE, {"Authorization": "Bearer x"})],
    ids=repr,
)
def test_no_caching_of_what_is_private(ask: Ask, bench: Bench, image: Image, headers: dict[str, str]) -> None:
    """A private image, and an answer to credentials, are kept by nobody under a version either."""
    bench.serve(image)
    reply = bench.answer(ask(f"{BASE}/versions/{VERSION}", headers))
    assert (reply.status, headers_of(reply)["Cache-Control"]) == (200, NO_CACHING)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("rest", ["", "/data"])
@pytest.mark.parametrize("image", [IMAGE, DIGESTED, WEAK, PRIVATE], ids=repr)
@pytest.mark.parametrize("version", ["v-" + "0" * 32, "v1", "data", "sha256-" + "0" * 64, "None", *BAD_VERSIONS])
def test_no_other_version(ask: Ask, bench: Bench, version: str, image: Image, rest: str, method: str) -> None:
    """Any other version and an invalid one are a 404 that nobody keeps, whatever the request's conditions."""
    bench.serve(image)
    for headers in ({}, {"Range": "bytes=0-1"}, {"If-None-Match": "*"}):
        reply = bench.answer(ask(f"{BASE}/versions/{version}{rest}", headers, method=method))
        assert (reply.status, reply.body, reply.segment) == (404, b"", None)
        assert headers_of(reply)["Cache-Control"] == "no-store, no-transform"
        reason = RefusalReason.ID if version in BAD_VERSIONS else RefusalReason.EXISTENCE
        assert reply.refused is not None
        assert reply.refused.reason is reason
    assert all(blob.closes for blob in bench.store.blobs.values() if bench.store.opened)


@pytest.mark.parametrize(
    ("size", "mtime_ns", "etag"),
    [(SIZE, MTIME + 1, None), (SIZE + 1, MTIME, None), (SIZE, MTIME + 1, '"mine"'), (SIZE, MTIME, '"new"')],
)
def test_replaced_image(ask: Ask, bench: Bench, size: int, mtime_ns: int, etag: str | None) -> None:
    """The old version is a 404 from the change on, also where the catalog's tag outlives the file."""
    bench.serve(attrs.evolve(IMAGE, etag='"mine"' if etag else None))
    old = told(ask, bench)
    assert bench.answer(ask(f"{BASE}/versions/{old}")).status == 200
    bench.serve(attrs.evolve(IMAGE, etag=etag))
    bench.store.put("disk.raw", size, mtime_ns)
    new = told(ask, bench)
    assert new != old
    assert [bench.answer(ask(f"{BASE}/versions/{version}")).status for version in (old, new)] == [404, 200]


def test_remembered_decisions_follow_the_file(ask: Ask, bench: Bench) -> None:
    """A remembered decision is none for another file, or another entry: the version is compared anew."""
    handler, memo = bench.handler(), Memo()
    facts = ask(f"{BASE}/versions/{VERSION}")
    blob = bench.store.blobs["disk.raw"]
    bench.store.cached = {BlobRequest(IMAGE): blob, BlobRequest(DIGESTED): blob}
    status = blob.status

    def answer() -> Reply | None:
        exchange = bench.exchange(facts)
        reply = handler.answer_now(exchange, None, memo)
        assert (exchange.blob is None) is (reply is None)
        exchange.end(Ending.COMPLETE, 200, 0)
        return reply

    for _ in range(2):
        reply = answer()
        assert reply is not None
        assert reply.status == 200
    blob.status = file_status(SIZE, MTIME + 1)
    assert [answer(), answer()] == [None, None]
    blob.status = status
    assert answer() == reply
    bench.serve(DIGESTED)
    assert answer() is None
    bench.serve(IMAGE)
    assert answer() == reply


def test_what_is_remembered_may_be_old(ask: Ask, bench: Bench) -> None:
    """A version that is not of the remembered file is looked for in a file that is opened anew, before any 404."""
    old = bench.store.blobs["disk.raw"]
    bench.store.cached = {BlobRequest(IMAGE): old}
    new = bench.store.put("disk.raw", SIZE, MTIME + 1)
    reply = bench.answer(ask(f"{BASE}/versions/{version_of(IMAGE, new.status)}"))
    assert (reply.status, bench.store.opened) == (200, ["disk.raw"])
    assert (old.closes, new.closes) == (1, 1)
    assert bench.answer(ask(f"{BASE}/versions/v-0")).status == 404
    assert (old.closes, new.closes) == (2, 2)


def test_object_that_changes_before_the_head(ask: Ask, bench: Bench) -> None:
    """An object that was replaced before the head is opened anew; being of another version it is a 404."""
    beginning: Deferred[None] = Deferred()
    blob = bench.store.blobs["disk.raw"]
    blob.beginnings = [beginning]
    facts = ask(f"{BASE}/versions/{VERSION}")
    replies: list[Reply] = []
    Deferred.fromCoroutine(bench.handler().answer(bench.exchange(facts), None)).addCallback(replies.append)
    assert not replies
    bench.store.put("disk.raw", SIZE, MTIME + 1)
    beginning.errback(ObjectChangedError("replaced"))
    assert [reply.status for reply in replies] == [404]


def test_existence(ask: Ask, bench: Bench) -> None:
    """An unknown image, and one without its raw file, are 404 under any version."""
    bench.store.blobs.clear()
    for path in (f"{BASE}/versions/{VERSION}", f"/v1/images/nobody/versions/{VERSION}/data"):
        assert bench.answer(ask(path)).status == 404
    assert bench.answer(ask(f"{BASE}/meta")).status == 404


@pytest.mark.parametrize("path", [f"{BASE}/versions", f"{BASE}/versions/{VERSION}/meta", f"{BASE}/versions/v/data/x"])
def test_no_more_routes(ask: Ask, bench: Bench, path: str) -> None:
    """Below a version there are the bytes, and no metadata."""
    reply = bench.answer(ask(path))
    assert (reply.status, reply.refused and reply.refused.reason) == (404, RefusalReason.ROUTE)


def logged(ask: Ask, bench: Bench, path: str, headers: dict[str, str] | None = None, method: str = "GET") -> object:
    """The version in the log line of a request."""
    facts = ask(path, headers, method=method)
    handler = bench.handler(policy_with(virtual_chunks=True, virtual_chunk_bytes=1024))
    exchange = bench.exchange(facts)
    replies: list[Reply] = []
    Deferred.fromCoroutine(handler.answer(exchange, facts.range)).addCallback(replies.append)
    (exchange.reply,) = replies
    exchange.end(Ending.COMPLETE, replies[0].status, 0)
    return bench.log.events[-1][2].get("version")


@pytest.mark.parametrize("path", [BASE, f"{BASE}/data", f"{BASE}/versions/{{}}", f"{BASE}/versions/{{}}/data"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_version_in_the_log(ask: Ask, bench: Bench, path: str, method: str) -> None:
    """The line of 200, 206 and 304 of the bytes has the version, with or without it in the URL; errors have none."""
    bench.store.put("disk.raw", 2048)
    version = told(ask, bench)
    path = path.format(version)
    for headers in ({}, {"Range": "bytes=0-1"}, {"If-None-Match": "*"}):
        assert logged(ask, bench, path, headers, method) == version
    for headers in ({"If-Match": '"x"'}, {"Range": "bytes=4096-"}):
        assert logged(ask, bench, path, headers, method) is None


def test_version_of_virtual_chunks_in_the_log(ask: Ask, bench: Bench) -> None:
    """The line of a virtual chunk has the version of the image; that of its manifest, and of metadata, has none."""
    bench.store.put("disk.raw", 2048)
    version = told(ask, bench)
    assert logged(ask, bench, f"{BASE}/chunked/chunks/00000001.bin") == version
    for path in (f"{BASE}/chunked/manifest", f"{BASE}/meta", f"{BASE}/chunked/chunks/00000009.bin"):
        assert logged(ask, bench, path) is None


@pytest.mark.parametrize("is_kept", [False, True])
def test_version_in_lines_of_one_plan(ask: Ask, bench: Bench, *, is_kept: bool) -> None:
    """Requests that share a record each log the version that they were sent, or none, and what else they have."""
    facts = ask(headers={"Range": "bytes=0-9"})
    record = AccessRecord(facts, bench.reporter, is_kept)
    seen = []
    for image, mtime_ns, origin in (
        (IMAGE, MTIME, 7),
        (IMAGE, MTIME + 1, 8),
        (WEAK, MTIME + 1, 9),
        (DIGESTED, 1, 10),
    ):
        bench.serve(image)
        bench.store.put("disk.raw", SIZE, mtime_ns).origin_bytes = origin
        exchange = Exchange(record, "192.0.2.1", "req-1")
        replies: list[Reply] = []
        Deferred.fromCoroutine(bench.handler().answer(exchange, facts.range)).addCallback(replies.append)
        (exchange.reply,) = replies
        exchange.end(Ending.COMPLETE, 206, 10)
        line = bench.log.events[-1][2]
        seen.append((line.get("range"), line.get("version"), line.get("origin_bytes")))
        version = told(ask, bench)
        assert seen[-1] == ("0-9", version, origin)
    assert len({version for _, version, _ in seen}) == 4
