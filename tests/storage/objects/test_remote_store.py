"""The store on a bucket: what it opens, pins, reads, lists, and how it goes on without an answer."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
from tests.storage.objects.block_cache.workers import roomy_disk
from tests.storage.objects.fake_origin import FakeOrigin, Threads, common_looks
from tests.storage.objects.test_object_looks import result_of
from twisted.internet.defer import CancelledError

from aero_storage.catalog.model import Image
from aero_storage.chunks.published_digests import PublishedDigests
from aero_storage.errors import BlobNotFoundError, ObjectChangedError, OriginUnavailableError
from aero_storage.http.extents.extents import KnownExtents
from aero_storage.storage.objects.block_cache.cache import BlockCache
from aero_storage.storage.objects.block_cache.cache_directory import CacheDirectory, claim_directory
from aero_storage.storage.objects.bucket_listing import BucketListing
from aero_storage.storage.objects.object_file import open_object
from aero_storage.storage.objects.object_keys import is_immutable, key_of
from aero_storage.storage.objects.object_lease import PIECE_BYTES
from aero_storage.storage.objects.object_looks import ObjectLooks
from aero_storage.storage.objects.open_objects import OpenObjects
from aero_storage.storage.objects.remote_store import RemoteStore
from aero_storage.storage.objects.stored_extents import StoredExtents
from aero_storage.storage.store import BlobRequest, FindDigest, Opened

DISK = bytes(range(256)) * 1024
IMAGE = Image(id="disk", file="sub/./disk.img", name="Disk")


@attrs.define(eq=False)
class Bench:
    cache: BlockCache | None = None
    origin: FakeOrigin = attrs.field(factory=FakeOrigin)
    threads: Threads = attrs.field(factory=Threads)
    store: RemoteStore = attrs.field(init=False)

    def begin(self, find_sha256: FindDigest | None = None) -> None:
        origin, disk, clock = self.origin, self.threads.disk, self.threads.clock
        objects = None if self.cache is None else OpenObjects(self.cache, origin, disk, 4)
        common = common_looks(origin, clock)
        looks, listing = ObjectLooks(common, disk, clock, 5.0, 60.0), BucketListing(common, disk, clock, 5.0, 60.0)
        digests = PublishedDigests(lambda key: open_object(origin, key), clock.seconds, 5.0)
        extents = StoredExtents(origin, disk, lambda *_: KnownExtents())
        self.store = RemoteStore(origin, disk, looks, listing, find_sha256 or digests.sha256, extents, objects)
        self.origin.bucket.put("sub/disk.img", DISK)

    def open(self, wanted: BlobRequest = BlobRequest(IMAGE)) -> Opened:  # noqa: B008 - frozen
        return result_of(self.store.open(wanted))

    def read(self, opened: Opened, offset: int, length: int) -> bytes:
        result_of(opened.begin(offset, length))
        data = result_of(opened.read_later(self.threads.disk, offset, length, background=False))
        return bytes(data)

    def count(self, operation: str) -> int:
        return sum(asked == operation for asked, _ in self.origin.asked)


@pytest.fixture
def bench() -> Bench:
    made = Bench()
    made.begin()
    return made


@pytest.fixture
def cached(tmp_path: Path) -> Iterator[Bench]:
    """A store with a block cache."""
    made = Bench()
    claim = claim_directory(tmp_path / "cache")
    directory = CacheDirectory(tmp_path / "cache")
    threads = made.threads
    made.cache = BlockCache(
        directory, 1 << 26, 1 << 16, threads.disk, threads.clock, lambda call: call(), statvfs=roomy_disk
    )
    made.begin()
    made.cache.start()
    yield made
    made.store.close()
    made.cache.stop()
    claim.close()


@pytest.mark.parametrize(
    ("path", "key"), [("a.img", "a.img"), ("sub/./a.img", "sub/a.img"), ("sub//../b", "b"), ("./x/y", "x/y")]
)
def test_keys_are_normalised(path: str, key: str) -> None:
    """A path below the root and its key are one object."""
    assert key_of(path) == key


@pytest.mark.parametrize("path", ["", ".", "..", "../a", "a/../..", "a/", "a/.", "/a", "a/.."])
def test_no_keys(path: str) -> None:
    """What leads out of the prefix, or names a directory, is no object."""
    with pytest.raises(BlobNotFoundError):
        key_of(path)


@pytest.mark.parametrize(
    ("key", "never_changes"),
    [
        ("chunked/a/v1/manifest.json", True),
        ("chunked/a/v1/chunks/00000001.bin", True),
        ("chunked/a/manifest.json", False),
        ("chunked/a/chunks/00000001.bin", False),
        ("chunked/a/chunks/manifest.json", True),
        ("other/a/v1/manifest.json", False),
        ("disk.img", False),
    ],
)
def test_immutable_keys(key: str, never_changes: bool) -> None:  # noqa: FBT001
    """Chunks and manifests under a version never change; all else may."""
    assert is_immutable(key) is never_changes


def test_validators(bench: Bench) -> None:
    """The tag is the size in hex, and 32 digits of SHA-256 over the object's ETag as received."""
    status, version = bench.open().status, bench.origin.bucket.get("sub/disk.img")
    assert version is not None
    digest = hashlib.sha256(version.tag.encode()).hexdigest()[:32]
    assert status.validators.etag == f'"{len(DISK):x}-{digest}"'
    assert status.validators.last_modified == int(version.modified) * 10**9
    assert status.stamps == (f"{len(DISK)}-{version.tag}", f"{len(DISK)}-" + version.tag.strip('"'))


@pytest.mark.parametrize("name", ["bench", "cached"])
def test_bytes(name: str, request: pytest.FixtureRequest) -> None:
    """Bytes are those of the object, and are counted once as they come from the origin."""
    bench: Bench = request.getfixturevalue(name)
    opened = bench.open()
    assert bench.read(opened, 1000, 5000) == DISK[1000:6000]
    assert (opened.file is None) is (name == "bench")
    assert opened.origin_bytes == (5000 if name == "bench" else 1 << 16)
    opened.close()
    again = bench.store.open_cached(BlobRequest(IMAGE))
    assert again is not None
    assert again.status is opened.status
    assert again.origin_bytes == 0
    assert again.begins_now(1000, 5000) is (name == "cached")
    again.close()
    assert bench.count("head") == 1


def test_beginning_is_read_once(bench: Bench) -> None:
    """What is read before the head is what the body begins with: one GET for both."""
    opened = bench.open()
    assert bench.read(opened, 0, 100) == DISK[:100]
    assert bench.count("get") == 1
    assert len(DISK) <= PIECE_BYTES


def test_a_shorter_first_piece(bench: Bench) -> None:
    """A stream that has lost its place meanwhile asks for less than what was read before the head: no GET for it."""
    opened = bench.open()
    result_of(opened.begin(0, 100))
    assert result_of(opened.read_later(bench.threads.disk, 0, 40, background=True)) == DISK[:40]
    assert bench.count("get") == 1


@pytest.mark.parametrize("name", ["bench", "cached"])
@pytest.mark.parametrize("gone", [True, False])
def test_replaced_object(name: str, gone: bool, request: pytest.FixtureRequest) -> None:  # noqa: FBT001
    """An object that is not as it was opened gives no byte; opened anew it is the other one, or missing."""
    bench: Bench = request.getfixturevalue(name)
    opened = bench.open()
    bench.origin.bucket.delete("sub/disk.img") if gone else bench.origin.bucket.put("sub/disk.img", DISK[::-1])
    with pytest.raises(ObjectChangedError):
        bench.read(opened, 0, 10)
    opened.close()
    if gone:
        with pytest.raises(BlobNotFoundError):
            bench.open()
    else:
        anew = bench.open()
        assert bench.read(anew, 0, 10) == DISK[::-1][:10]
        anew.close()


def test_served_from_the_cache_while_the_origin_is_away(cached: Bench) -> None:
    """What was opened and read goes on for `stale_secs`; what was not read fails before the head."""
    first = cached.open()
    cached.read(first, 0, 10)
    first.close()
    cached.origin.away()
    cached.threads.clock.advance(30)
    opened = cached.open()
    assert cached.read(opened, 5, 5) == DISK[5:10]
    with pytest.raises(OriginUnavailableError):
        result_of(opened.begin(100_000, 10))
    opened.close()
    cached.threads.clock.advance(31)
    with pytest.raises(OriginUnavailableError):
        cached.open()


def test_open_objects_are_few(cached: Bench) -> None:
    """The least recently used objects are closed; one that is in use is not."""
    images = [Image(id=f"i{number}", file=f"i{number}", name="I") for number in range(6)]
    for image in images:
        cached.origin.bucket.put(image.file, image.id.encode())
    first = cached.open(BlobRequest(images[0]))
    for image in images[1:]:
        cached.open(BlobRequest(image)).close()
    assert cached.store.open_cached(BlobRequest(images[1])) is None
    assert cached.read(first, 0, 2) == b"i0"
    first.close()


def test_empty_object(cached: Bench) -> None:
    """An object without bytes is opened, and has nothing in the cache."""
    cached.origin.bucket.put("empty", b"")
    assert cached.open(BlobRequest(Image(id="empty", file="empty", name="E"))).status.size == 0


def test_chunks_or_the_image(bench: Bench) -> None:
    """The manifest decides whether chunks are objects of their own or are cut from the image."""
    wanted = BlobRequest(IMAGE, "chunked/disk/chunks/00000000.bin", "chunked/disk/manifest.json")
    assert bench.open(wanted).raw
    assert bench.store.open_cached(wanted) is not None
    bench.origin.bucket.put("chunked/disk/manifest.json", b"{}")
    bench.origin.bucket.put("chunked/disk/chunks/00000000.bin", b"chunk")
    bench.threads.clock.advance(6)
    opened = bench.open(wanted)
    assert not opened.raw
    assert opened.status.size == 5


def test_a_digest_that_could_not_be_read() -> None:
    """The digest of a chunk that never changes is looked for again after the refresh time, once it failed."""
    bench, chunk, digest = Bench(), "chunked/disk/v1/chunks/00000000.bin", "ab" * 32
    bench.origin.bucket.put(chunk, b"chunk")
    answers: list[str | Exception] = [OriginUnavailableError("no answer in time"), digest, "cd" * 32]

    def find(_artifact: str, _size: int) -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    bench.begin(find)
    wanted = BlobRequest(None, chunk)
    assert bench.open(wanted).sha256 is None
    bench.threads.clock.advance(4.9)
    assert bench.open(wanted).sha256 is None
    assert len(answers) == 2
    bench.threads.clock.advance(0.2)
    bench.open(wanted)
    assert bench.open(wanted).sha256 == digest
    bench.threads.clock.advance(60)
    assert bench.open(wanted).sha256 == digest


def test_a_digest_that_nobody_waits_for_any_more() -> None:
    """A client that goes while the digest of a chunk is looked for does not take it from those who come later."""
    bench, chunk, digest = Bench(), "chunked/disk/v1/chunks/00000000.bin", "ab" * 32
    bench.origin.bucket.put(chunk, b"chunk")
    bench.begin(lambda _artifact, _size: digest)
    bench.threads.pool.held = True
    opening = bench.store.open(BlobRequest(None, chunk))
    bench.threads.pool.step()  # the look
    opening.cancel()
    with pytest.raises(CancelledError):
        result_of(opening)
    bench.threads.pool.release()
    assert bench.open(BlobRequest(None, chunk)).sha256 == digest


def test_survey(bench: Bench) -> None:
    """All images are found by one LIST for each directory, whatever their number, and with the tags of HEAD."""
    images = [Image(id=f"i{number}", file=f"many/i{number}", name="I") for number in range(3000)]
    for image in images[1:]:
        bench.origin.bucket.put(image.file, b"x")
    all_images = (*images, IMAGE)
    survey = result_of(bench.store.survey(all_images))
    assert [image.id for image, _ in survey.found] == [image.id for image in all_images[1:]]
    assert survey.found[-1][1] == bench.open().status
    assert [asked for asked in bench.origin.asked if asked[0] != "head"] == [
        ("list", "many"),
        ("list", "sub"),
        ("list", "chunked"),
    ]


def test_listing_is_shared(bench: Bench) -> None:
    """Lists are made at most once in `refresh_secs`, for all questions."""
    images = (IMAGE,)
    assert result_of(bench.store.complete(images))
    assert result_of(bench.store.faults(images)) == ()
    result_of(bench.store.survey(images))
    assert bench.count("list") == 1
    bench.threads.clock.advance(5.1)
    assert result_of(bench.store.faults(images)) == ()  # nobody asks but the daemon
    assert bench.count("list") == 1
    assert result_of(bench.store.complete(images))
    assert bench.count("list") == 2


def test_a_listing_is_as_old_as_its_oldest_part(bench: Bench) -> None:
    """What one directory was seen to have counts from then on, though others were listed later."""
    clock, images = bench.threads.clock, tuple(Image(id=name, file=f"{name}/disk", name="I") for name in ("a", "b"))
    for image in images:
        bench.origin.bucket.put(image.file, b"x")
    assert result_of(bench.store.complete(images[:1]))
    clock.advance(4)
    assert result_of(bench.store.complete(images))
    bench.origin.bucket.delete("a/disk")
    clock.advance(1.1)
    assert not result_of(bench.store.complete(images))


def test_many_directories_are_one_list(bench: Bench) -> None:
    """A thousand directories with an image each are not listed one by one."""
    images = tuple(Image(id=f"i{number}", file=f"all/{number}/disk", name="I") for number in range(1000))
    for image in images:
        bench.origin.bucket.put(image.file, b"x")
    assert result_of(bench.store.complete(images))
    assert bench.count("list") == 1


def test_incomplete(bench: Bench) -> None:
    """An image without object and chunks is a fault; one with a directory of chunks is none."""
    chunked, gone = Image(id="c", file="c.img", name="C"), Image(id="g", file="g.img", name="G")
    bench.origin.bucket.put("chunked/c/v1/manifest.json", b"{}")
    images = (IMAGE, chunked, gone)
    assert not result_of(bench.store.complete(images))
    assert [(fault.image, fault.reason) for fault in result_of(bench.store.faults(images))] == [
        (gone, "g.img: no such object")
    ]
    assert result_of(bench.store.complete((IMAGE, chunked)))


def test_outdated_digest(bench: Bench) -> None:
    """A digest of another state of the object is told of."""
    known, other = (attrs.evolve(IMAGE, sha256="0" * 64, sha256_of=of) for of in (None, '1-"abc"'))
    (fault,) = result_of(bench.store.faults((known, other)))
    assert fault.image is other
    assert fault.is_served


def test_listing_while_the_origin_is_away(bench: Bench) -> None:
    """The last listing is believed for `stale_secs`, without waiting once the origin is known to be away."""
    images = (IMAGE,)
    assert result_of(bench.store.complete(images))
    bench.origin.away()
    bench.threads.clock.advance(30)
    assert result_of(bench.store.complete(images))
    bench.threads.pool.held = True
    assert result_of(bench.store.complete(images))
    bench.threads.pool.release()
    bench.threads.clock.advance(31)
    with pytest.raises(OriginUnavailableError):
        result_of(bench.store.complete(images))


def test_listing_by_request_of_the_operator(bench: Bench) -> None:
    """After SIGHUP the bucket is listed anew."""
    images = (IMAGE,)
    assert result_of(bench.store.complete(images))
    bench.origin.bucket.delete("sub/disk.img")
    bench.store.look_anew()
    assert not result_of(bench.store.complete(images))
