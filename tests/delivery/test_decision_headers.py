"""The headers that come with each status of the bytes routes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest
from tests.delivery.decide import decide
from tests.policies import cors_with, policy_with

from aero_storage.catalog.model import Image
from aero_storage.delivery.representation import image_representation, image_validators
from aero_storage.http.conditional import Validators

if TYPE_CHECKING:
    from tests.delivery.conftest import Ask, ReplyTo

SIZE = 1000
EXACTLY = "Tue, 14 Nov 2023 22:13:20 GMT"
VALIDATORS = Validators('"v1"', 1_700_000_000_500_000_000)
IMAGE = Image("disk.img", "disk.img", "disk.img")

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
    reply = decide(facts, policy, image_representation(facts, policy, image, SIZE, VALIDATORS))
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
    ("image", "expected"),
    [
        (IMAGE, VALIDATORS),
        (attrs.evolve(IMAGE, etag='W/"c"'), attrs.evolve(VALIDATORS, etag='W/"c"')),
        (attrs.evolve(IMAGE, last_modified=5), attrs.evolve(VALIDATORS, last_modified=5)),
        (attrs.evolve(IMAGE, last_modified=0), attrs.evolve(VALIDATORS, last_modified=0)),
        (attrs.evolve(IMAGE, etag='""', last_modified=7), Validators('""', 7)),
    ],
)
def test_image_validators(image: Image, expected: Validators) -> None:
    """What the catalog says of tag and date goes over what the file says, each by itself."""
    assert image_validators(image, VALIDATORS) == expected
