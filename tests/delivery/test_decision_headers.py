"""The headers that come with each status of the bytes routes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest
from tests.delivery.decide import decide
from tests.policies import cors_with, policy_with

from aero_storage.catalog.model import Image
from aero_storage.delivery.representation import image_representation, image_validators
from aero_storage.http.conditional import Validators
from aero_storage.storage.local.file_status import file_status

if TYPE_CHECKING:
    from tests.delivery.conftest import Ask, ReplyTo

SIZE = 1000
EXACTLY = "Tue, 14 Nov 2023 22:13:20 GMT"
IMAGE = Image("disk.img", "disk.img", "disk.img")
DATE = 1_700_000_000_500_000_000
STATUS = file_status(SIZE, DATE, ctime_ns=7, inode=8)
FILE_TAG = '"3e8-6553f100-1dcd6500"'
SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
DIGEST_TAG = f'"sha256-{SHA256}"'
DIGEST_FIELD = "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"
DIGESTED = attrs.evolve(IMAGE, sha256=SHA256, sha256_of=f"1000-{DATE}")

Headers = dict[str, str]

CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "ETag, Last-Modified, Cache-Control, Content-Range, Accept-Ranges, "
    "Content-Length, Content-Encoding, Retry-After, X-Request-Id",
    "Cross-Origin-Resource-Policy": "same-site",
}
VALIDATING = CORS | {
    "ETag": '"v1"',
    "Last-Modified": EXACTLY,
    "Cache-Control": "public, max-age=3600, no-transform",
    "Accept-Ranges": "bytes",
}
BODY = VALIDATING | {
    "Content-Type": "application/octet-stream",
    "Content-Encoding": "identity",
    "X-Content-Type-Options": "nosniff",
}
REFUSAL = CORS | {"Cache-Control": "no-store, no-transform", "Accept-Ranges": "bytes"}
TOO_LONG = REFUSAL | {
    "Access-Control-Expose-Headers": f"{CORS['Access-Control-Expose-Headers']}, Aero-Max-Range-Bytes",
    "Aero-Max-Range-Bytes": "100",
}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("headers", "status", "expected"),
    [
        ({}, 200, BODY),
        ({"Range": "bytes=5-9"}, 206, BODY | {"Content-Range": "bytes 5-9/1000"}),
        ({"Range": "bytes=900-5000"}, 206, BODY | {"Content-Range": "bytes 900-999/1000"}),
        ({"If-None-Match": "*"}, 304, VALIDATING),
        ({"If-Match": '"v0"'}, 412, REFUSAL),
        ({"Range": "bytes=0-500"}, 413, TOO_LONG),
        ({"Range": "bytes=1000-"}, 416, REFUSAL | {"Content-Range": "bytes */1000"}),
        ({"Range": "bytes=a-b"}, 416, REFUSAL | {"Content-Range": "bytes */1000"}),
        ({"Range": "bytes=0-1,3-4"}, 416, REFUSAL | {"Content-Range": "bytes */1000"}),
    ],
    ids=repr,
)
def test_headers(
    ask: Ask, reply_to: ReplyTo, *, headers: Headers, status: int, expected: Headers, method: str
) -> None:
    """Each status has exactly the headers of http.md §5, each once, and refusals have no body."""
    reply = reply_to(ask(headers=headers, method=method))
    assert reply.status == status
    assert dict(reply.headers) == expected
    assert len(reply.headers) == len(expected)
    assert reply.body == b""


@pytest.mark.parametrize(
    ("headers", "length"),
    [
        ({}, 1000),
        ({"Range": "bytes=5-9"}, 5),
        ({"If-None-Match": "*"}, None),
        ({"If-Match": '"v0"'}, 0),
        ({"Range": "bytes=0-500"}, 0),
        ({"Range": "bytes=1000-"}, 0),
    ],
)
def test_content_length(ask: Ask, reply_to: ReplyTo, headers: Headers, length: int | None) -> None:
    """The length is that of what is sent; a 304 has none."""
    assert reply_to(ask(headers=headers)).length == length


@pytest.mark.parametrize(
    ("public", "credentials", "expected"),
    [
        (True, {}, "public, max-age=60, no-transform"),
        (True, {"Authorization": "Bearer x"}, "private, no-store, no-transform"),
        (True, {"Cookie": "a=b"}, "private, no-store, no-transform"),
        (False, {}, "private, no-store, no-transform"),
        (False, {"Cookie": "a=b"}, "private, no-store, no-transform"),
    ],
)
@pytest.mark.parametrize("condition", [{}, {"Range": "bytes=0-0"}, {"If-None-Match": "*"}], ids=repr)
def test_cache_control(ask: Ask, credentials: Headers, expected: str, condition: Headers, *, public: bool) -> None:
    """Bytes are publicly cacheable if the image is public and the request brings no credentials: 200, 206, 304."""
    policy = policy_with(public_cache_max_age_secs=60)
    facts = ask(headers=credentials | condition)
    image = attrs.evolve(IMAGE, public=public)
    reply = decide(facts, policy, image_representation(facts, policy, image, STATUS))
    assert dict(reply.headers)["Cache-Control"] == expected


@pytest.mark.parametrize(
    "headers", [{}, {"Range": "bytes=0-0"}, {"If-None-Match": "*"}, {"If-Match": '"x"'}], ids=repr
)
def test_cors_and_corp(ask: Ask, reply_to: ReplyTo, headers: Headers) -> None:
    """Every status of the data plane carries CORS for an allowed origin, `Vary` for any, and CORP as configured."""
    policy = policy_with(cors=cors_with("https://a.example"), cross_origin_resource_policy="cross-origin")
    allowed = dict(reply_to(ask(headers=headers | {"Origin": "https://A.example"}), policy).headers)
    other = dict(reply_to(ask(headers=headers | {"Origin": "https://b.example"}), policy).headers)
    assert allowed["Access-Control-Allow-Origin"] == "https://A.example"
    assert allowed["Access-Control-Allow-Credentials"] == "true"
    assert not [key for key in other if key.startswith("Access-Control-")]
    assert [each["Vary"] for each in (allowed, other)] == ["Origin", "Origin"]
    assert {each["Cross-Origin-Resource-Policy"] for each in (allowed, other)} == {"cross-origin"}


@pytest.mark.parametrize(
    ("entry", "etag", "last_modified"),
    [
        ({}, FILE_TAG, DATE),
        ({"etag": 'W/"c"'}, 'W/"c"', DATE),
        ({"last_modified": 5}, FILE_TAG, 5),
        ({"last_modified": 0}, FILE_TAG, 0),
        ({"etag": '""', "last_modified": 7}, '""', 7),
        ({"sha256": SHA256}, DIGEST_TAG, DATE),
        ({"sha256": SHA256, "sha256_of": f"1000-{DATE}"}, DIGEST_TAG, DATE),
        ({"sha256": SHA256, "sha256_of": f"1000-{DATE}-7-8"}, DIGEST_TAG, DATE),
        ({"sha256": SHA256, "sha256_of": f"1000-{DATE + 1}"}, FILE_TAG, DATE),
        ({"sha256": SHA256, "sha256_of": f"1001-{DATE}"}, FILE_TAG, DATE),
        ({"sha256": SHA256, "sha256_of": f"1000-{DATE}-7-9"}, FILE_TAG, DATE),
        ({"sha256_of": f"1000-{DATE}"}, FILE_TAG, DATE),
        ({"sha256": SHA256, "etag": 'W/"c"'}, 'W/"c"', DATE),
        ({"sha256": SHA256, "last_modified": 5}, DIGEST_TAG, 5),
    ],
    ids=repr,
)
def test_image_validators(entry: dict[str, Any], etag: str, last_modified: int) -> None:
    """The catalog's tag and date go over the file's, each by itself; a digest that counts makes the tag."""
    assert image_validators(attrs.evolve(IMAGE, **entry), STATUS) == Validators(etag, last_modified)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("headers", "status", "expected"),
    [
        ({}, 200, BODY),
        ({"Range": "bytes=5-9"}, 206, BODY | {"Content-Range": "bytes 5-9/1000"}),
        ({"Range": "bytes=5-9", "If-Range": DIGEST_TAG}, 206, BODY | {"Content-Range": "bytes 5-9/1000"}),
        ({"If-None-Match": DIGEST_TAG}, 304, VALIDATING),
    ],
    ids=repr,
)
def test_digest(ask: Ask, *, headers: Headers, status: int, expected: Headers, method: str) -> None:
    """What is sent of an image with a known digest has that of the whole image, and lets scripts read it."""
    facts, policy = ask(headers=headers, method=method), policy_with()
    reply = decide(facts, policy, image_representation(facts, policy, DIGESTED, STATUS))
    exposed = f"{CORS['Access-Control-Expose-Headers']}, Repr-Digest"
    more = {"ETag": DIGEST_TAG, "Repr-Digest": DIGEST_FIELD, "Access-Control-Expose-Headers": exposed}
    assert (reply.status, dict(reply.headers)) == (status, expected | more)


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"If-Match": '"v0"'}, 412), ({"Range": "bytes=0-500"}, 413), ({"Range": "bytes=1000-"}, 416)],
    ids=repr,
)
def test_no_digest_of_errors(ask: Ask, headers: Headers, status: int) -> None:
    """An error has no digest: its body is not the image."""
    facts, policy = ask(headers=headers), policy_with(max_range_bytes=100)
    reply = decide(facts, policy, image_representation(facts, policy, DIGESTED, STATUS))
    assert reply.status == status
    assert "Repr-Digest" not in dict(reply.headers)
    assert "Repr-Digest" not in dict(reply.headers)["Access-Control-Expose-Headers"]
