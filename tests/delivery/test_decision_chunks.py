"""Chunks and chunk manifests as http.md §6 has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest
from tests.delivery.decide import Asked, decide
from tests.policies import policy_with

from aero_storage.catalog.model import Image
from aero_storage.delivery.policy import Policy
from aero_storage.delivery.reply import Reply
from aero_storage.delivery.representation import chunk_representation
from aero_storage.http.conditional import Validators
from aero_storage.http.ranges import Segment

if TYPE_CHECKING:
    from tests.delivery.conftest import Ask

SIZE = 1000
BEFORE = "Tue, 14 Nov 2023 22:13:19 GMT"
EXACTLY = "Tue, 14 Nov 2023 22:13:20 GMT"
VALIDATORS = Validators('"v1"', 1_700_000_000_500_000_000)
IMAGE = Image("disk.img", "disk.img", "disk.img")
VERSIONED = attrs.evolve(IMAGE, chunked_version="v2")
CHUNK = "/v1/images/x/chunked/chunks/00000000.bin"
MANIFEST = "/v1/images/x/chunked/manifest.json"
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "ETag, Last-Modified, Cache-Control, Content-Range, Accept-Ranges, "
    "Content-Length, Content-Encoding, Retry-After, X-Request-Id",
    "Cross-Origin-Resource-Policy": "same-site",
}

Headers = dict[str, str]

CHUNK_BODY = CORS | {
    "ETag": '"v1"',
    "Last-Modified": EXACTLY,
    "Cache-Control": "public, max-age=31536000, immutable, no-transform",
    "Content-Encoding": "identity",
    "X-Content-Type-Options": "nosniff",
}


def chunk_reply(facts: Asked, image: Image = IMAGE, policy: Policy | None = None, size: int = SIZE) -> Reply:
    policy = policy or policy_with()
    return decide(facts, policy, chunk_representation(facts, policy, image, size, VALIDATORS))


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=0-0"}, {"Range": "bytes=a-b"}, {"Range": "x" * 9000}])
@pytest.mark.parametrize(
    ("path", "content_type"), [(CHUNK, "application/octet-stream"), (MANIFEST, "application/json")]
)
def test_chunk(ask: Ask, path: str, content_type: str, headers: Headers, method: str) -> None:
    """Chunks and chunk manifests are sent whole with the headers of http.md §6; ranges are ignored."""
    reply = chunk_reply(ask(path, headers, method=method))
    assert (reply.status, reply.segment) == (200, Segment(0, SIZE))
    assert dict(reply.headers) == CHUNK_BODY | {"Content-Type": content_type}
    assert len(reply.headers) == len(CHUNK_BODY) + 1


@pytest.mark.parametrize("path", [CHUNK, MANIFEST])
def test_chunk_and_required_range(ask: Ask, path: str) -> None:
    """`--require-range` concerns images: chunks are sent whole as ever."""
    assert chunk_reply(ask(path), policy=policy_with(require_range=True)).segment == Segment(0, SIZE)


@pytest.mark.parametrize("path", [CHUNK, MANIFEST])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-None-Match": '"v1"'}, 304),
        ({"If-None-Match": '"v0"'}, 200),
        ({"If-Modified-Since": EXACTLY}, 304),
        ({"If-Match": '"v0"'}, 412),
        ({"If-Unmodified-Since": BEFORE}, 412),
        ({"If-Range": '"v0"', "Range": "bytes=0-0"}, 200),
    ],
    ids=repr,
)
def test_chunk_conditions(ask: Ask, path: str, headers: Headers, status: int) -> None:
    """Conditional requests work as on images; neither the 304 nor the 412 announces ranges."""
    reply = chunk_reply(ask(path, headers))
    assert reply.status == status
    assert "Accept-Ranges" not in dict(reply.headers)


@pytest.mark.parametrize("headers", [{}, {"If-None-Match": "*"}, {"If-Match": '"v0"'}], ids=repr)
@pytest.mark.parametrize(("size", "too_large"), [(100, False), (101, True)])
def test_chunk_limit(ask: Ask, headers: Headers, size: int, *, too_large: bool) -> None:
    """A chunk over the limit is a 413, before any condition is looked at; a manifest has no limit."""
    policy = policy_with(max_chunk_bytes=100)
    reply = chunk_reply(ask(CHUNK, headers), policy=policy, size=size)
    assert (reply.status == 413) is too_large
    assert not too_large or dict(reply.headers) == CORS | {"Cache-Control": "no-store, no-transform"}
    assert chunk_reply(ask(MANIFEST, headers), policy=policy, size=size).status != 413


PUBLIC, MOVING, PRIVATE = (
    "public, max-age=31536000, immutable, no-transform",
    "public, max-age=60, no-transform",
    "private, no-store, no-transform",
)


@pytest.mark.parametrize("last", ["manifest.json", "manifest", "chunks/0.bin"])
@pytest.mark.parametrize(
    ("version", "image", "headers", "expected"),
    [
        ("", IMAGE, {}, PUBLIC),
        ("v2/", IMAGE, {}, PUBLIC),
        ("v2/", VERSIONED, {}, PUBLIC),
        ("v1/", VERSIONED, {}, PUBLIC),
        ("", VERSIONED, {}, MOVING),
        ("", VERSIONED, {"Cookie": "a=b"}, PRIVATE),
        ("", IMAGE, {"Authorization": "x"}, PRIVATE),
        ("v2/", VERSIONED, {"Authorization": "x"}, PRIVATE),
        ("", attrs.evolve(VERSIONED, public=False), {}, PRIVATE),
        ("", attrs.evolve(IMAGE, public=False), {}, PRIVATE),
        ("v2/", attrs.evolve(VERSIONED, public=False), {}, PRIVATE),
    ],
    ids=repr,
)
def test_chunk_cache_control(
    ask: Ask, *, last: str, version: str, image: Image, headers: Headers, expected: str
) -> None:
    """Chunk artifacts are immutable, but for unversioned URLs of a versioned entry; never public with credentials."""
    facts = ask(f"/v1/images/disk.img/chunked/{version}{last}", headers)
    assert (
        dict(chunk_reply(facts, image, policy_with(public_cache_max_age_secs=60)).headers)["Cache-Control"]
        == expected
    )


def test_chunks_have_their_own_validators(ask: Ask) -> None:
    """What the catalog says of an image's tag and date is not said of its chunks."""
    image = attrs.evolve(IMAGE, etag='"catalog"', last_modified=5)
    headers = dict(chunk_reply(ask(CHUNK), image).headers)
    assert (headers["ETag"], headers["Last-Modified"]) == ('"v1"', EXACTLY)
