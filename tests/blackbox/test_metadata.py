"""http.md §4: the list and the metadata of images."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from tests.blackbox.image_roots import (
    BIG_SIZE,
    CATALOG_DATE,
    CATALOG_HTTP_DATE,
    EARLIER,
    LATER,
    MODIFIED,
    ODD_IDS,
    OVER_BUCKET,
    ROUTE_LIKE_IDS,
    SIZE,
    TAG,
    VERSION,
    WIDE_SIZE,
)

if TYPE_CHECKING:
    from tests.blackbox.harness import Daemon
    from tests.blackbox.raw_http import Fields

EXPOSED = ["etag", "last-modified", "cache-control"]
IDS = ["disk", "tagged", "weak", "private", "empty", "ageless", "big", "wide", "comma", "fraction", "linked", "deep"]
IDS += ["described", *ROUTE_LIKE_IDS, *ODD_IDS]
ALWAYS = {"id", "name", "size_bytes", "etag", "version", "last_modified", "content_type", "public"}
PLAIN = {
    "id": "disk",
    "name": "Image disk",
    "size_bytes": SIZE,
    "etag": TAG,
    "version": VERSION,
    "content_type": "application/octet-stream",
    "public": True,
}


def test_list_holds_the_catalog_in_its_order(store: Daemon) -> None:
    """The list holds every image of the manifest, in its order, as the objects that `meta` gives."""
    listed = store.ask("/v1/images").json()
    assert [image["id"] for image in listed] == IDS
    for image in listed:
        assert image == store.ask(f"/v1/images/{image['id']}/meta").json()


def test_plain_metadata(store: Daemon) -> None:
    """Metadata of an image without overrides come from its file; what is unset is absent."""
    meta = store.ask("/v1/images/disk/meta").json()
    assert meta.keys() == ALWAYS
    assert {key: meta[key] for key in PLAIN} == PLAIN
    fraction = "" if OVER_BUCKET else r"\.12345[67][0-9]*"  # a store tells the second
    assert re.fullmatch(rf"2020-09-13T12:26:40{fraction}Z", meta["last_modified"])


def test_described_metadata(store: Daemon) -> None:
    """Optional fields that are set are shown."""
    meta = store.ask("/v1/images/described/meta").json()
    assert meta.keys() == ALWAYS | {"description", "recommended_chunk_size_bytes"}
    assert meta["name"] == "A name"
    assert meta["description"] == "Words"
    assert meta["recommended_chunk_size_bytes"] == 1 << 20


@pytest.mark.parametrize(
    ("image_id", "key", "value"),
    [
        ("tagged", "etag", '"tag-1"'),
        ("tagged", "last_modified", CATALOG_DATE),
        ("weak", "etag", 'W/"weak-1"'),
        ("private", "public", False),
        ("empty", "size_bytes", 0),
        ("ageless", "last_modified", "1970-01-01T00:00:00Z"),
        ("big", "size_bytes", BIG_SIZE),
        ("wide", "size_bytes", WIDE_SIZE),
        ("comma", "etag", '"a,b"'),
        ("fraction", "last_modified", "2020-01-02T03:04:05.5Z"),
        ("linked", "size_bytes", SIZE),
        ("deep", "id", "deep"),
    ],
)
def test_fields(store: Daemon, image_id: str, key: str, value: object) -> None:
    """Each field shows what the catalog says, or else the file."""
    assert store.ask(f"/v1/images/{image_id}/meta").json()[key] == value


def test_tag_of_an_mtime_that_says_nothing(store: Daemon) -> None:
    """The tag in `meta` is that of the bytes, where it comes from ctime and inode too."""
    tag = store.ask("/v1/images/ageless/meta").json()["etag"]
    assert tag.startswith('"64-0-0-')
    assert store.ask("/v1/images/ageless", "HEAD")["ETag"] == tag


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/v1/images", "/v1/images/disk/meta", "/v1/images/private/meta"])
def test_headers(store: Daemon, path: str, method: str) -> None:
    """Metadata are JSON, `no-cache`, tagged and exposed; `meta` carries Last-Modified too."""
    reply = store.ask(path, method, {"Origin": "https://app.test"})
    assert reply["Content-Type"] == "application/json"
    assert reply["Cache-Control"] == "no-cache"
    assert reply["ETag"]
    assert reply["Access-Control-Allow-Origin"] == "*"
    assert reply.members("Access-Control-Expose-Headers") == EXPOSED
    assert (reply.get("Last-Modified") is None) == (path == "/v1/images")


def test_tag_of_the_list(store: Daemon) -> None:
    """The tag of the list is a strong digest of 32 hex digits and stays while the body stays."""
    first, second = store.ask("/v1/images"), store.ask("/v1/images")
    assert re.fullmatch('"images-[0-9a-f]{32}"', first["ETag"])
    assert first.body == second.body
    assert first["ETag"] == second["ETag"]


@pytest.mark.parametrize("image_id", ["disk", "tagged", "weak", "empty", "ageless", "comma", "big"])
def test_tag_of_meta_is_the_image_s_own(store: Daemon, image_id: str) -> None:
    """`meta` carries the validators of the image itself, in header and body."""
    meta, image = store.ask(f"/v1/images/{image_id}/meta"), store.ask(f"/v1/images/{image_id}", "HEAD")
    assert meta["ETag"] == image["ETag"] == meta.json()["etag"]
    assert image.get("Last-Modified") == (meta.get("Last-Modified") if image_id != "ageless" else None)


def test_last_modified_of_the_file(store: Daemon) -> None:
    """Without an override Last-Modified is the mtime in whole seconds."""
    assert store.ask("/v1/images/disk/meta")["Last-Modified"] == MODIFIED


CONDITIONS: list[tuple[str, Fields, int]] = [
    ("disk", {"If-None-Match": TAG}, 304),
    ("disk", {"If-None-Match": f"W/{TAG}"}, 304),
    ("disk", {"If-None-Match": f'"x", {TAG}'}, 304),
    ("disk", {"If-None-Match": "*"}, 304),
    ("disk", {"If-None-Match": '"x"'}, 200),
    ("disk", {"If-Modified-Since": MODIFIED}, 304),
    ("weak", {"If-None-Match": '"weak-1"'}, 304),
    ("comma", {"If-None-Match": '"x", "a,b"'}, 304),
    ("tagged", {"If-Modified-Since": CATALOG_HTTP_DATE}, 304),
    ("tagged", {"If-Modified-Since": LATER}, 304),
    ("tagged", {"If-Modified-Since": EARLIER}, 200),
    ("tagged", {"If-None-Match": '"x"', "If-Modified-Since": LATER}, 200),
    ("tagged", {"If-Match": '"tag-1"'}, 200),
    ("tagged", {"If-Match": '"x"'}, 412),
    ("tagged", {"If-Unmodified-Since": EARLIER}, 412),
    ("tagged", {"If-Unmodified-Since": CATALOG_HTTP_DATE}, 200),
    ("tagged", {"Range": "bytes=0-5"}, 200),
]


@pytest.mark.parametrize(("image_id", "fields", "status"), CONDITIONS)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_conditional_meta(store: Daemon, method: str, image_id: str, fields: Fields, status: int) -> None:
    """Conditional requests work on `meta` as on the bytes; a 304 keeps the headers."""
    plain = store.ask(f"/v1/images/{image_id}/meta", method)
    reply = store.ask(f"/v1/images/{image_id}/meta", method, fields)
    assert reply.status == status
    if status == 304:
        for name in ("ETag", "Last-Modified", "Cache-Control", "Access-Control-Expose-Headers"):
            assert reply[name] == plain[name]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_conditional_list(store: Daemon, method: str) -> None:
    """The list honours If-None-Match and If-Match with its own tag."""
    tag = store.ask("/v1/images")["ETag"]
    for value in (tag, f"W/{tag}", f'"a", {tag}', "*"):
        reply = store.ask("/v1/images", method, {"If-None-Match": value})
        assert reply.status == 304
        assert reply["ETag"] == tag
        assert reply["Cache-Control"] == "no-cache"
    assert store.ask("/v1/images", method, {"If-None-Match": TAG}).status == 200
    assert store.ask("/v1/images", method, {"If-Match": tag}).status == 200
    assert store.ask("/v1/images", method, {"If-Match": TAG}).status == 412


@pytest.mark.parametrize(
    ("path", "fields", "status"),
    [
        ("/v1/images/nothing/meta", {}, 404),
        ("/v1/images/%2e%2e/meta", {}, 400),
        ("/v1/images//meta", {}, 400),
        ("/v1/images/disk/meta", {"If-Match": '"x"'}, 412),
        ("/v1/images", {"If-Match": '"x"'}, 412),
    ],
)
def test_errors_are_json(store: Daemon, path: str, fields: Fields, status: int) -> None:
    """Errors of the metadata plane are JSON with one word of explanation, `no-store`."""
    reply = store.ask(path, fields=fields)
    assert reply.status == status
    assert reply.json().keys() == {"error"}
    assert isinstance(reply.json()["error"], str)
    assert reply["Content-Type"].startswith("application/json")
    assert reply["Cache-Control"] == "no-store"
    assert len(reply.body) <= 1024


@pytest.mark.parametrize("fields", [{"Authorization": "Bearer x"}, {"Cookie": "a=b"}])
def test_credentials_change_nothing(store: Daemon, fields: Fields) -> None:
    """Metadata are `no-cache` for everyone."""
    assert store.ask("/v1/images/disk/meta", fields=fields)["Cache-Control"] == "no-cache"
