"""The catalog in a bucket, as the reader sees it."""

from __future__ import annotations

import attrs
import pytest
from tests.storage.objects.fake_origin import FakeOrigin

from aero_storage.catalog.reader import CatalogReader
from aero_storage.errors import CatalogDeniedError, CatalogUnavailableError, OriginDeniedError
from aero_storage.storage.objects.bucket_documents import BucketDocuments

GOOD = b'[{"id": "a", "file": "a.img", "name": "A"}]'


@attrs.define(eq=False)
class Bench:
    now: float = 0.0
    origin: FakeOrigin = attrs.field(factory=FakeOrigin)
    documents: BucketDocuments = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.documents = BucketDocuments(self.origin, self.origin, lambda: self.now)

    def reader(self, *, require_manifest: bool = False) -> CatalogReader:
        return CatalogReader(self.documents, require_manifest)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def ids(reader: CatalogReader) -> list[str]:
    reading = reader.read_if_changed()
    assert reading is not None
    assert reading.catalog is not None, reading.error
    return [image.id for image in reading.catalog.images]


def test_manifest(bench: Bench) -> None:
    """The manifest is the catalog; it is read again when its tag is another, and only then."""
    bench.origin.bucket.put("manifest.json", GOOD)
    reader = bench.reader()
    assert ids(reader) == ["a"]
    assert reader.read_if_changed() is None
    assert [asked for asked, _ in bench.origin.asked] == ["head", "get", "head"]
    bench.origin.bucket.put("manifest.json", GOOD.replace(b'"id": "a"', b'"id": "b"'))
    assert ids(reader) == ["b"]


def test_listing(bench: Bench) -> None:
    """Without a manifest the objects directly below the prefix are the images, sorted, hidden names apart."""
    for key in ("b.img", "a.img", ".hidden", "manifest.json.bak", "no id", "sub/c.img", "chunked/x/manifest.json"):
        bench.origin.bucket.put(key, b"x")
    reader = bench.reader()
    assert ids(reader) == ["a.img", "b.img"]
    assert reader.read_if_changed() is None
    assert bench.documents.left_out().keys() == {"manifest.json.bak", "no id", "sub"}
    bench.origin.bucket.put("c.img", b"x")
    assert ids(reader) == ["a.img", "b.img", "c.img"]


def test_required_manifest(bench: Bench) -> None:
    """With --require-manifest a bucket without one has no catalog."""
    reading = bench.reader(require_manifest=True).read_if_changed()
    assert reading is not None
    assert str(reading.error) == "s3://images/manifest.json: no such object"


def test_manifest_that_goes(bench: Bench) -> None:
    """A bucket that once had a manifest never becomes a listing."""
    bench.origin.bucket.put("manifest.json", GOOD)
    reader = bench.reader()
    ids(reader)
    bench.origin.bucket.delete("manifest.json")
    reading = reader.read_if_changed()
    assert reading is not None
    assert reading.error is not None


def test_invalid_manifest(bench: Bench) -> None:
    """An error names the manifest by its URL."""
    bench.origin.bucket.put("manifest.json", b"[{")
    reading = bench.reader().read_if_changed()
    assert reading is not None
    assert str(reading.error).startswith("s3://images/manifest.json: ")


def test_origin_away(bench: Bench) -> None:
    """No answer is no invalid catalog, and the age of the last answer is known."""
    assert bench.documents.silent_seconds() is None
    bench.origin.bucket.put("manifest.json", GOOD)
    reader = bench.reader()
    ids(reader)
    bench.origin.away()
    bench.now = 7
    for is_new in (True, False):
        reading = reader.read_if_changed()
        assert reading is not None
        assert isinstance(reading.error, CatalogUnavailableError)
        assert reading.is_new is is_new
    assert bench.documents.silent_seconds() == 7
    bench.origin.error = None
    assert ids(reader) == ["a"]
    assert bench.documents.silent_seconds() == 0


def test_denied(bench: Bench) -> None:
    """A store that refuses us leaves no catalog, and that is an error like any other."""
    bench.origin.error = OriginDeniedError("AccessDenied")
    reading = bench.reader().read_if_changed()
    assert reading is not None
    assert isinstance(reading.error, CatalogDeniedError)
    assert not bench.documents.has_manifest()


def test_first_look(bench: Bench) -> None:
    """The first look, which a start waits for, has an origin with a shorter time limit."""
    hurried = FakeOrigin(bench.origin.bucket)
    bench.origin.bucket.put("manifest.json", GOOD)
    documents = BucketDocuments(bench.origin, hurried)
    documents.state()
    assert (len(hurried.asked), len(bench.origin.asked)) == (1, 0)
    documents.state()
    assert (len(hurried.asked), len(bench.origin.asked)) == (1, 1)
