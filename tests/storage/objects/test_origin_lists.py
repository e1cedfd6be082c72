"""Listings of a store, of many pages, broken ones and hostile ones."""

from __future__ import annotations

import math

import attrs
import pytest
from tests.object_store import faults
from tests.object_store.buckets import Bucket, Quirks
from tests.object_store.server import ObjectStore
from tests.storage.objects.conftest import MakeOrigin, SkippedTime

from aero_storage.errors import OriginDeniedError, OriginUnavailableError
from aero_storage.storage.objects.obstore_origin import ObstoreOrigin
from aero_storage.storage.objects.origin import Pin

KEYS = [
    "a.img",
    "b b.img",
    "chunked/x/1",
    "chunked/x/2",
    "chunked/y/1",
    "d<&>'\".img",
    "e%20.img",
    "profiles/p",
    "ü.img",
]


def names(origin: ObstoreOrigin, prefix: str = "", *, delimiter: bool) -> list[str]:
    return sorted(f"{one.key}{'' if one.status else '/'}" for one in origin.list(prefix, delimiter=delimiter))


@pytest.fixture
def filled(store: ObjectStore) -> Bucket:
    """A bucket with pages of three keys."""
    bucket = store.bucket("images", Quirks(keys_of_a_page=3))
    for key in KEYS:
        bucket.put(key, key.encode())
    return bucket


@pytest.mark.usefixtures("filled")
def test_directory(origin: ObstoreOrigin) -> None:
    """With a delimiter, a listing has the objects and the common prefixes of one level, from all pages."""
    tops = {key if "/" not in key else key.partition("/")[0] + "/" for key in KEYS}
    assert names(origin, delimiter=True) == sorted(tops)
    assert names(origin, "chunked", delimiter=True) == ["chunked/x/", "chunked/y/"]
    assert names(origin, "chunked/x", delimiter=True) == ["chunked/x/1", "chunked/x/2"]
    assert names(origin, "nowhere", delimiter=True) == []


@pytest.mark.usefixtures("filled")
def test_flat(origin: ObstoreOrigin) -> None:
    """Without one it has all objects below a directory, not those of one whose name begins alike."""
    assert names(origin, delimiter=False) == sorted(KEYS)
    assert names(origin, "chunked/x", delimiter=False) == ["chunked/x/1", "chunked/x/2"]
    assert names(origin, "chunk", delimiter=False) == []


def test_status(origin: ObstoreOrigin, filled: Bucket) -> None:
    """A listing tells sizes, tags and times as HEAD does, so that no object has to be asked for."""
    assert filled.keys()
    for delimiter in (False, True):
        (found,) = [one for one in origin.list("", delimiter=delimiter) if one.key == "a.img"]
        assert found.status == origin.head("a.img")


def test_prefix(make_origin: MakeOrigin, filled: Bucket) -> None:
    """Keys are relative to the prefix of the URL, and what lies beside it is not listed."""
    filled.put("chunked2/z", b"")
    origin = make_origin("s3://images/chunked")
    assert names(origin, delimiter=True) == ["x/", "y/"]
    assert names(origin, "x", delimiter=False) == ["x/1", "x/2"]


def test_a_marker_of_a_directory(origin: ObstoreOrigin, filled: Bucket) -> None:
    """A key that ends in a slash is no image: it shows as the directory that it marks."""
    filled.put("sub/", b"")
    assert "sub/" in names(origin, delimiter=True)
    assert "sub" not in names(origin, delimiter=True)


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("delimiter", [False, True])
@pytest.mark.parametrize(
    "fault",
    [
        faults.SLOW_DOWN,
        faults.RESETTING,
        faults.cut(150),
        faults.edited(lambda body: body[:-40]),
        faults.body(b""),
        faults.body(b"{}"),
        faults.edited(lambda body: body.replace(b"<Size>", b"<Size>-")),
        faults.edited(lambda body: body.replace(b"a.img", b"a\xff.img")),
        faults.edited(lambda body: b'<!DOCTYPE x [<!ENTITY a "b">]>' + body.replace(b"a.img", b"&a;.img")),
    ],
    ids=lambda fault: fault.name,
)
@pytest.mark.parametrize("skip", [0, 1])
def test_broken_pages(
    origin: ObstoreOrigin, store: ObjectStore, fault: faults.Fault, skip: int, *, delimiter: bool
) -> None:
    """A page that is broken is asked for again: no key is missing, none is there twice."""
    whole = names(origin, delimiter=delimiter)
    store.faults.add(fault, "list", skip=skip)
    assert names(origin, delimiter=delimiter) == whole


def test_a_listing_that_breaks_late(origin: ObstoreOrigin, store: ObjectStore) -> None:
    """A long flat listing goes on where it broke off, and does not begin anew."""
    bucket = store.bucket("images")
    for number in range(3500):
        bucket.put(f"{number:05}", b"")
    store.faults.add(faults.SLOW_DOWN, "list", skip=2)
    assert names(origin, delimiter=False) == [f"{number:05}" for number in range(3500)]
    resumed = [one.query.get("start-after") for one in store.requests]
    assert resumed[:4] == [None, None, None, "01999"]


@pytest.mark.usefixtures("filled")
def test_endless(origin: ObstoreOrigin, store: ObjectStore) -> None:
    """A store whose continuation leads to the same page for ever does not keep a flat listing for ever."""
    rest = "<LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>x</ETag><Size>1</Size></Contents>"
    keys = "".join(f"<Contents><Key>{number}</Key>{rest}" for number in range(1000))
    more = "<IsTruncated>true</IsTruncated><NextContinuationToken>x</NextContinuationToken>"
    page = f"<ListBucketResult>{more}{keys}</ListBucketResult>".encode()
    store.faults.add(faults.body(page), "list", times=math.inf)
    with pytest.raises(OriginUnavailableError, match="LIST '': a listing that repeats itself"):
        names(origin, delimiter=False)


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("delimiter", [False, True])
def test_what_was_not_asked_for(make_origin: MakeOrigin, store: ObjectStore, *, delimiter: bool) -> None:
    """A store that lists keys outside of the prefix does not bring them in."""
    origin = make_origin("s3://images/chunked")
    store.faults.add(faults.edited(lambda body: body.replace(b"chunked/x/", b"secrets/x/")), "list", times=math.inf)
    assert not any("secrets" in name for name in names(origin, delimiter=delimiter))


@pytest.mark.parametrize("key", ["x//y", "x/../y", "x/./y", "x/a\ny", "x/\x7f"])
def test_keys_that_cannot_be_named(origin: ObstoreOrigin, filled: Bucket, skipped: SkippedTime, key: str) -> None:
    """A flat listing goes on without the directory of a key that the client cannot name, and tells which that is."""
    whole = names(origin, delimiter=False)
    filled.put(key, b"")
    filled.put("x/b.img", b"")
    filled.put("x/sub/b.img", b"")
    seen = names(origin, delimiter=False)
    assert [name for name in seen if name not in whole] in (["x/"], ["x//", "x/b.img", "x/sub/b.img"])
    assert [name for name in seen if name in whole] == whole
    assert skipped.pauses == []


@pytest.mark.parametrize("delimiter", [False, True])
@pytest.mark.parametrize(("key", "said"), [("./y", r"'\./"), ("x\ny", r"'x\\ny'"), ("\x1b[31m", r"'\\x1b\[31m'")])
def test_key_on_top_that_cannot_be_named(
    origin: ObstoreOrigin, filled: Bucket, skipped: SkippedTime, key: str, said: str, *, delimiter: bool
) -> None:
    """Such a key in the directory that is listed fails it at once, and is shown without control characters."""
    filled.put(key, b"")
    with pytest.raises(OriginUnavailableError, match=rf"LIST '': a key with an empty part.*: {said}") as raised:
        names(origin, delimiter=delimiter)
    assert str(raised.value).isprintable()
    assert skipped.pauses == []


@pytest.mark.usefixtures("filled")
def test_too_many_in_one_directory(origin: ObstoreOrigin) -> None:
    """A directory with more keys than there is room for fails in words that help; a flat listing has pages."""
    small = attrs.evolve(origin, most_listed=6)
    with pytest.raises(OriginUnavailableError, match="LIST '': over 6 keys in one directory: use directories"):
        names(small, delimiter=True)
    assert len(names(small, delimiter=False)) == len(KEYS)


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("delimiter", [False, True])
def test_denied(origin: ObstoreOrigin, store: ObjectStore, *, delimiter: bool) -> None:
    """A listing that is denied says so."""
    store.faults.add(faults.ACCESS_DENIED, "list", times=math.inf)
    with pytest.raises(OriginDeniedError, match="LIST '': 403 AccessDenied"):
        names(origin, delimiter=delimiter)


@pytest.mark.usefixtures("filled")
def test_tags_of_azure(origin: ObstoreOrigin, store: ObjectStore) -> None:
    """Tags that a listing tells without quotes have them, as HEAD tells them; one may be missing."""
    store.faults.add(faults.edited(lambda body: body.replace(b'"', b"")), "list", times=math.inf)
    found = {one.key: one.status for one in origin.list("", delimiter=False)}
    assert found["a.img"] == origin.head("a.img")
    store.faults.clear()
    store.faults.add(faults.edited(lambda body: body.replace(b"<ETag>", b"<X>").replace(b"</ETag>", b"</X>")), "list")
    status = next(one.status for one in origin.list("", delimiter=True) if one.key == "a.img")
    assert status is not None
    assert status.pin == Pin("")
