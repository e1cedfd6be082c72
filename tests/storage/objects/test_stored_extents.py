"""Maps in a bucket: which one counts, for which content, and what is known without one."""

from __future__ import annotations

import json

import attrs
import pytest
from tests.storage.objects.fake_origin import FakeOrigin, Threads
from tests.storage.objects.test_object_looks import result_of
from twisted.internet.defer import Deferred

from aero_storage.catalog.model import Image
from aero_storage.errors import OriginDeniedError, OriginUnavailableError
from aero_storage.http.extents.documents import MOST_STORED_BYTES, stored_map
from aero_storage.http.extents.extents import Extents, ExtentsBuilder, KnownExtents
from aero_storage.storage.blob import BlobStatus
from aero_storage.storage.objects.object_keys import map_key
from aero_storage.storage.objects.object_status import blob_status
from aero_storage.storage.objects.stored_extents import StoredExtents

DISK = bytes(4096) + b"x" * 4096 + bytes(100)
IMAGE = Image("disk", "sub/./disk.img", "Disk")
SHA256 = "ab" * 32
KEY = ".aero-storage~/extents/sub/disk.img"


def extents_of(*pairs: tuple[int, int]) -> Extents:
    builder = ExtentsBuilder(len(DISK))
    for first, after in pairs:
        builder.add(first, after)
    return builder.finish()


MAPPED, PUBLISHED = extents_of((4096, 8192)), extents_of((0, 8192))


@attrs.define(eq=False)
class Bench:
    origin: FakeOrigin = attrs.field(factory=FakeOrigin)
    threads: Threads = attrs.field(factory=Threads)
    published: KnownExtents = KnownExtents()
    asked: list[tuple[str, str | None, int]] = attrs.field(factory=list)

    @property
    def status(self) -> BlobStatus:
        return blob_status(self.origin.head("sub/disk.img"))

    def put(self, data: bytes | None = None, status: BlobStatus | None = None) -> None:
        """Store a map, of the content that lies there unless it is told otherwise."""
        stamp = (status or self.status).stamps[0]
        self.origin.bucket.put(KEY, stored_map(MAPPED, stamp) if data is None else data)

    def find(self, image: Image = IMAGE) -> KnownExtents:
        extents = StoredExtents(self.origin, self.threads.disk, self._published)
        return result_of(Deferred.fromCoroutine(extents.find(image, self.status)))

    def _published(self, manifest: str, sha256: str | None, size: int) -> KnownExtents:
        self.asked.append((manifest, sha256, size))
        return self.published


@pytest.fixture
def bench() -> Bench:
    made = Bench()
    made.origin.bucket.put("sub/disk.img", DISK)
    return made


def test_map_of_this_content(bench: Bench) -> None:
    """The map beside an object tells its extents; published chunks tell their size."""
    assert map_key("sub/disk.img") == KEY
    bench.put()
    bench.published = KnownExtents(PUBLISHED, 512)
    assert bench.find() == KnownExtents(MAPPED, 512)


def test_map_and_chunks(bench: Bench) -> None:
    """What either the map or the chunks call zeros is left out."""
    bench.put()
    for published, left in (
        ((0, 6000), [(4096, 6000)]),
        ((6000, len(DISK)), [(6000, 8192)]),
        ((0, 4096), []),
        ((0, len(DISK)), [(4096, 8192)]),
    ):
        bench.published = KnownExtents(extents_of(published), 512)
        found = bench.find()
        assert found.extents is not None
        assert ([*found.extents.pairs()], found.chunk_size) == (left, 512)


def test_map_of_zeros(bench: Bench) -> None:
    """A map without extents is one: all of the object is zeros."""
    bench.put(stored_map(extents_of(), bench.status.stamps[0]))
    bench.published = KnownExtents(PUBLISHED)
    found = bench.find().extents
    assert found is not None
    assert found.number == 0


def test_map_of_another_content(bench: Bench) -> None:
    """The map of a content that was replaced, by one of the same size too, is none."""
    old = bench.status
    bench.put()
    bench.origin.bucket.put("sub/disk.img", DISK[::-1])
    assert bench.find() == KnownExtents()
    bench.put(status=old)
    assert bench.find() == KnownExtents()
    bench.origin.bucket.put("sub/disk.img", DISK)
    assert bench.find().extents == MAPPED


@pytest.mark.parametrize("data", [b"", b"{}", b"x" * 100, b" " * (MOST_STORED_BYTES + 1)])
def test_broken_map(bench: Bench, data: bytes) -> None:
    """A map that is broken, or too long, is none; zeros of published chunks are known all the same."""
    bench.put(data)
    assert bench.find() == KnownExtents()
    bench.published = KnownExtents(PUBLISHED, 512)
    assert bench.find() == KnownExtents(PUBLISHED, 512)


def test_map_with_values_that_cannot_be(bench: Bench) -> None:
    """A map that goes beyond the object is none."""
    document = json.loads(stored_map(MAPPED, bench.status.stamps[0]))
    bench.put(json.dumps(document | {"data": [0, 99]}).encode())
    assert bench.find() == KnownExtents()


def test_published_chunks(bench: Bench) -> None:
    """Published chunks are looked at with the digest that was found for this very object, never one believed."""
    bench.published = KnownExtents(PUBLISHED, 512)
    image = attrs.evolve(IMAGE, chunked_version="v1", sha256=SHA256, sha256_of=bench.status.stamps[0])
    assert bench.find(image) == KnownExtents(PUBLISHED, 512)
    for sha256_of in ('1-"x"', None):
        bench.find(attrs.evolve(image, sha256_of=sha256_of))
    path = "chunked/disk/v1/manifest.json"
    assert bench.asked == [(path, SHA256, len(DISK))] + 2 * [(path, None, len(DISK))]


@pytest.mark.parametrize("error", [OriginUnavailableError("away"), OriginDeniedError("no")])
def test_origin_that_fails(bench: Bench, error: Exception) -> None:
    """While the origin does not answer nothing is said, not even that nothing is known."""
    status = bench.status
    bench.origin.error = error
    extents = StoredExtents(bench.origin, bench.threads.disk, lambda *_: KnownExtents())
    with pytest.raises(type(error)):
        result_of(Deferred.fromCoroutine(extents.find(IMAGE, status)))
