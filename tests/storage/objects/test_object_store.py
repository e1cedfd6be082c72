"""The scripted store itself: what tests rely on when they say that a store did this or that."""

from __future__ import annotations

import http.client
import math
from contextlib import AbstractContextManager, closing

import pytest
from tests.object_store import faults
from tests.object_store.buckets import Bucket, Quirks
from tests.object_store.server import ObjectStore


def connected(store: ObjectStore) -> AbstractContextManager[http.client.HTTPConnection]:
    return closing(http.client.HTTPConnection(store.endpoint.removeprefix("http://"), timeout=10))


def ask(
    store: ObjectStore, method: str, path: str, body: bytes = b"", **headers: str
) -> tuple[int, bytes, str | None]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with connected(store) as connection:
        connection.request(method, path, body or None, named)
        response = connection.getresponse()
        return response.status, response.read(), response.headers["etag"]


@pytest.fixture
def filled(store: ObjectStore) -> Bucket:
    bucket = store.bucket()
    bucket.put("a", b"0123456789")
    return bucket


def test_ranges_and_conditions(store: ObjectStore, filled: Bucket) -> None:
    """Ranges, tags and conditions are those of S3."""
    present = filled.get("a")
    assert present is not None
    assert ask(store, "GET", "/images/a", range="bytes=2-4")[:2] == (206, b"234")
    assert ask(store, "GET", "/images/a", range="bytes=8-99")[:2] == (206, b"89")
    assert ask(store, "GET", "/images/a", range="bytes=10-11")[0] == 416
    assert ask(store, "GET", "/images/a", if_match=present.tag) == (200, b"0123456789", present.tag)
    assert ask(store, "GET", "/images/a", if_match='"x"')[0] == 412
    assert ask(store, "HEAD", "/images/a")[:2] == (200, b"")
    assert ask(store, "PUT", "/images/a", b"x", if_none_match="*")[0] == 412
    assert ask(store, "PUT", "/images/a", b"x", if_match='"x"')[0] == 412
    assert ask(store, "PUT", "/images/a", b"x", if_match=present.tag)[0] == 200
    assert ask(store, "GET", "/nowhere/a")[0] == 404


def test_quirks(store: ObjectStore) -> None:
    """Stores that differ are played as they are."""
    bucket = store.bucket("odd", Quirks(if_match_unquoted=True, opaque_tags=True))
    tag = bucket.put("a", b"x").tag
    assert ask(store, "PUT", "/odd/a", b"y", if_match=tag)[0] == 412
    assert ask(store, "PUT", "/odd/a", b"y", if_match=tag.strip('"'))[0] == 200
    assert ask(store, "PUT", "/odd/a", b"y", if_match=tag.strip('"'))[0] == 412
    ignoring = store.bucket("ignoring", Quirks(conditional_put="ignored"))
    ignoring.put("a", b"x")
    assert ask(store, "PUT", "/ignoring/a", b"y", if_none_match="*")[0] == 200
    store.bucket("closed", Quirks(accepted_key="AKIAOTHER"))
    assert ask(store, "GET", "/closed/a")[0] == 403


@pytest.mark.usefixtures("filled")
def test_the_digest_is_checked(store: ObjectStore) -> None:
    """Content that is not as it was signed is refused."""
    assert ask(store, "PUT", "/images/b", b"x", x_amz_content_sha256="0" * 64)[0] == 400


@pytest.mark.usefixtures("filled")
def test_the_script(store: ObjectStore) -> None:
    """A fault is met by those requests that it names, so often as it says, after those that it skips."""
    store.faults.add(faults.SLOW_DOWN, "get", key="a*", times=2, skip=1)
    store.faults.add(faults.INTERNAL_ERROR, "head", times=math.inf)
    statuses = [ask(store, "GET", f"/images/{key}")[0] for key in ("a", "b", "a", "ab", "a")]
    assert statuses == [200, 404, 503, 503, 200]
    assert [ask(store, "HEAD", "/images/a")[0] for _ in range(3)] == [500] * 3
    store.faults.clear()
    assert ask(store, "HEAD", "/images/a")[0] == 200
    assert store.count("get", key="a") == 3
    assert (store.count("get"), store.count()) == (5, 9)


def test_endings(store: ObjectStore, filled: Bucket) -> None:
    """A body that is cut ends early, a reset is one, and a lost answer was carried out."""
    store.faults.add(faults.cut(4), "get")
    with pytest.raises(http.client.IncompleteRead) as short:
        ask(store, "GET", "/images/a")
    assert short.value.partial == b"0123"
    for fault in (faults.RESETTING, faults.cut(4, faults.RESET)):
        store.faults.add(fault, "get")
        with pytest.raises(ConnectionResetError):
            ask(store, "GET", "/images/a")
    store.faults.add(faults.LOST_ANSWER, "put")
    with pytest.raises(ConnectionResetError):
        ask(store, "PUT", "/images/b", b"stored")
    assert filled.keys() == ["a", "b"]


def test_meanwhile(store: ObjectStore, filled: Bucket) -> None:
    """What happens in mid-body happens when so many bytes have gone, and the body is that of before."""
    store.faults.add(faults.meanwhile(4, lambda: filled.delete("a")), "get")
    assert ask(store, "GET", "/images/a")[1] == b"0123456789"
    assert ask(store, "GET", "/images/a")[0] == 404


@pytest.mark.usefixtures("filled")
def test_hanging_ends(store: ObjectStore) -> None:
    """A request that hangs ends when its client leaves, or the store is closed."""
    store.faults.add(faults.HANGING, "get", times=2)
    for end in (lambda connection: connection.close(), lambda _: store.close()):
        with connected(store) as connection:
            connection.request("GET", "/images/a")
            end(connection)


def test_versions(store: ObjectStore) -> None:
    """A bucket with versions keeps them, also behind a deletion."""
    bucket = store.bucket("kept", Quirks(versioned=True))
    first = bucket.put("a", b"first")
    bucket.put("a", b"second")
    bucket.delete("a")
    assert ask(store, "GET", "/kept/a")[0] == 404
    assert ask(store, "GET", f"/kept/a?versionId={first.version}")[1] == b"first"
    assert bucket.keys() == []
