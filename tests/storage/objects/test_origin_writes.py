"""Writes to a store: what is stored is what was sent, a lost answer is no conflict, broken uploads leave nothing."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator

import pytest
from tests.object_store import faults
from tests.object_store.buckets import Bucket, Quirks
from tests.object_store.faults import Fault
from tests.object_store.server import ObjectStore
from tests.storage.objects.conftest import MakeOrigin, Requests, SkippedTime

from aero_storage.errors import (
    OriginDeniedError,
    OriginUnavailableError,
    PreconditionFailedError,
    PreconditionUnsupportedError,
)
from aero_storage.storage.objects import content_tags
from aero_storage.storage.objects.content_tags import MIB
from aero_storage.storage.objects.obstore_origin import ObstoreOrigin
from aero_storage.storage.objects.origin import Pin

KEY = "catalog/manifest.json"
OLD, NEW = b"the old catalog", b"the new catalog, which is longer"
PASSING = [
    faults.SLOW_DOWN,
    faults.INTERNAL_ERROR,
    faults.RESETTING,
    faults.LOST_ANSWER,
    faults.headers(etag=None),
    faults.error(409, "ConditionalRequestConflict"),
]


def stored_otherwise(bucket: Bucket) -> Fault:
    """The store takes an object, and keeps another."""

    def alter(asked: faults.Asked, answer: faults.Answer) -> faults.Answer:
        kept = bucket.put(asked.key, asked.body[:-1] + b"?")
        return faults.Answer(answer.status, {**answer.headers, "etag": kept.tag})

    return Fault("stored otherwise", alter)


def lost_to_another(bucket: Bucket) -> Fault:
    """The answer to a write is lost, and somebody else writes then."""

    def alter(asked: faults.Asked, answer: faults.Answer) -> faults.Answer:
        bucket.put(asked.key, b"of another")
        return faults.RESETTING.alter(asked, answer)

    return Fault("lost to another", alter, executes=False)


def test_put(origin: ObstoreOrigin, bucket: Bucket, store: ObjectStore, requests: Requests) -> None:
    """What is put is stored, by one request whose digest of the content is signed."""
    pin = origin.put(KEY, memoryview(NEW))
    stored = bucket.get(KEY)
    assert stored is not None
    assert (stored.data, Pin(stored.tag)) == (NEW, pin)
    assert store.requests[-1].headers["x-amz-content-sha256"] != "UNSIGNED-PAYLOAD"
    assert requests.seen == [("put", "ok", len(NEW))]


def test_signed_whatever_a_variable_says(
    monkeypatch: pytest.MonkeyPatch, origin: ObstoreOrigin, store: ObjectStore, bucket: Bucket
) -> None:
    """A variable does not take the digest out of the signature."""
    monkeypatch.setenv("AWS_UNSIGNED_PAYLOAD", "true")
    origin.put(KEY, NEW)
    assert store.requests[-1].headers["x-amz-content-sha256"] != "UNSIGNED-PAYLOAD"
    assert bucket.get(KEY)


@pytest.mark.parametrize("fault", PASSING, ids=lambda fault: fault.name)
@pytest.mark.parametrize("conditional", [False, True])
def test_passing_faults(
    origin: ObstoreOrigin, bucket: Bucket, store: ObjectStore, fault: Fault, *, conditional: bool
) -> None:
    """A write is tried again, also where the first one was carried out and its answer was lost."""
    old = Pin(bucket.put(KEY, OLD).tag)
    store.faults.add(fault, "put", times=2)
    pin = origin.put_if(KEY, NEW, old) if conditional else origin.put(KEY, NEW)
    stored = bucket.get(KEY)
    assert stored is not None
    assert (stored.data, stored.tag) == (NEW, pin.tag)


@pytest.mark.parametrize("opaque", [False, True])
def test_stored_otherwise(make_origin: MakeOrigin, store: ObjectStore, skipped: SkippedTime, *, opaque: bool) -> None:
    """What is stored with another byte is found, by the tag or by reading back, and stored again."""
    bucket = store.bucket("images", Quirks(opaque_tags=opaque))
    origin = make_origin()
    store.faults.add(stored_otherwise(bucket), "put", times=2)
    origin.put(KEY, NEW)
    stored = bucket.get(KEY)
    assert stored is not None
    assert stored.data == NEW
    assert len(skipped.pauses) == 2
    store.faults.add(stored_otherwise(bucket), "put", times=math.inf)
    with pytest.raises(OriginUnavailableError, match="other bytes were stored than were sent"):
        origin.put(KEY, NEW)


def test_opaque_tags(make_origin: MakeOrigin, store: ObjectStore) -> None:
    """Where the tag is no digest, what is stored is read back once."""
    store.bucket("images", Quirks(opaque_tags=True))
    make_origin().put(KEY, NEW)
    assert [one.operation for one in store.requests] == ["put", "get"]


def test_put_denied(origin: ObstoreOrigin, bucket: Bucket, store: ObjectStore, skipped: SkippedTime) -> None:
    """A write that is denied is not tried again."""
    store.faults.add(faults.ACCESS_DENIED, "put", times=math.inf)
    for call in (lambda: origin.put(KEY, NEW), lambda: origin.put_if(KEY, NEW, None)):
        with pytest.raises(OriginDeniedError, match=r"PUT 'catalog/manifest.json': 403 AccessDenied"):
            call()
    assert (skipped.pauses, bucket.keys()) == ([], [])


def test_put_if_new(origin: ObstoreOrigin, bucket: Bucket) -> None:
    """Without an expected object the key has to be free."""
    pin = origin.put_if(KEY, OLD, None)
    with pytest.raises(PreconditionFailedError, match=r"^s3://images: PUT 'catalog/manifest\.json': somebody else"):
        origin.put_if(KEY, NEW, None)
    stored = bucket.get(KEY)
    assert stored is not None
    assert (stored.data, stored.tag) == (OLD, pin.tag)


def test_put_if_replaces(origin: ObstoreOrigin, bucket: Bucket) -> None:
    """With one it has to be that one, and be there."""
    old = origin.put(KEY, OLD)
    assert origin.put_if(KEY, NEW, old).tag != old.tag
    with pytest.raises(PreconditionFailedError):
        origin.put_if(KEY, b"a third one", old)
    bucket.delete(KEY)
    with pytest.raises(PreconditionFailedError):
        origin.put_if(KEY, b"a third one", old)


def test_put_if_of_a_larger_object(origin: ObstoreOrigin, bucket: Bucket) -> None:
    """What somebody else wrote is not read, however large it is, to see that it is another."""
    old = origin.put(KEY, OLD)
    bucket.put(KEY, b"x" * MIB)
    with pytest.raises(PreconditionFailedError):
        origin.put_if(KEY, NEW, old)


def test_put_if_done_by_ourselves(origin: ObstoreOrigin, bucket: Bucket, store: ObjectStore) -> None:
    """A write whose answer was lost is no conflict with itself: it is found, and written once."""
    old = origin.put(KEY, OLD)
    store.faults.add(faults.LOST_ANSWER, "put")
    pin = origin.put_if(KEY, NEW, old)
    stored = bucket.get(KEY)
    assert stored is not None
    assert (stored.data, stored.tag) == (NEW, pin.tag)
    assert store.count("put") == 2


@pytest.mark.parametrize("fault", [faults.LOST_ANSWER, faults.RESETTING], ids=lambda fault: fault.name)
def test_put_if_new_with_a_lost_answer(
    origin: ObstoreOrigin, bucket: Bucket, store: ObjectStore, fault: Fault
) -> None:
    """That holds for a new object, too, whether the store took the first write or not."""
    store.faults.add(fault, "put")
    pin = origin.put_if(KEY, NEW, None)
    stored = bucket.get(KEY)
    assert stored is not None
    assert (stored.data, stored.tag) == (NEW, pin.tag)


def test_put_if_lost_to_another(origin: ObstoreOrigin, bucket: Bucket, store: ObjectStore) -> None:
    """A lost answer after which somebody else's object is there is a conflict."""
    old = origin.put(KEY, OLD)
    store.faults.add(lost_to_another(bucket), "put")
    with pytest.raises(PreconditionFailedError):
        origin.put_if(KEY, NEW, old)
    stored = bucket.get(KEY)
    assert stored is not None
    assert stored.data == b"of another"


def test_tags_without_quotes(make_origin: MakeOrigin, store: ObjectStore) -> None:
    """A store that takes tags without quotes alone is found out once, and asked rightly from then on."""
    store.bucket("images", Quirks(if_match_unquoted=True))
    origin = make_origin()
    pin = origin.put_if(KEY, NEW, origin.put(KEY, OLD))
    assert store.count("put") == 3
    pin = origin.put_if(KEY, b"a third one", pin)
    assert store.count("put") == 4
    with pytest.raises(PreconditionFailedError):
        origin.put_if(KEY, b"a fourth one", Pin('"another"'))
    assert origin.put_if(KEY, b"a fourth one", pin)


def test_no_conditional_writes(make_origin: MakeOrigin, store: ObjectStore, skipped: SkippedTime) -> None:
    """A store that has no conditional writes, or refuses those that hold, is named so."""
    bucket = store.bucket("images", Quirks(conditional_put="refused"))
    origin = make_origin()
    old = origin.put(KEY, OLD)
    for expected in (old, None):
        with pytest.raises(PreconditionUnsupportedError, match="501 NotImplemented"):
            origin.put_if(KEY, NEW, expected)
    assert skipped.pauses == []
    store.faults.add(faults.error(412, "PreconditionFailed"), "put", times=math.inf)
    with pytest.raises(PreconditionUnsupportedError, match="412"):
        origin.put_if(KEY, NEW, old)
    stored = bucket.get(KEY)
    assert stored is not None
    assert stored.data == OLD


def pieces(count: int, size: int = MIB, fail_at: int | None = None) -> Iterator[bytes]:
    for number in range(count):
        if number == fail_at:
            raise FileNotFoundError(2, "the source fails")
        yield bytes([number % 251]) * size


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of 1 MiB, so that tests need few bytes."""
    monkeypatch.setattr(content_tags, "_LEAST_PART", MIB)


LARGE = "images/large.img"


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("piece", [MIB, 300_000, 5])
def test_put_large(origin: ObstoreOrigin, bucket: Bucket, store: ObjectStore, piece: int) -> None:
    """A large object is stored in parts of one size, whatever the pieces, and has the tag that was expected."""
    content = os.urandom(3 * MIB + 17) if piece > 5 else os.urandom(17)
    parts = (memoryview(content)[offset : offset + piece] for offset in range(0, len(content), piece))
    pin = origin.put_large(LARGE, parts, len(content))
    stored = bucket.get(LARGE)
    assert stored is not None
    assert stored.data == content
    assert stored.tag == pin.tag
    sizes = sorted(len(one.body) for one in store.requests if one.operation == "put_part")
    assert sizes == ([17, MIB, MIB, MIB] if piece > 5 else [17])
    assert (store.count("get"), bucket.uploads) == (0, {})


@pytest.mark.usefixtures("small_parts")
def test_put_large_without_a_tag(make_origin: MakeOrigin, store: ObjectStore) -> None:
    """The tag of an upload is that which reads have, also where a store does not tell it at its end."""
    bucket = store.bucket("images", Quirks(upload_has_no_tag=True))
    pin = make_origin().put_large(LARGE, pieces(2), 2 * MIB)
    stored = bucket.get(LARGE)
    assert stored is not None
    assert stored.tag == pin.tag
    assert store.count("get") == 0


def test_put_large_of_nothing(origin: ObstoreOrigin, bucket: Bucket) -> None:
    """An image of no bytes is an object of no bytes."""
    origin.put_large(LARGE, [], 0)
    stored = bucket.get(LARGE)
    assert stored is not None
    assert stored.data == b""


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("fail_at", [0, 1, 5, 9])
def test_a_source_that_fails(origin: ObstoreOrigin, bucket: Bucket, store: ObjectStore, fail_at: int) -> None:
    """An error of the source is raised as it is, and the upload is aborted: no object, no parts."""
    with pytest.raises(FileNotFoundError, match="the source fails"):
        origin.put_large(LARGE, pieces(10, fail_at=fail_at), 10 * MIB)
    assert (bucket.keys(), bucket.uploads) == ([], {})
    assert store.count("abort_upload") == 1


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("size", [9 * MIB, 10 * MIB - 1, 10 * MIB + 1, 1])
def test_a_source_of_another_size(origin: ObstoreOrigin, bucket: Bucket, size: int) -> None:
    """Pieces that have not the size that was said are not stored."""
    with pytest.raises(ValueError, match="bytes that were to be stored"):
        origin.put_large(LARGE, pieces(10), size)
    assert (bucket.keys(), bucket.uploads) == ([], {})


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("operation", ["begin_upload", "put_part", "complete_upload"])
@pytest.mark.parametrize(
    "fault", [faults.SLOW_DOWN, faults.RESETTING, faults.LOST_ANSWER], ids=lambda fault: fault.name
)
def test_uploads_with_faults(
    origin: ObstoreOrigin, bucket: Bucket, store: ObjectStore, operation: str, fault: Fault
) -> None:
    """A request of an upload that fails, or whose answer is lost, is repeated; the object is there, and whole."""
    store.faults.add(fault, operation)
    pin = origin.put_large(LARGE, pieces(4), 4 * MIB)
    stored = bucket.get(LARGE)
    assert stored is not None
    assert stored.tag == pin.tag
    assert stored.data == b"".join(pieces(4))


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("opaque", [False, True])
def test_a_part_that_was_stored_otherwise(make_origin: MakeOrigin, store: ObjectStore, *, opaque: bool) -> None:
    """A part that was stored with another byte is found: by the tag, or by reading back."""
    bucket = store.bucket("images", Quirks(opaque_tags=opaque))

    def alter(asked: faults.Asked, answer: faults.Answer) -> faults.Answer:
        bucket.put_part(asked.query["uploadId"], int(asked.query["partNumber"]), asked.body[:-1] + b"?")
        return answer

    store.faults.add(Fault("stored otherwise", alter), "put_part", skip=2)
    with pytest.raises(OriginUnavailableError, match=r"PUT 'images/large.img': other bytes were stored"):
        make_origin().put_large(LARGE, pieces(4), 4 * MIB)
    make_origin().put_large(LARGE, pieces(4), 4 * MIB)
    stored = bucket.get(LARGE)
    assert stored is not None
    assert stored.data == b"".join(pieces(4))


@pytest.mark.usefixtures("small_parts")
def test_an_upload_that_is_denied(origin: ObstoreOrigin, bucket: Bucket, store: ObjectStore) -> None:
    """A part that is denied ends the upload, which is aborted."""
    store.faults.add(faults.ACCESS_DENIED, "put_part", times=math.inf)
    with pytest.raises(OriginDeniedError, match=r"PUT 'images/large.img': 403 AccessDenied"):
        origin.put_large(LARGE, pieces(4), 4 * MIB)
    assert (bucket.keys(), bucket.uploads) == ([], {})


@pytest.mark.usefixtures("small_parts")
def test_an_older_object_of_that_size(origin: ObstoreOrigin, bucket: Bucket, store: ObjectStore) -> None:
    """An upload that fails at its end is not taken for done because an object of its size is there."""
    bucket.put(LARGE, b"x" * 4 * MIB)
    store.faults.add(faults.ACCESS_DENIED, "complete_upload")
    with pytest.raises((OriginDeniedError, OriginUnavailableError)):
        origin.put_large(LARGE, pieces(4), 4 * MIB)


def test_delete(origin: ObstoreOrigin, bucket: Bucket, store: ObjectStore) -> None:
    """Objects are deleted by the thousand; those that are not there are none the worse."""
    for number in range(1500):
        bucket.put(f"chunks/{number}", b"x")
    bucket.put("kept", b"x")
    store.faults.add(faults.SLOW_DOWN, "delete")
    origin.delete(f"chunks/{number}" for number in range(1510))
    assert bucket.keys() == ["kept"]
    assert store.count("delete") == 3


def test_delete_denied(origin: ObstoreOrigin, store: ObjectStore) -> None:
    """A deletion that is denied for one of many is told."""
    text = b"<DeleteResult><Error><Key>a</Key><Code>AccessDenied</Code><Message>no</Message></Error></DeleteResult>"
    store.bucket()
    store.faults.add(faults.body(text), "delete")
    with pytest.raises(OriginDeniedError, match="DELETE 'a': AccessDenied"):
        origin.delete(["a", "b"])


CALLS: list[Callable[[ObstoreOrigin], object]] = [
    lambda origin: origin.put(KEY, NEW),
    lambda origin: origin.put_if(KEY, NEW, None),
    lambda origin: origin.delete([KEY]),
]


@pytest.mark.parametrize("call", CALLS)
def test_no_store(origin: ObstoreOrigin, store: ObjectStore, call: Callable[[ObstoreOrigin], object]) -> None:
    """A store that is not there gives OriginUnavailableError."""
    store.close()
    with pytest.raises(OriginUnavailableError, match="no connection"):
        call(origin)
