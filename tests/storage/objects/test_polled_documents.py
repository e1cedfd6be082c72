"""The catalog in a bucket, as the reader sees it."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import pytest
from tests.storage.objects.fake_origin import FakeOrigin, common_looks
from twisted.internet.task import Clock

from aero_storage.catalog.reader import CatalogReader
from aero_storage.errors import CatalogDeniedError, CatalogUnavailableError, OriginDeniedError, OriginUnavailableError
from aero_storage.storage.objects.looks_file import LooksFile
from aero_storage.storage.objects.origin import Listed
from aero_storage.storage.objects.polled_documents import PolledDocuments

GOOD = b'[{"id": "a", "file": "a.img", "name": "A"}]'


@attrs.define(eq=False)
class Bench:
    clock: Clock = attrs.field(factory=Clock)
    origin: FakeOrigin = attrs.field(factory=FakeOrigin)
    file: LooksFile = attrs.field(factory=LooksFile.create)
    documents: PolledDocuments = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.documents = self.of_a_worker()

    def of_a_worker(self, first: FakeOrigin | None = None) -> PolledDocuments:
        """Return the documents as one more worker of the daemon has them."""
        common = common_looks(self.origin, self.clock, self.file)
        at_first = common_looks(first or self.origin, self.clock, self.file)
        return PolledDocuments(common, at_first, 5.0, self.clock.seconds)

    def count(self, operation: str) -> int:
        return sum(asked == operation for asked, _ in self.origin.asked)

    def reader(self, *, require_manifest: bool = False) -> CatalogReader:
        return CatalogReader(self.documents, require_manifest)


@attrs.define(eq=False)
class OriginWithoutLists(FakeOrigin):
    """Answers HEADs, and lists nothing, until it does."""

    is_listed: bool = False

    def list(self, prefix: str, *, delimiter: bool) -> Iterator[Listed]:
        yield from super().list(prefix, delimiter=delimiter)
        if not self.is_listed:
            raise OriginUnavailableError("s3://images: SlowDown")


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
    assert [asked for asked, _ in bench.origin.asked] == ["head", "get"]
    bench.clock.advance(4)
    assert reader.read_if_changed() is None
    assert [asked for asked, _ in bench.origin.asked] == ["head", "get", "head"]
    bench.clock.advance(4)
    bench.origin.bucket.put("manifest.json", GOOD.replace(b'"id": "a"', b'"id": "b"'))
    assert ids(reader) == ["b"]


def test_listing(bench: Bench) -> None:
    """Without a manifest the objects directly below the prefix are the images, sorted, hidden names apart."""
    for key in (
        "b.img",
        "a.img",
        ".hidden",
        "manifest.json.bak",
        "no id",
        "sub/c.img",
        "chunked/x/a",
        "profiles/x/a",
    ):
        bench.origin.bucket.put(key, b"x")
    reader = bench.reader()
    assert ids(reader) == ["a.img", "b.img"]
    assert reader.read_if_changed() is None
    assert bench.documents.left_out().keys() == {"manifest.json.bak", "no id", "sub"}
    bench.origin.bucket.put("c.img", b"x")
    bench.clock.advance(0.1)
    reader.documents.look_anew()
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
    bench.clock.advance(0.1)
    reading = reader.read_if_changed(anew=True)
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
    bench.clock.advance(7)
    for is_new in (True, False):
        reading = reader.read_if_changed()
        assert reading is not None
        assert isinstance(reading.error, CatalogUnavailableError)
        assert reading.is_new is is_new
    assert bench.documents.silent_seconds() == 7
    bench.origin.error = None
    bench.clock.advance(4)
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
    documents = bench.of_a_worker(hurried)
    documents.state()
    assert (len(hurried.asked), len(bench.origin.asked)) == (1, 0)
    bench.clock.advance(4)
    documents.state()
    assert (len(hurried.asked), len(bench.origin.asked)) == (1, 1)


@pytest.mark.parametrize("name", ["manifest.json", "a.img"])
def test_one_looks_for_all_workers(bench: Bench, name: str) -> None:
    """The store is asked once in a refresh time for all workers, and a change shows in each within that time."""
    bench.origin.bucket.put(name, GOOD)
    readers = [CatalogReader(bench.of_a_worker(), require_manifest=False) for _ in range(4)]
    assert {tuple(ids(reader)) for reader in readers} == {("a",) if name == "manifest.json" else ("a.img",)}
    first = ["head", "get"] if name == "manifest.json" else ["head", "list"]
    assert [asked for asked, _ in bench.origin.asked] == first
    bench.origin.bucket.put("b.img", b"x")
    bench.origin.bucket.delete("manifest.json")
    bench.origin.bucket.put(name, GOOD.replace(b'"id": "a"', b'"id": "b"'))
    changed: list[float] = []
    while len(changed) < len(readers):
        bench.clock.advance(0.5)
        for reader in readers:
            reader.documents.is_asked = True  # type: ignore[attr-defined]
            if reader.read_if_changed() is not None:
                changed.append(bench.clock.seconds())
    assert max(changed) <= (
        4.5 if name == "manifest.json" else 5.5
    )  # a request that finds a listing old waits for it
    assert bench.count(first[1]) == 2
    assert bench.count("head") <= 1 + max(changed) / 3.75


def test_a_listing_that_nobody_asks_for(bench: Bench) -> None:
    """A bucket without a manifest is listed at the start, and then only if somebody asks."""
    bench.origin.bucket.put("a.img", b"x")
    reader = bench.reader()
    ids(reader)
    bench.origin.bucket.put("b.img", b"x")
    for _ in range(100):
        bench.clock.advance(0.5)
        assert reader.read_if_changed() is None
    assert bench.count("list") == 1
    assert bench.count("head") <= 1 + 50 / 3.75
    assert (bench.documents.silent_seconds() or 0) < 5
    assert bench.documents.is_old()
    bench.documents.is_asked = True
    assert ids(reader) == ["a.img", "b.img"]
    assert not bench.documents.is_old()


def test_a_failure_of_another_worker(bench: Bench) -> None:
    """A look that failed counts for all polls of its time: a store that refuses us is not asked by each."""
    bench.origin.error = OriginDeniedError("AccessDenied")
    readers = [CatalogReader(bench.of_a_worker(), require_manifest=False) for _ in range(4)]
    for reader in readers * 2:
        reading = reader.read_if_changed()
        assert reading is not None
        assert isinstance(reading.error, CatalogDeniedError)
        bench.clock.advance(0.4)
    assert len(bench.origin.asked) == 1
    bench.origin.error = None
    bench.origin.bucket.put("manifest.json", GOOD)
    bench.clock.advance(4)
    assert {tuple(ids(reader)) for reader in readers} == {("a",)}


def test_a_listing_that_failed(bench: Bench) -> None:
    """A listing that failed counts for its time, too, and is made anew after that, though nobody asks again."""
    origin = OriginWithoutLists(bench.origin.bucket)
    common = common_looks(origin, bench.clock, bench.file)
    workers = [PolledDocuments(common, common, 5.0, bench.clock.seconds) for _ in range(4)]
    for documents in workers:
        with pytest.raises(CatalogUnavailableError):
            documents.state()
        bench.clock.advance(0.4)
    assert [asked for asked, _ in origin.asked] == ["head", "list"]
    origin.is_listed = True
    bench.clock.advance(5)
    for documents in workers:
        documents.state()
        assert not documents.is_old()
    assert [asked for asked, _ in origin.asked] == ["head", "list"] * 2
