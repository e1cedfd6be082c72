"""The metadata plane of http.md §4: objects, list, tags and conditions."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.policies import policy_with

from aero_storage.catalog.model import Image
from aero_storage.delivery.metadata import describe, image_reply, list_reply, make_listing, with_hidden
from aero_storage.delivery.reply import Reply
from aero_storage.storage.blob import BlobStatus
from aero_storage.storage.local.file_status import file_status

if TYPE_CHECKING:
    from tests.delivery.conftest import Ask

IMAGE = Image("disk.img", "files/disk.img", "A disk")
FULL = attrs.evolve(
    IMAGE,
    public=False,
    description="Ünïcode — and “quotes”",
    recommended_chunk_size_bytes=4096,
    chunked_version="v1",
    etag='W/"mine"',
    last_modified=1_700_000_000_250_000_000,
)
STATUS = file_status(20 * 2**30, 1_600_000_000_000_000_000)
META = "/v1/images/disk.img/meta"
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "ETag, Last-Modified, Cache-Control",
}


NOW = 1_700_000_100.0


def meta(
    ask: Ask,
    headers: dict[str, str] | None = None,
    image: Image = IMAGE,
    status: BlobStatus = STATUS,
    now: float = NOW,
) -> Reply:
    return image_reply(ask(META, headers), policy_with(), image, status, now=now)


def listed(ask: Ask, headers: dict[str, str] | None = None, *found: tuple[Image, BlobStatus]) -> Reply:
    return list_reply(
        ask("/v1/images", headers), policy_with(), make_listing(found or [(IMAGE, STATUS), (FULL, STATUS)])
    )


def test_plain_object() -> None:
    """An object has what is known of its image; what is unset is absent."""
    assert describe(IMAGE, STATUS) == {
        "id": "disk.img",
        "name": "A disk",
        "size_bytes": 20 * 2**30,
        "etag": '"500000000-5f5e1000-0"',
        "version": "v-a18009437719f52f8504dbbd735a0760",
        "last_modified": "2020-09-13T12:26:40Z",
        "content_type": "application/octet-stream",
        "public": True,
    }


@pytest.mark.parametrize(
    ("stamp", "known"),
    [(None, True), (f"{20 * 2**30}-1600000000000000000", True), (f"{20 * 2**30}-1600000000000000001", False)],
)
def test_digest(ask: Ask, stamp: str | None, *, known: bool) -> None:
    """The digest is told where it is that of the file that lies there, and the tag comes from it."""
    image = attrs.evolve(IMAGE, sha256="ab" * 32, sha256_of=stamp)
    told = describe(image, STATUS)
    assert told.get("sha256") == ("ab" * 32 if known else None)
    assert told["etag"] == (f'"sha256-{"ab" * 32}"' if known else '"500000000-5f5e1000-0"')
    assert dict(meta(ask, image=image).headers)["ETag"] == told["etag"]


def test_full_object() -> None:
    """What the catalog entry says of description, chunk size, tag and date is in the object."""
    assert describe(FULL, STATUS) == {
        "id": "disk.img",
        "name": "A disk",
        "description": "Ünïcode — and “quotes”",
        "size_bytes": 20 * 2**30,
        "etag": 'W/"mine"',
        "last_modified": "2023-11-14T22:13:20.25Z",
        "content_type": "application/octet-stream",
        "recommended_chunk_size_bytes": 4096,
        "public": False,
    }


@pytest.mark.parametrize(
    ("mtime_ns", "text"),
    [
        (-1, "1970-01-01T00:00:00Z"),
        (0, "1970-01-01T00:00:00Z"),
        (1_000_000_000, "1970-01-01T00:00:00Z"),
        (1_000_000_001, "1970-01-01T00:00:01.000000001Z"),
        (315_532_800_000_000_000, "1970-01-01T00:00:00Z"),
        (1_500_000_000, "1970-01-01T00:00:01.5Z"),
        (10**21, "1970-01-01T00:00:00Z"),
    ],
)
def test_last_modified(mtime_ns: int, text: str) -> None:
    """The date is RFC 3339 in UTC, with a fraction only if there is one, and the epoch if there is none."""
    assert describe(IMAGE, file_status(0, mtime_ns))["last_modified"] == text


def test_empty_description() -> None:
    """A description that is set is there, were it empty."""
    assert describe(attrs.evolve(IMAGE, description=""), STATUS)["description"] == ""


def test_image_reply(ask: Ask) -> None:
    """`meta` answers with the object, the image's own tag and date, and has to be revalidated."""
    reply = meta(ask)
    assert (reply.status, json.loads(reply.body)) == (200, describe(IMAGE, STATUS))
    assert dict(reply.headers) == CORS | {
        "Content-Type": "application/json",
        "Cache-Control": "no-cache",
        "ETag": '"500000000-5f5e1000-0"',
        "Last-Modified": "Sun, 13 Sep 2020 12:26:40 GMT",
    }


def test_image_reply_without_date(ask: Ask) -> None:
    """An image without a usable date has no `Last-Modified`, and the epoch in its object."""
    reply = meta(ask, status=file_status(1, -1))
    assert "Last-Modified" not in dict(reply.headers)
    assert json.loads(reply.body)["last_modified"] == "1970-01-01T00:00:00Z"


def test_image_reply_with_a_date_to_come(ask: Ask) -> None:
    """A date later than `Date` is in the object as it is, but no `Last-Modified`, and takes part in no condition."""
    status = file_status(1, 1_700_000_101_000_000_000)
    reply = meta(ask, {"If-Modified-Since": "Tue, 14 Nov 2023 23:00:00 GMT"}, status=status)
    assert (reply.status, "Last-Modified" in dict(reply.headers)) == (200, False)
    assert json.loads(reply.body)["last_modified"] == "2023-11-14T22:15:01Z"
    assert dict(meta(ask, status=status, now=NOW + 1).headers)["Last-Modified"] == "Tue, 14 Nov 2023 22:15:01 GMT"


def test_list_reply(ask: Ask) -> None:
    """The list is an array of the same objects in the order given, under a strong tag made of its body."""
    reply = listed(ask)
    assert (reply.status, json.loads(reply.body)) == (200, [describe(IMAGE, STATUS), describe(FULL, STATUS)])
    digest = hashlib.sha256(reply.body).hexdigest()[:32]
    assert dict(reply.headers) == CORS | {
        "Content-Type": "application/json",
        "Cache-Control": "no-cache",
        "ETag": f'"images-{digest}"',
    }


def test_empty_list(ask: Ask) -> None:
    """A list of nothing is an empty array, with a tag like any other."""
    reply = list_reply(ask("/v1/images"), policy_with(), make_listing([]))
    assert (reply.status, reply.body) == (200, b"[]")
    assert dict(reply.headers)["ETag"].startswith('"images-')


def test_tag_of_the_list(ask: Ask) -> None:
    """The list's tag is the same for the same list, and another for any other: order, sizes, texts."""
    one = (IMAGE, STATUS)
    lists = [
        (one, (FULL, STATUS)),
        ((FULL, STATUS), one),
        (one,),
        ((IMAGE, attrs.evolve(STATUS, size=1)),),
        ((attrs.evolve(IMAGE, name="B"), STATUS),),
    ]
    tags = [[dict(listed(ask, {}, *found).headers)["ETag"] for found in lists] for _ in range(2)]
    assert tags[0] == tags[1]
    assert len(set(tags[0])) == len(lists)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-None-Match": '"500000000-5f5e1000-0"'}, 304),
        ({"If-None-Match": 'W/"500000000-5f5e1000-0"'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"else"'}, 200),
        ({"If-Modified-Since": "Sun, 13 Sep 2020 12:26:40 GMT"}, 304),
        ({"If-Modified-Since": "Sun, 13 Sep 2020 12:26:39 GMT"}, 200),
        ({"If-Match": '"else"'}, 412),
        ({"If-Unmodified-Since": "Sun, 13 Sep 2020 12:26:39 GMT"}, 412),
        ({"If-Match": '"else"', "If-None-Match": "*"}, 412),
        ({"Range": "bytes=0-0"}, 200),
        ({"Range": "broken", "If-Range": '"x"'}, 200),
    ],
    ids=repr,
)
def test_conditions(ask: Ask, headers: dict[str, str], status: int) -> None:
    """Conditions on `meta` are evaluated as on bytes; ranges mean nothing here."""
    assert meta(ask, headers).status == status


def test_not_modified(ask: Ask) -> None:
    """A 304 keeps the headers of the 200, and has no body: `meta` and list."""
    for reply, again in ((meta(ask), meta), (listed(ask), listed)):
        tag = dict(reply.headers)["ETag"]
        kept = again(ask, {"If-None-Match": tag})
        assert (kept.status, kept.body, kept.length) == (304, b"", None)
        assert kept.headers == reply.headers


def test_dates_and_the_list(ask: Ask) -> None:
    """The list has no date: conditions on dates are ignored."""
    dates = {
        "If-Modified-Since": "Fri, 31 Dec 9999 23:59:59 GMT",
        "If-Unmodified-Since": "Thu, 01 Jan 1970 00:00:00 GMT",
    }
    assert listed(ask, dates).status == 200


def test_failed_precondition(ask: Ask) -> None:
    """A 412 is an error of the metadata plane: JSON, not kept, without validators."""
    reply = listed(ask, {"If-Match": '"else"'})
    assert reply.status == 412
    assert json.loads(reply.body)["error"]
    assert dict(reply.headers)["Cache-Control"] == "no-store"
    assert "ETag" not in dict(reply.headers)


def test_credentials_change_nothing(ask: Ask) -> None:
    """Metadata is revalidated each time, with or without credentials, public or not."""
    replies = [meta(ask, headers, image) for headers in ({}, {"Cookie": "a"}) for image in (IMAGE, FULL)]
    assert {dict(reply.headers)["Cache-Control"] for reply in replies} == {"no-cache"}


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=8))
def test_hidden_images(flags: list[tuple[bool, bool]]) -> None:
    """A list in which private images are shown is the list of all that is shown, each in its place, with its tag."""
    found = [(attrs.evolve(IMAGE, id=f"i-{n}", public=public), STATUS) for n, (public, _) in enumerate(flags)]
    wanted = {f"i-{n}" for n, (public, shown) in enumerate(flags) if public or shown}
    listing = make_listing(found, hides_private=True)
    shown = [entry for image_id, entry in listing.hidden.items() if image_id in wanted]
    expected = make_listing([pair for pair in found if pair[0].id in wanted])
    made = with_hidden(listing, shown[::-1])
    assert (made.body, made.etag) == (expected.body, expected.etag)
    assert [one["id"] for one in json.loads(listing.body)] == [image.id for image, _ in found if image.public]
