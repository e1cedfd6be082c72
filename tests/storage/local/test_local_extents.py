"""Extents of files: their holes, the zeros of their chunks, and files that change meanwhile."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import attrs
import pytest
from twisted.internet.defer import Deferred, execute
from twisted.internet.task import Clock

from aero_storage.catalog.model import Image
from aero_storage.errors import BlobNotFoundError, BlobUnreadableError, ImageChangedError
from aero_storage.http.extents.extents import ExtentsBuilder, KnownExtents
from aero_storage.storage.local.device_map import DeviceMap
from aero_storage.storage.local.directory import ImageDirectory
from aero_storage.storage.local.extent_scan import EXTENTS_AT_ONCE, SETTLED_NS, ExtentScan
from aero_storage.storage.local.local_blob import LocalBlob
from aero_storage.storage.local.local_extents import TICK_SECONDS, LocalExtents

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from aero_storage.storage.blob import BlobStatus

T = TypeVar("T")
BLOCK = 64 * 1024  # of any usual file system or a multiple of it
DATA = b"x" * BLOCK
IMAGE = Image("disk", "image.img", "Disk")
SHA256 = "ab" * 32
FDS = Path("/proc/self/fd")


@attrs.define(eq=False)
class Disk:
    """Does work at once; `before` is called before each piece of work with its number."""

    before: Callable[[int], object] = lambda _number: None
    works: list[tuple[Hashable, bool]] = attrs.field(factory=list)

    def run(
        self,
        work: Callable[[], T],
        discard: Callable[[T], object] = lambda _: None,
        lane: Hashable = None,
        *,
        background: bool = False,
    ) -> Deferred[T]:
        del discard
        self.before(len(self.works))
        self.works.append((lane, background))
        return execute(work)

    def later(self, work: Callable[[], object], lane: Hashable = None) -> None:
        del lane
        work()


@attrs.define(eq=False)
class Looker:
    """Looks for the extents of `image.img` in a directory."""

    root: Path
    disk: Disk = attrs.field(factory=Disk)
    published: KnownExtents = attrs.field(factory=KnownExtents)
    asked: list[tuple[str, str | None, int]] = attrs.field(factory=list)
    clock: Clock = attrs.field(factory=Clock)
    age_ns: int = 2 * SETTLED_NS
    """At least of all files."""

    @property
    def status(self) -> BlobStatus:
        return ImageDirectory(self.root).status("image.img")

    def make(self) -> LocalExtents:
        return LocalExtents(
            ImageDirectory(self.root),
            self.disk,
            DeviceMap(),
            self._published,
            self.clock,
            lambda: time.time_ns() + self.age_ns,
        )

    def find(
        self, image: Image = IMAGE, status: BlobStatus | None = None, extents: LocalExtents | None = None
    ) -> KnownExtents:
        (found,) = self.begin(image, status, extents)
        if isinstance(found, BaseException):
            raise found
        return found

    def begin(
        self, image: Image = IMAGE, status: BlobStatus | None = None, extents: LocalExtents | None = None
    ) -> list[KnownExtents | BaseException]:
        """Begin to look, and return a list that what is found goes into."""
        found: list[KnownExtents | BaseException] = []
        looking = Deferred.fromCoroutine((extents or self.make()).find(image, status or self.status))
        looking.addCallbacks(found.append, lambda failure: found.append(failure.value))
        return found

    def blocks(self) -> list[tuple[int, int]]:
        extents = self.find().extents
        assert extents is not None
        return [(first // BLOCK, after // BLOCK) for first, after in extents.pairs()]

    def _published(self, manifest: str, sha256: str | None, size: int) -> KnownExtents:
        self.asked.append((manifest, sha256, size))
        return self.published


@pytest.fixture
def looker(tmp_path: Path) -> Looker:
    return Looker(tmp_path)


@pytest.fixture(autouse=True)
def _descriptors(tmp_path: Path) -> Iterator[None]:
    """No file of a test is open at its end."""
    yield
    targets = [link.readlink() for link in FDS.iterdir() if link.is_symlink()]
    assert not [target for target in targets if target.is_relative_to(tmp_path)]


@pytest.mark.parametrize(
    ("parts", "blocks"),
    [
        ([DATA, BLOCK, DATA], [(0, 1), (2, 3)]),
        ([BLOCK, DATA, 2 * BLOCK], [(1, 2)]),
        ([5 * BLOCK], []),
        ([], []),
        ([3 * DATA], [(0, 3)]),
    ],
)
def test_holes(
    looker: Looker, make_image: Callable[..., Path], parts: list[bytes | int], blocks: list[tuple[int, int]]
) -> None:
    """The holes of a file are no data; all work waits in the background, of the file's own disk from its open on."""
    make_image(*parts)
    assert looker.blocks() == blocks
    assert {background for _, background in looker.disk.works} == {True}
    assert {lane for lane, _ in looker.disk.works[1:]} == {looker.root.stat().st_dev}


def test_many_extents_take_many_steps(looker: Looker, make_image: Callable[..., Path]) -> None:
    """A file of many extents is looked at some at a time, so that others have their turns."""
    number = 2 * EXTENTS_AT_ONCE + 1
    path = make_image(4096 * 2 * number)
    with path.open("r+b") as file:
        for at in range(number):
            os.pwrite(file.fileno(), b"x", 8192 * at)
    extents = looker.find().extents
    assert extents is not None
    if extents.number != number:
        pytest.skip("the file system of the temporary directory has larger blocks")
    assert len(looker.disk.works) == 5  # the open, three steps, the chunks


def test_exact_number_of_steps(
    looker: Looker, make_image: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file with as many extents as one step looks at has no more than those."""
    monkeypatch.setattr("aero_storage.storage.local.extent_scan.EXTENTS_AT_ONCE", 2)
    make_image(DATA, BLOCK, DATA, BLOCK)
    assert looker.blocks() == [(0, 1), (2, 3)]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS])
def test_file_system_without_holes(
    looker: Looker, make_image: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """A file system that knows no holes gives one extent."""

    def seek(_descriptor: int, _position: int, _how: int) -> int:
        raise OSError(number, os.strerror(number))

    make_image(DATA, BLOCK, DATA)
    monkeypatch.setattr("os.lseek", seek)
    assert looker.blocks() == [(0, 3)]


def test_failing_disk(looker: Looker, make_image: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fails is an error that clients are told of as of any unreadable file."""

    def seek(_descriptor: int, _position: int, _how: int) -> int:
        raise OSError(errno.EIO, "broken")

    make_image(DATA, BLOCK, DATA)
    monkeypatch.setattr("os.lseek", seek)
    with pytest.raises(BlobUnreadableError, match="broken"):
        looker.find()


def test_missing_file(looker: Looker, make_image: Callable[..., Path]) -> None:
    """A file that is gone is missing."""
    path = make_image(DATA)
    status = looker.status
    path.unlink()
    with pytest.raises(BlobNotFoundError):
        looker.find(status=status)


@pytest.mark.parametrize("step", [0, 1])
def test_file_that_changes(looker: Looker, make_image: Callable[..., Path], step: int) -> None:
    """A file that was replaced before, or is written to meanwhile, gives no extents."""
    path = make_image(DATA, BLOCK, DATA)
    status = looker.status

    def write(number: int) -> None:
        if number == step:
            with path.open("r+b") as file:
                file.seek(BLOCK)
                file.write(b"new")
            os.utime(path, ns=(1, 1_700_000_000_000_000_001 + step))

    looker.disk.before = write
    with pytest.raises(ImageChangedError):
        looker.find(status=status)


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize("how", ["in place", "by another"])
def test_change_that_the_tag_does_not_show(
    looker: Looker, make_image: Callable[..., Path], step: int, how: str
) -> None:
    """Another content of the same size and mtime gives no extents: it is told by ctime and inode."""
    path = make_image(DATA, BLOCK, DATA)
    status, mtime_ns = looker.status, path.stat().st_mtime_ns

    def write(number: int) -> None:
        if number == step:
            old = path.read_bytes()
            target = path if how == "in place" else path.with_name("new")
            target.write_bytes(old[:BLOCK] + DATA + old[2 * BLOCK :])
            os.utime(target, ns=(mtime_ns, mtime_ns))
            target.replace(path)

    looker.disk.before = write
    with pytest.raises(ImageChangedError):
        looker.find(status=status)


def test_write_in_the_tick_of_the_open(
    looker: Looker, make_image: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that has just changed is looked at when ticks of the clock have passed: later writes show by then."""
    path = make_image(DATA, 2 * BLOCK)
    monkeypatch.setattr(LocalBlob, "is_untouched", lambda _self: True)  # all is one tick
    looker.age_ns = 0
    found = looker.begin()
    assert (found, len(looker.disk.works)) == ([], 1)
    with path.open("r+b") as file:
        os.pwrite(file.fileno(), DATA, BLOCK)
    looker.clock.advance(TICK_SECONDS / 2)
    assert len(looker.disk.works) == 1
    looker.clock.advance(TICK_SECONDS / 2)
    (known,) = found
    assert isinstance(known, KnownExtents)
    assert known.extents is not None
    assert [*known.extents.pairs()] == [(0, 2 * BLOCK)]


@pytest.mark.parametrize(("age_ns", "waits"), [(-(10**15), True), (0, True), (SETTLED_NS + 1, False)])
def test_which_files_are_waited_for(
    looker: Looker,
    make_image: Callable[..., Path],
    age_ns: int,
    waits: bool,  # noqa: FBT001
) -> None:
    """Nothing waits for a file that has not changed for seconds; one of the future may be of another clock."""
    make_image(DATA)
    looker.age_ns = age_ns
    found = looker.begin()
    assert (bool(looker.clock.getDelayedCalls()), bool(found)) == (waits, not waits)
    looker.clock.advance(TICK_SECONDS)
    assert len(found) == 1


def test_closed_while_a_tick_passes(looker: Looker, make_image: Callable[..., Path]) -> None:
    """A store that is closed looks at nothing after its wait."""
    make_image(DATA)
    looker.age_ns = 0
    extents = looker.make()
    found = looker.begin(extents=extents)
    extents.close()
    looker.clock.advance(TICK_SECONDS)
    assert isinstance(found[0], BlobUnreadableError)


def test_zeros_of_chunks(looker: Looker, make_image: Callable[..., Path]) -> None:
    """What either the holes or the chunks call zeros is left out; the digest of this very file is asked with."""
    make_image(3 * DATA, BLOCK, DATA)
    builder = ExtentsBuilder(5 * BLOCK)
    builder.add(BLOCK, 2 * BLOCK)
    builder.add(3 * BLOCK, 5 * BLOCK)
    looker.published = KnownExtents(builder.finish(), BLOCK)
    stamp = looker.status.stamps[0]
    image = attrs.evolve(IMAGE, chunked_version="v1", sha256=SHA256, sha256_of=stamp)
    found = looker.find(image)
    assert found.extents is not None
    assert [*found.extents.pairs()] == [(BLOCK, 2 * BLOCK), (4 * BLOCK, 5 * BLOCK)]
    assert found.chunk_size == BLOCK
    for sha256_of in ("1-1", None):  # of another file, and what an operator believes of it
        looker.find(attrs.evolve(image, sha256_of=sha256_of))
    looker.find()
    path = "chunked/disk/v1/manifest.json"
    assert looker.asked == [
        (path, SHA256, 5 * BLOCK),
        (path, None, 5 * BLOCK),
        (path, None, 5 * BLOCK),
        ("chunked/disk/manifest.json", None, 5 * BLOCK),
    ]


def test_closed_meanwhile(looker: Looker, make_image: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A scan of many steps ends with the step that is under way when the daemon stops."""
    monkeypatch.setattr("aero_storage.storage.local.extent_scan.EXTENTS_AT_ONCE", 1)
    make_image(*[DATA, BLOCK] * 10)
    extents = looker.make()
    looker.disk.before = lambda number: extents.close() if number == 3 else None
    with pytest.raises(BlobUnreadableError, match="closed"):
        looker.find(extents=extents)
    assert len(looker.disk.works) == 4


def test_given_up_while_it_hangs(make_image: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A scan that is closed in the middle of a step keeps its descriptor until the step has ended."""
    path = make_image(DATA, BLOCK, DATA)
    scan = ExtentScan(ImageDirectory(path.parent).open(path.name), time.time_ns())
    seek, used = os.lseek, list[int]()

    def seek_and_close(descriptor: int, position: int, how: int) -> int:
        scan.close()
        os.fstat(descriptor)
        used.append(descriptor)
        return seek(descriptor, position, how)

    monkeypatch.setattr("os.lseek", seek_and_close)
    scan.step()
    assert len(used) > 2
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(used[0])
