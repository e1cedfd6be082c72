"""Reads from a store that answers rightly, wrongly, late or not at all: the bytes of the pin, or an error."""

from __future__ import annotations

import math
import os
from collections.abc import Callable

import attrs
import pytest
from tests.object_store import faults
from tests.object_store.buckets import Bucket, Quirks
from tests.object_store.faults import Answer, Asked, Fault
from tests.object_store.server import ObjectStore
from tests.storage.objects.conftest import MakeOrigin, Requests, SkippedTime

from aero_storage.errors import (
    BlobNotFoundError,
    ObjectChangedError,
    ObjectTooLargeError,
    OriginDeniedError,
    OriginUnavailableError,
)
from aero_storage.storage.objects.obstore_origin import ObstoreOrigin
from aero_storage.storage.objects.origin import Pin

CONTENT = os.urandom(200_000)
KEY = "disk.img"


@pytest.fixture
def pin(bucket: Bucket) -> Pin:
    """An object, as it is opened."""
    return Pin(bucket.put(KEY, CONTENT).tag)


def test_head(origin: ObstoreOrigin, pin: Pin, requests: Requests) -> None:
    """HEAD tells size, tag and time of an object, by the key below the prefix."""
    found = origin.head(KEY)
    assert (found.key, found.size, found.pin) == (KEY, len(CONTENT), pin)
    assert found.modified_ns > 1_700_000_000 * 10**9
    assert requests.seen == [("head", "ok", 0)]


@pytest.mark.parametrize(
    ("offset", "length"), [(0, 1), (0, len(CONTENT)), (len(CONTENT) - 1, 1), (7, 131072), (5, 0)]
)
def test_get(origin: ObstoreOrigin, pin: Pin, offset: int, length: int) -> None:
    """A range is returned exactly, as a buffer; nothing is no request."""
    assert bytes(origin.get(KEY, pin, offset, length)) == CONTENT[offset : offset + length]


def test_get_is_pinned(origin: ObstoreOrigin, store: ObjectStore, pin: Pin, requests: Requests) -> None:
    """Each read carries the tag, and its bytes are counted."""
    origin.get(KEY, pin, 10, 20)
    assert [(one.headers["range"], one.headers["if-match"]) for one in store.requests] == [("bytes=10-29", pin.tag)]
    assert requests.seen == [("get", "ok", 20)]


def test_versions(make_origin: MakeOrigin, store: ObjectStore) -> None:
    """In a bucket with versions the pin has one, and the bytes stay there when the object is replaced or deleted."""
    bucket = store.bucket("versions", Quirks(versioned=True))
    bucket.put(KEY, CONTENT)
    origin = make_origin("s3://versions")
    pin = origin.head(KEY).pin
    assert pin.version is not None
    bucket.put(KEY, b"another")
    assert bytes(origin.get(KEY, pin, 0, 100)) == CONTENT[:100]
    bucket.delete(KEY)
    assert bytes(origin.get(KEY, pin, 0, 100)) == CONTENT[:100]
    assert store.requests[-1].query["versionId"] == pin.version
    with pytest.raises(BlobNotFoundError):
        origin.head(KEY)


def test_prefix(make_origin: MakeOrigin, bucket: Bucket) -> None:
    """Keys are relative to the prefix of the URL."""
    bucket.put("a/b/x y%20ü#?.img", b"12345")
    origin = make_origin("s3://images/a/b/")
    assert origin.head("x y%20ü#?.img").size == 5
    assert origin.read("x y%20ü#?.img", 5)[1] == b"12345"
    assert (origin.name, origin.identity.endswith(" s3://images/a/b")) == ("s3://images/a/b", True)


REPLACED: list[Callable[[Bucket], object]] = [
    lambda bucket: bucket.put(KEY, b"x" * 300_000),
    lambda bucket: bucket.put(KEY, b""),
    lambda bucket: bucket.delete(KEY),
]


@pytest.mark.parametrize("replace", REPLACED)
def test_replaced(
    origin: ObstoreOrigin, bucket: Bucket, pin: Pin, store: ObjectStore, replace: Callable[[Bucket], object]
) -> None:
    """An object that was replaced, or is gone, gives ObjectChangedError at once."""
    replace(bucket)
    with pytest.raises(
        ObjectChangedError, match=r"s3://images: GET 'disk\.img': (412 PreconditionFailed|404 NoSuchKey)"
    ):
        origin.get(KEY, pin, 0, 100)
    assert store.count("get") == 1


def test_the_same_content_again(origin: ObstoreOrigin, bucket: Bucket, pin: Pin) -> None:
    """An object that was stored again with the same content is the same."""
    bucket.put(KEY, CONTENT)
    assert bytes(origin.get(KEY, pin, 0, 100)) == CONTENT[:100]


def test_replaced_in_mid_body(origin: ObstoreOrigin, bucket: Bucket, store: ObjectStore, pin: Pin) -> None:
    """A body that is cut by a replacement is asked for once more, and the other object's bytes do not follow it."""
    store.faults.add(faults.meanwhile(1000, lambda: bucket.put(KEY, os.urandom(len(CONTENT)))), "get")
    assert bytes(origin.get(KEY, pin, 0, len(CONTENT))) == CONTENT
    store.faults.add(faults.cut(1000), "get")
    with pytest.raises(ObjectChangedError):
        origin.get(KEY, pin, 0, len(CONTENT))


PASSING = [
    (faults.SLOW_DOWN, "throttled"),
    (faults.error(429, "TooManyRequests"), "throttled"),
    (faults.INTERNAL_ERROR, "error"),
    (faults.error(502, "BadGateway"), "error"),
    (faults.error(301, "PermanentRedirect"), "error"),
    (faults.RESETTING, "error"),
    (faults.cut(0), "error"),
    (faults.cut(1000), "error"),
    (faults.cut(1000, faults.RESET), "error"),
    (faults.body(b"short"), "error"),
    (faults.body(b""), "error"),
    (faults.other_tag(), "error"),
    (faults.other_tag('W/"x"'), "error"),
    (faults.headers(etag=None), "error"),
    (faults.shifted_range(1), "error"),
    (faults.shifted_range(-1), "error"),
    (faults.shorter(1), "error"),
    (faults.WHOLE, "error"),
    (faults.headers(content_range=None), "error"),
    (faults.headers(content_range="bytes 1-x/*"), "error"),
    (faults.headers(x_amz_version_id="v9"), None),
    (faults.slow(0.01), None),
]


@pytest.mark.parametrize(("fault", "result"), PASSING, ids=lambda value: getattr(value, "name", None))
def test_passing_faults(
    origin: ObstoreOrigin, store: ObjectStore, pin: Pin, requests: Requests, fault: Fault, result: str | None
) -> None:
    """What passes is tried again, counted by what it was, and the bytes are right."""
    store.faults.add(fault, "get", times=2)
    assert bytes(origin.get(KEY, pin, 1000, 50_000)) == CONTENT[1000:51_000]
    failed = [] if result is None else [("get", result)] * 2
    assert requests.results == [*failed, ("get", "ok")]


@pytest.mark.parametrize(
    ("fault", "result"), [row for row in PASSING if row[1]], ids=lambda v: getattr(v, "name", None)
)
def test_lasting_faults(
    origin: ObstoreOrigin, store: ObjectStore, pin: Pin, skipped: SkippedTime, fault: Fault, result: str
) -> None:
    """What lasts ends in OriginUnavailableError within the time limit; all but its last tenth is used."""
    store.faults.add(fault, times=math.inf)
    before = skipped.clock()
    with pytest.raises(OriginUnavailableError, match=r"^s3://images: GET 'disk.img': "):
        origin.get(KEY, pin, 1000, 50_000)
    assert 14 < skipped.clock() - before < 20
    assert len(skipped.pauses) > 5
    assert result


def test_endless_body(origin: ObstoreOrigin, store: ObjectStore, pin: Pin) -> None:
    """A body that goes on behind the range is not held in memory: its connection is closed, and the read repeated."""
    behind, sent = bytes(64 << 20), []  # far more than the buffers of a connection hold

    def alter(_asked: Asked, answer: Answer) -> Answer:
        whole = answer.body + behind
        return attrs.evolve(answer, body=whole, pause=(len(whole), lambda: sent.append(len(whole))))

    store.faults.add(Fault("endless", alter), "get")
    assert bytes(origin.get(KEY, pin, 7, 1000)) == CONTENT[7:1007]
    store.close()  # which waits for the sender
    assert not sent


@pytest.mark.parametrize("size", [len(CONTENT) - 1, len(CONTENT) + 1])
def test_a_head_that_tells_another_size(origin: ObstoreOrigin, store: ObjectStore, bucket: Bucket, size: int) -> None:
    """Where HEAD and GET tell different sizes of one object, it has to be looked at anew."""
    bucket.put(KEY, CONTENT)
    store.faults.add(faults.headers(content_length=str(size)), "head")
    found = origin.head(KEY)
    assert found.size == size
    with pytest.raises(ObjectChangedError, match="another size"):
        origin.get(KEY, found.pin, 0, 100)
    assert bytes(origin.get(KEY, origin.head(KEY).pin, 0, 100)) == CONTENT[:100]


def test_a_get_that_tells_another_size(origin: ObstoreOrigin, store: ObjectStore, bucket: Bucket) -> None:
    """Where HEAD says again what was seen, the answer to GET was wrong, and the read is repeated."""
    bucket.put(KEY, CONTENT)
    found = origin.head(KEY)
    store.faults.add(faults.headers(content_range=f"bytes 0-99/{len(CONTENT) + 1}"), "get", times=2)
    assert bytes(origin.get(KEY, found.pin, 0, 100)) == CONTENT[:100]
    assert (store.count("get"), store.count("head")) == (3, 3)


def test_a_head_without_its_length(origin: ObstoreOrigin, store: ObjectStore, bucket: Bucket) -> None:
    """A HEAD that tells of no bytes is no proof: some proxies answer all of them so, and a GET tells the size."""
    bucket.put(KEY, CONTENT)
    store.faults.add(faults.headers(content_length="0"), "head", times=math.inf)
    found = origin.head(KEY)
    assert (found.key, found.size) == (KEY, len(CONTENT))
    bucket.put(KEY, b"")
    assert origin.head(KEY).size == 0


def test_versions_that_differ(make_origin: MakeOrigin, store: ObjectStore) -> None:
    """An answer with another version than was asked for is an error, even if its tag is the same."""
    store.bucket("versions", Quirks(versioned=True)).put(KEY, CONTENT)
    origin = make_origin("s3://versions")
    pin = origin.head(KEY).pin
    store.faults.add(faults.headers(x_amz_version_id="v9"), "get", times=math.inf)
    with pytest.raises(OriginUnavailableError, match="another version"):
        origin.get(KEY, pin, 0, 10)


DENIED = [
    (faults.ACCESS_DENIED, "403 AccessDenied"),
    (faults.CLOCK_SKEWED, "403 RequestTimeTooSkewed"),
    (faults.error(403, "SignatureDoesNotMatch"), "403 SignatureDoesNotMatch"),
    (faults.error(400, "ExpiredToken"), "400 ExpiredToken"),
    (faults.error(401, "Unauthorized"), "401 Unauthorized"),
]


@pytest.mark.parametrize(("fault", "words"), DENIED, ids=lambda value: getattr(value, "name", None))
@pytest.mark.parametrize("operation", ["get", "read", "head"])
def test_denied(
    origin: ObstoreOrigin,
    store: ObjectStore,
    pin: Pin,
    skipped: SkippedTime,
    fault: Fault,
    words: str,
    operation: str,
) -> None:
    """What is denied is not tried again; the message has operation, status and the store's own word, HEAD's too."""
    store.faults.add(fault, times=math.inf)
    calls = {
        "get": lambda: origin.get(KEY, pin, 0, 10),
        "read": lambda: origin.read(KEY, 10),
        "head": lambda: origin.head(KEY),
    }
    shown = "HEAD" if operation == "head" else "GET"
    with pytest.raises(OriginDeniedError, match=rf"^s3://images: {shown} 'disk\.img': {words}(: .+)?$"):
        calls[operation]()
    assert skipped.pauses == []


def test_credentials_that_come_back(origin: ObstoreOrigin, store: ObjectStore, pin: Pin) -> None:
    """A denial is not remembered: the next call asks again."""
    store.faults.add(faults.error(403, "InvalidAccessKeyId"), "get")
    with pytest.raises(OriginDeniedError):
        origin.get(KEY, pin, 0, 10)
    assert bytes(origin.get(KEY, pin, 0, 10)) == CONTENT[:10]


@pytest.mark.parametrize("fault", [faults.HANGING, faults.cut(1000, faults.HANG)], ids=["head", "body"])
def test_hanging(make_origin: MakeOrigin, store: ObjectStore, pin: Pin, requests: Requests, fault: Fault) -> None:
    """A store that does not answer, or stops in mid-body, is given up after a part of the time, and asked again."""
    store.faults.add(fault, "get")
    assert bytes(make_origin(seconds=1.0).get(KEY, pin, 0, 50_000)) == CONTENT[:50_000]
    assert requests.results == [("get", "timeout"), ("get", "ok")]


def test_hanging_for_good(make_origin: MakeOrigin, store: ObjectStore, pin: Pin, skipped: SkippedTime) -> None:
    """Three tries and a short one are all that fit in the time limit; it is kept."""
    store.faults.add(faults.HANGING, times=math.inf)
    before = skipped.clock()
    with pytest.raises(OriginUnavailableError, match="no answer in time"):
        make_origin(seconds=0.6).get(KEY, pin, 0, 50_000)
    assert skipped.clock() - before < 0.75
    assert store.count("get") == 3


def test_no_store(origin: ObstoreOrigin, store: ObjectStore, pin: Pin) -> None:
    """A store that is not there gives OriginUnavailableError, whose message says so."""
    store.close()
    with pytest.raises(OriginUnavailableError, match=r"GET 'disk.img': no connection at http://"):
        origin.get(KEY, pin, 0, 10)


def test_recovery(origin: ObstoreOrigin, store: ObjectStore, pin: Pin) -> None:
    """Connections that were reset while idle cost no answer."""
    origin.get(KEY, pin, 0, 10)
    store.break_connections()
    assert bytes(origin.get(KEY, pin, 0, 10)) == CONTENT[:10]


def test_missing(origin: ObstoreOrigin, bucket: Bucket, skipped: SkippedTime) -> None:
    """What is missing is BlobNotFoundError at once, for every kind of read but that of an opened object."""
    assert bucket.keys() == []
    for call in (lambda: origin.head(KEY), lambda: origin.read(KEY, 10)):
        with pytest.raises(BlobNotFoundError, match=r"'disk.img': 404 NoSuchKey"):
            call()
    assert skipped.pauses == []


def test_no_bucket(make_origin: MakeOrigin, skipped: SkippedTime) -> None:
    """A bucket that is gone does not make its objects missing: that would be a 404 for images that are cached.

    It is told of at once: a bucket does not come within seconds, and a misspelt one never.
    """
    origin = make_origin("s3://gone")
    for call in (lambda: origin.head(KEY), lambda: origin.read(KEY, 10), lambda: [*origin.list("", delimiter=True)]):
        with pytest.raises(
            OriginUnavailableError, match="404 NoSuchBucket: the bucket does not exist; look at the bucket's name"
        ):
            call()
    assert skipped.pauses == []


def test_head_that_contradicts(origin: ObstoreOrigin, store: ObjectStore, pin: Pin) -> None:
    """An object that HEAD denies and GET has is looked at once more."""
    store.faults.add(faults.error(404, "NoSuchKey"), "head")
    assert origin.head(KEY).pin == pin


@pytest.mark.parametrize(
    "key", ["", "/a", "a/", "a//b", "../a", "a/./b", "a/..", "a\nb", "a\0", "a\x7f", "\udcff", "x" * 1025, "é" * 513]
)
def test_what_is_no_key(origin: ObstoreOrigin, store: ObjectStore, key: str) -> None:
    """What cannot be a key is no object, and nothing is asked: the client would ask for another one."""
    for call in (lambda: origin.head(key), lambda: origin.read(key, 10), lambda: origin.get(key, Pin('"x"'), 0, 1)):
        with pytest.raises((BlobNotFoundError, ObjectChangedError)) as caught:
            call()
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 200
    with pytest.raises(ValueError, match="cannot be the key"):
        origin.put(key, b"")
    assert store.requests == []


def test_read(origin: ObstoreOrigin, bucket: Bucket, store: ObjectStore) -> None:
    """A document is read whole, with its status; one that is too large is not read."""
    bucket.put("manifest.json", b"{}" * 50)
    status, data = origin.read("manifest.json", 100)
    assert (status.size, data) == (100, b"{}" * 50)
    with pytest.raises(ObjectTooLargeError, match="100 bytes, over the 99"):
        origin.read("manifest.json", 99)
    bucket.put("empty", b"")
    assert origin.read("empty", 0)[1] == b""
    for fault in (faults.cut(10), faults.headers(etag=None), faults.SLOW_DOWN):
        store.faults.add(fault, "get")
        assert origin.read("manifest.json", 100)[1] == b"{}" * 50
