"""The local store: opening for a request that may leave, and looking at many images at once."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path
from typing import TypeVar

import attrs
import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from aero_storage.catalog.model import Image
from aero_storage.disk import Disk
from aero_storage.errors import BlobNotFoundError, BlobUnreadableError
from aero_storage.http.extents.extents import KnownExtents
from aero_storage.storage.blob import Blob
from aero_storage.storage.local.directory import ImageDirectory
from aero_storage.storage.local.image_store import LocalStore
from aero_storage.storage.open_file_cache import CHECK_SECONDS, OpenFileCache
from aero_storage.storage.store import BlobRequest, Store

_T = TypeVar("_T")


@attrs.define
class SlowDisk:
    """A Disk that works only when it is told to, and hands back in a second step, as threads do."""

    waiting: list[Callable[[], None]] = attrs.field(factory=list)
    finished: list[Callable[[], object]] = attrs.field(factory=list)

    def later(self, work: Callable[[], object], lane: Hashable = None) -> None:
        self.run(work, lane=lane)

    def run(
        self,
        work: Callable[[], _T],
        discard: Callable[[_T], object] = lambda _: None,
        lane: Hashable = None,
        *,
        background: bool = False,
    ) -> Deferred[_T]:
        del lane, background
        cancelled: list[Deferred[_T]] = []
        deferred: Deferred[_T] = Deferred(cancelled.append)

        def perform() -> None:
            if cancelled:
                return
            try:
                result = work()
            except Exception as error:  # noqa: BLE001
                failure = error
                self.finished.append(lambda: None if cancelled else deferred.errback(failure))
            else:
                self.finished.append(lambda: discard(result) if cancelled else deferred.callback(result))

        self.waiting.append(perform)
        return deferred

    def work(self) -> None:
        while self.waiting:
            self.waiting.pop(0)()

    def hand_back(self) -> None:
        while self.finished:
            self.finished.pop(0)()


@pytest.fixture
def disk() -> SlowDisk:
    return SlowDisk()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(directory: ImageDirectory, disk: SlowDisk, clock: Clock) -> Iterator[Store]:
    typed: Disk = disk
    files = OpenFileCache(typed, clock, 100)
    store = LocalStore(directory, typed, files, lambda *_: None, lambda *_: KnownExtents(), clock)
    yield store
    store.close()
    disk.work()


def image(
    name: str, file: str | None = None, *, chunked_version: str | None = None, follow_links: bool = True
) -> Image:
    return Image(name, file or name, name, chunked_version=chunked_version, follow_links=follow_links)


def result_of(disk: SlowDisk, deferred: Deferred[_T]) -> _T:
    """The result of a Deferred once the disk has done all its work."""
    disk.work()
    disk.hand_back()
    results: list[_T] = []
    failures: list[BaseException] = []
    deferred.addCallbacks(results.append, lambda failure: failures.append(failure.value))
    if failures:
        raise failures[0]
    (result,) = results
    return result


def read_and_close(blob: Blob) -> bytes:
    try:
        return blob.read(0, blob.status.size)
    finally:
        blob.close()


def test_open(disk: SlowDisk, store: Store) -> None:
    """The bytes of an image are those of the file that its entry names."""
    deferred = store.open(BlobRequest(image("some-id", file="disk.img")))
    assert not deferred.called
    assert read_and_close(result_of(disk, deferred)) == b"0123456789"


def test_open_artifact(root: Path, disk: SlowDisk, store: Store) -> None:
    """A chunk artifact is opened by its place under the root."""
    (root / "chunked" / "x" / "chunks").mkdir(parents=True)
    (root / "chunked" / "x" / "chunks" / "0.bin").write_bytes(b"chunk")
    blob = result_of(disk, store.open(BlobRequest(artifact="chunked/x/chunks/0.bin")))
    assert read_and_close(blob) == b"chunk"


def wanted_chunk(name: str) -> BlobRequest:
    return BlobRequest(image("x", file="disk.img"), f"chunked/x/chunks/{name}", "chunked/x/manifest.json")


def test_raw_image_where_nothing_is_published(root: Path, disk: SlowDisk, store: Store) -> None:
    """Without a chunk manifest it is the raw image that is opened, whatever else lies there."""
    (root / "chunked" / "x" / "chunks").mkdir(parents=True)
    (root / "chunked" / "x" / "chunks" / "0.bin").write_bytes(b"chunk")
    opened = result_of(disk, store.open(wanted_chunk("0.bin")))
    assert (opened.raw, read_and_close(opened)) == (True, b"0123456789")


def test_artifact_where_a_manifest_is_published(root: Path, disk: SlowDisk, store: Store) -> None:
    """With a chunk manifest it is the artifact, and what is not among the artifacts is not there."""
    (root / "chunked" / "x" / "chunks").mkdir(parents=True)
    (root / "chunked" / "x" / "chunks" / "0.bin").write_bytes(b"chunk")
    (root / "chunked" / "x" / "manifest.json").write_bytes(b"{}")
    opened = result_of(disk, store.open(wanted_chunk("0.bin")))
    assert (opened.raw, read_and_close(opened)) == (False, b"chunk")
    with pytest.raises(BlobNotFoundError):
        result_of(disk, store.open(wanted_chunk("1.bin")))


def test_one_open_file_for_all_virtual_chunks(disk: SlowDisk, store: Store) -> None:
    """Once the raw image is open for one chunk it is there for all others, at once."""
    first = result_of(disk, store.open(wanted_chunk("0.bin")))
    second = store.open_cached(wanted_chunk("1.bin"))
    assert second is not None
    assert second.file is first.file
    assert (second.raw, read_and_close(second), read_and_close(first)) == (True, b"0123456789", b"0123456789")


def test_published_while_the_raw_image_is_open(root: Path, disk: SlowDisk, clock: Clock, store: Store) -> None:
    """Within a second of the publication each chunk is what was published, and none is another."""
    result_of(disk, store.open(wanted_chunk("0.bin"))).close()
    (root / "chunked" / "x" / "chunks").mkdir(parents=True)
    for name in ("0.bin", "1.bin"):
        (root / "chunked" / "x" / "chunks" / name).write_bytes(name.encode())
    (root / "chunked" / "x" / "manifest.json").write_bytes(b"{}")
    clock.advance(CHECK_SECONDS + 0.1)
    old = store.open_cached(wanted_chunk("1.bin"))
    assert old is not None
    assert old.raw
    old.close()
    disk.work()
    disk.hand_back()
    for name in ("1.bin", "0.bin"):
        assert store.open_cached(wanted_chunk(name)) is None
        opened = result_of(disk, store.open(wanted_chunk(name)))
        assert (opened.raw, read_and_close(opened)) == (False, name.encode())


def test_withdrawn_while_a_chunk_is_open(root: Path, disk: SlowDisk, clock: Clock, store: Store) -> None:
    """Within a second of the end of its manifest a chunk is cut from the raw image, as all others."""
    (root / "chunked" / "x" / "chunks").mkdir(parents=True)
    (root / "chunked" / "x" / "chunks" / "0.bin").write_bytes(b"chunk")
    (root / "chunked" / "x" / "manifest.json").write_bytes(b"{}")
    result_of(disk, store.open(wanted_chunk("0.bin"))).close()
    (root / "chunked" / "x" / "manifest.json").unlink()
    clock.advance(CHECK_SECONDS + 0.1)
    old = store.open_cached(wanted_chunk("0.bin"))
    assert old is not None
    old.close()
    disk.work()
    disk.hand_back()
    assert store.open_cached(wanted_chunk("0.bin")) is None
    opened = result_of(disk, store.open(wanted_chunk("0.bin")))
    assert (opened.raw, read_and_close(opened)) == (True, b"0123456789")


def test_a_manifest_that_cannot_be_read_is_there(
    root: Path, disk: SlowDisk, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A published manifest that cannot be read is an error, and no reason to cut the raw image."""
    (root / "bad.img").write_bytes(b"{}")
    refuse_bad(monkeypatch)
    with pytest.raises(BlobUnreadableError):
        result_of(disk, store.open(BlobRequest(image("x", file="disk.img"), "bad.img", "bad.img")))


def test_cancelled_open_of_what_is_published(disk: SlowDisk, store: Store) -> None:
    """Here too, what is opened for nobody is closed (the fixture counts)."""
    deferred = store.open(wanted_chunk("0.bin"))
    disk.work()
    deferred.cancel()
    disk.hand_back()
    with pytest.raises(CancelledError):
        result_of(disk, deferred)


def test_open_fails(disk: SlowDisk, store: Store) -> None:
    """What is not there fails with the store's own error, images and artifacts alike."""
    with pytest.raises(BlobNotFoundError):
        result_of(disk, store.open(BlobRequest(image("missing.img"))))
    with pytest.raises(BlobNotFoundError):
        result_of(disk, store.open(BlobRequest(artifact="chunked/x/manifest.json")))


def test_artifact_behind_a_link_out(root: Path, outside: Path, disk: SlowDisk, store: Store) -> None:
    """A chunk directory that is a link out of the root is not there."""
    (root / "chunked").mkdir()
    (root / "chunked" / "x").symlink_to(outside)
    with pytest.raises(BlobNotFoundError):
        result_of(disk, store.open(BlobRequest(artifact="chunked/x/secret.img")))


def test_links_of_a_listing(root: Path, disk: SlowDisk, store: Store) -> None:
    """A file that turned into a link since the directory was listed is not there."""
    (root / "link.img").symlink_to("disk.img")
    listed = image("link.img", follow_links=False)
    with pytest.raises(BlobNotFoundError):
        result_of(disk, store.open(BlobRequest(listed)))
    assert result_of(disk, store.survey([listed])).found == ()
    assert result_of(disk, store.complete([listed])) is False
    assert read_and_close(result_of(disk, store.open(BlobRequest(image("link.img"))))) == b"0123456789"


@pytest.mark.parametrize("artifact", [False, True])
@pytest.mark.parametrize("when", ["before", "after"])
def test_cancelled_open(disk: SlowDisk, store: Store, when: str, *, artifact: bool) -> None:
    """Who cancels an open gets no blob, and one that was opened meanwhile is closed (the fixture counts)."""
    deferred = (
        store.open(BlobRequest(artifact="disk.img")) if artifact else store.open(BlobRequest(image("disk.img")))
    )
    if when == "after":
        disk.work()
        assert disk.finished
    deferred.cancel()
    disk.work()
    disk.hand_back()
    with pytest.raises(CancelledError):
        result_of(disk, deferred)


def refuse_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def refusing(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if str(path).endswith("bad.img"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", refusing)


def test_survey(root: Path, disk: SlowDisk, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A survey keeps the order it was asked in, leaves out what is missing, and counts what cannot be read."""
    (root / "bad.img").write_bytes(b"x")
    (root / "big.img").write_bytes(b"x" * 4096)
    refuse_bad(monkeypatch)
    images = [image("big.img"), image("missing.img"), image("bad.img"), image("disk.img"), image("also-missing")]
    survey = result_of(disk, store.survey(iter(images)))
    assert [(found.id, status.size) for found, status in survey.found] == [("big.img", 4096), ("disk.img", 10)]
    assert survey.unreadable == 1


def test_open_of_an_unreadable_image(
    root: Path, disk: SlowDisk, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is there but may not be read fails as unreadable."""
    (root / "bad.img").write_bytes(b"x")
    refuse_bad(monkeypatch)
    with pytest.raises(BlobUnreadableError):
        result_of(disk, store.open(BlobRequest(image("bad.img"))))


def manifest(root: Path, *parts: str) -> None:
    directory = root.joinpath("chunked", *parts)
    directory.mkdir(parents=True)
    (directory / "manifest.json").write_text("{}", encoding="ascii")


@pytest.mark.parametrize(
    ("images", "complete"),
    [
        ([], True),
        ([image("disk.img")], True),
        ([image("chunks-only")], True),
        ([image("versioned", chunked_version="v2")], True),
        ([image("disk.img"), image("chunks-only")], True),
        ([image("missing")], False),
        ([image("disk.img"), image("missing")], False),
        ([image("versioned")], False),
        ([image("versioned", chunked_version="v1")], False),
        ([image("bad.img")], False),
        ([image("bad-but-chunked", file="bad.img")], True),
        ([image("a-directory")], False),
    ],
)
def test_complete(
    root: Path, disk: SlowDisk, store: Store, monkeypatch: pytest.MonkeyPatch, images: list[Image], *, complete: bool
) -> None:
    """Images are complete if each has a readable file or the chunk manifest that its unversioned URL means."""
    (root / "bad.img").write_bytes(b"x")
    (root / "a-directory").mkdir()
    for parts in (("chunks-only",), ("versioned", "v2"), ("bad-but-chunked",)):
        manifest(root, *parts)
    refuse_bad(monkeypatch)
    assert result_of(disk, store.complete(images)) is complete


def test_faults(root: Path, outside: Path, disk: SlowDisk, store: Store) -> None:
    """What cannot be served is told with its reason; an image with a chunk manifest needs no raw file."""
    (root / "out.img").symlink_to(outside / "secret.img")
    (root / "folder.img").mkdir()
    (root / "chunked" / "cut").mkdir(parents=True)
    (root / "chunked" / "cut" / "manifest.json").write_bytes(b"{}")
    images = [image(name) for name in ("disk.img", "gone.img", "out.img", "folder.img", "cut")]
    faults = result_of(disk, store.faults(images))
    assert {fault.image.id: fault.reason for fault in faults if not fault.is_served} == {
        "gone.img": "gone.img: No such file or directory",
        "out.img": "out.img: outside the images root",
        "folder.img": "folder.img: not a regular file",
    }


def test_outdated_digests(root: Path, disk: SlowDisk, store: Store) -> None:
    """A digest of another state of the file is a fault, though the image is served; one without a state is none."""
    status = (root / "disk.img").stat()
    state = f"{status.st_size}-{status.st_mtime_ns}"
    stamps = {
        "believed": None,
        "right": state,
        "exact": f"{state}-{status.st_ctime_ns}-{status.st_ino}",
        "late": f"{status.st_size}-1",
        "other": f"{state}-{status.st_ctime_ns}-1",
    }
    images = [Image(name, "disk.img", name, sha256="0" * 64, sha256_of=stamp) for name, stamp in stamps.items()]
    faults = result_of(disk, store.faults(images))
    assert {fault.image.id: fault.is_served for fault in faults} == {"late": True, "other": True}
    assert faults[0].reason == f"sha256_of is {stamps['late']}, but the file is {state}: its sha256 counts as unset"
    assert f"the file is {stamps['exact']}:" in faults[1].reason
