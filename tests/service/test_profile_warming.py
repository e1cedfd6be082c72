"""Boot profiles whose bytes are brought into memory ahead: once, in order, within a limit."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping
from typing import Any, TypeVar, cast

import attrs
import pytest
from twisted.internet.defer import Deferred, execute, succeed
from twisted.internet.task import Clock

from aero_storage.catalog.current import CurrentCatalog
from aero_storage.catalog.model import Catalog, Image
from aero_storage.catalog.reader import Reading
from aero_storage.delivery.boot_profiles import BootProfiles, profile_key
from aero_storage.errors import BlobNotFoundError, OriginUnavailableError
from aero_storage.logs.json_lines import Fields
from aero_storage.metrics import Metrics, Registry
from aero_storage.profiles.document import BOOT, BootProfile, profile_path
from aero_storage.profiles.ranges import ProfileRange
from aero_storage.service.profile_warming import PIECE_BYTES, ProfileWarming
from aero_storage.storage.blob import BlobStatus
from aero_storage.storage.local.file_status import file_status
from aero_storage.storage.store import BlobRequest, Opened, Store

_T = TypeVar("_T")
UNIT = 65536
SIZE = 64 * UNIT - 100
IMAGE, OTHER = Image("disk", "disk.img", "Disk"), Image("other", "other.img", "Other")


@attrs.define(eq=False)
class FakeRoot:
    """An images root: open files, stored profiles, and threads that do all at once."""

    statuses: dict[str, BlobStatus] = attrs.field(factory=dict)
    stored_files: dict[str, bytes] = attrs.field(factory=dict)
    warmed: list[tuple[str, int, int]] = attrs.field(factory=list)
    opened: list[FakeOpened] = attrs.field(factory=list)
    error: Exception | None = None
    clock: Clock = attrs.field(factory=Clock)
    looks: int = 0
    look_time: float = 0.0
    """Seconds that a look at all of them takes."""
    lane: Hashable = "profiles"
    costs: bool = False

    @property
    def threads(self) -> FakeRoot:
        return self

    def run(
        self,
        work: Callable[[], _T],
        discard: Callable[[_T], object] = lambda _: None,
        lane: Hashable = None,
        *,
        background: bool = False,
    ) -> Deferred[_T]:
        del discard, lane, background
        return execute(work)

    def later(self, work: Callable[[], object], lane: Hashable = None) -> None:
        raise AssertionError((work, lane))

    def open(self, wanted: BlobRequest) -> Deferred[Opened]:
        assert wanted.image is not None
        if wanted.image.file not in self.statuses:
            return cast("Deferred[Opened]", execute(_throw, BlobNotFoundError(wanted.image.file)))
        self.opened.append(FakeOpened(self, wanted.image.file, self.statuses[wanted.image.file]))
        return succeed(cast("Opened", self.opened[-1]))

    def read(self, path: str) -> bytes | None:
        return self.stored_files.get(path)

    def stamps(self, paths: Collection[str]) -> Mapping[str, Hashable]:
        return {path: self.stored_files[path] for path in paths if path in self.stored_files}

    def stored(self, name: str) -> Mapping[tuple[str, str], Hashable]:
        self.looks += 1
        self.clock.advance(self.look_time)
        if self.error is not None:
            raise self.error
        parts = {path: path.split("/") for path in self.stored_files}
        return {(p[1], p[2]): self.stored_files[path] for path, p in parts.items() if p[3] == f"{name}.json"}


def _throw(error: Exception) -> None:
    raise error


@attrs.define(eq=False)
class FakeOpened:
    """An open file that notes what is to be warmed."""

    root: FakeRoot
    name: str
    status: BlobStatus
    closes: int = 0

    @property
    def file(self) -> FakeOpened:
        return self

    def warm(self, _disk: object, offset: int, length: int, *, background: bool) -> Deferred[None]:
        assert background
        assert not self.closes
        self.root.warmed.append((self.name, offset, length))
        return succeed(None)

    def close(self) -> None:
        self.closes += 1


@attrs.define(eq=False)
class FakeLog:
    events: list[tuple[str, str, Fields]] = attrs.field(factory=list)

    def event(self, level: str, message: str, fields: Fields = {}) -> None:  # noqa: B006
        self.events.append((level, message, fields))


@attrs.define(eq=False)
class Bench:
    """A warming, and all that stands around it."""

    most: int = 1 << 30
    root: FakeRoot = attrs.field(factory=FakeRoot)
    log: FakeLog = attrs.field(factory=FakeLog)
    catalog: CurrentCatalog = attrs.field(factory=CurrentCatalog)
    registry: Registry = attrs.field(factory=Registry)
    warming: ProfileWarming = attrs.field(init=False)

    @property
    def clock(self) -> Clock:
        return self.root.clock

    def __attrs_post_init__(self) -> None:
        self.serve(IMAGE, OTHER)
        for image in (IMAGE, OTHER):
            self.root.statuses[image.file] = file_status(SIZE, 1_700_000_000_000_000_000 + len(image.id))
        profiles = BootProfiles(self.root, self.clock, self.log, 1.0)
        metrics, store = Metrics(self.registry, "1", 10), cast("Store", self.root)
        self.warming = ProfileWarming(
            profiles, self.root, store, self.catalog, self.root, self.clock, self.log, metrics, self.most, 2.0
        )

    def serve(self, *images: Image) -> None:
        self.catalog.take(Reading(Catalog(images), None))

    def put(self, image: Image, *ranges: ProfileRange, version: str | None = None) -> str:
        """Store a profile of the image's version, or of another one."""
        key = profile_key(image, self.root.statuses[image.file], BOOT)
        assert key is not None
        version = version or key.version
        size = sum(one.size(UNIT, SIZE) for one in ranges)
        profile = BootProfile(image.id, version, BOOT, UNIT, 1, "2026-11-28T12:00:00Z", 30, size, ranges)
        self.root.stored_files[profile_path(image.id, version, BOOT)] = profile.to_json()
        return version

    def look(self) -> None:
        """Look once; nothing here waits."""
        results: list[object] = []
        Deferred.fromCoroutine(self.warming.check()).addBoth(results.append)
        assert results == [None]

    def check(self) -> list[Any]:
        """Look, and return what was warmed."""
        self.root.warmed.clear()
        self.look()
        self.clock.advance(2)
        assert all(one.closes == 1 for one in self.root.opened)
        return [*self.root.warmed]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_units_are_brought_in_once_in_the_order_of_time(bench: Bench) -> None:
    """Long ranges come in pieces, the last unit as far as it goes; a profile that changes is warmed anew."""
    late, early = ProfileRange(0, 20, 50, 100), ProfileRange(63, 1, 0, 100)
    version = bench.put(IMAGE, early, late)
    wanted = [
        ("disk.img", 63 * UNIT, UNIT - 100),
        ("disk.img", 0, PIECE_BYTES),
        ("disk.img", PIECE_BYTES, 20 * UNIT - PIECE_BYTES),
    ]
    assert bench.check() == wanted
    assert bench.check() == []
    assert bench.log.events == [
        (
            "info",
            "boot profile warmed",
            {"image_id": "disk", "version": version, "bytes": 21 * UNIT - 100, "seconds": 0},
        )
    ]
    name = "aero_storage_profile_warmed_bytes_total"
    assert bench.registry.get_sample_value(name) == 21 * UNIT - 100
    bench.put(IMAGE, early)
    assert bench.check() == wanted[:1]


def test_looks_have_an_interval(bench: Bench) -> None:
    """A bucket is not listed for it each second."""
    bench.put(IMAGE, ProfileRange(0, 1, 0, 100))
    assert bench.check()
    bench.put(IMAGE, ProfileRange(1, 1, 0, 100))
    bench.clock.advance(-0.5)
    bench.look()
    assert len(bench.root.opened) == 1
    bench.clock.advance(0.5)
    bench.look()
    assert len(bench.root.opened) == 2


def test_a_profile_of_another_version_is_not_warmed(bench: Bench) -> None:
    """It is looked at again when the catalog has changed; an image that is not there is no trouble."""
    bench.put(IMAGE, ProfileRange(0, 1, 0, 100), version="v-old")
    assert bench.check() == []
    assert bench.check() == []
    assert len(bench.root.opened) == 1
    bench.serve(IMAGE)
    assert bench.check() == []
    assert len(bench.root.opened) == 2
    bench.put(IMAGE, ProfileRange(0, 1, 0, 100))
    del bench.root.statuses["disk.img"]
    assert bench.check() == []
    bench.root.error = OriginUnavailableError("away")
    assert bench.check() == []


def test_what_is_warmed_has_a_limit() -> None:
    """Nothing is brought in beyond it, and that is told once."""
    bench = Bench(most=2 * UNIT)
    bench.put(IMAGE, ProfileRange(0, 1, 0, 100), ProfileRange(5, 1, 1, 100), ProfileRange(9, 1, 2, 100))
    bench.put(OTHER, ProfileRange(0, 1, 0, 100))
    assert bench.check() == [("disk.img", 0, UNIT), ("disk.img", 5 * UNIT, UNIT)]
    assert bench.check() == []
    assert [level for level, _, _ in bench.log.events].count("warn") == 1


def test_what_is_warmed_anew_counts_once() -> None:
    """A profile that is learned each night does not use up what is allowed, and one that goes gives its room back."""
    bench = Bench(most=2 * UNIT)
    for night in range(5):
        bench.put(IMAGE, ProfileRange(night, 2, 0, 100))
        assert bench.check() == [("disk.img", night * UNIT, 2 * UNIT)]
    bench.put(OTHER, ProfileRange(0, 1, 0, 100))
    assert bench.check() == []
    assert bench.check() == []
    bench.put(IMAGE, ProfileRange(7, 1, 0, 100))
    assert bench.check() + bench.check() == [("disk.img", 7 * UNIT, UNIT), ("other.img", 0, UNIT)]
    bench.put(OTHER, ProfileRange(0, 2, 0, 100))
    assert bench.check() + bench.check() == []
    for path in [one for one in bench.root.stored_files if "/disk/" in one]:
        del bench.root.stored_files[path]
    bench.put(OTHER, ProfileRange(3, 2, 0, 100))
    assert bench.check() == [("other.img", 3 * UNIT, 2 * UNIT)]


def test_a_look_that_takes_long_is_followed_by_a_pause(bench: Bench) -> None:
    """With very many profiles the looks take a small part of the time."""
    bench.put(IMAGE, ProfileRange(0, 1, 0, 100))
    bench.root.look_time = 0.1
    assert bench.check()
    looks = bench.root.looks
    for _ in range(10):
        bench.check()
    assert bench.root.looks - looks == 3


def test_a_stop_ends_it(bench: Bench) -> None:
    """While the daemon stops nothing is brought in any more."""
    bench.put(IMAGE, ProfileRange(0, 1, 0, 100))
    bench.warming.stop()
    assert bench.check() == []
