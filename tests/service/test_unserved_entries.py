"""Catalog entries that cannot be served: one warning for each entry and change."""

from __future__ import annotations

from typing import Any, cast

import attrs
import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from aero_storage.catalog.current import CurrentCatalog
from aero_storage.catalog.model import Catalog, Image
from aero_storage.catalog.reader import Reading
from aero_storage.errors import DiskHangsError
from aero_storage.logs.json_lines import Fields
from aero_storage.service.unserved_entries import LOOK_SECONDS, UnservedEntries
from aero_storage.storage.store import EntryFault

ONE, TWO = Image("one", "one.img", "One"), Image("two", "two.img", "Two")


@attrs.define(eq=False)
class Bench:
    """Images that are missing, each with a reason, and the warnings about them."""

    clock: Clock = attrs.field(factory=Clock)
    catalog: CurrentCatalog = attrs.field(factory=CurrentCatalog)
    missing: dict[str, str] = attrs.field(factory=dict)
    outdated: dict[str, str] = attrs.field(factory=dict)
    """Images whose digest is of another state of the file, each with the reason."""
    hangs: bool = False
    looks: int = 0
    told: list[tuple[object, object]] = attrs.field(factory=list)
    entries: UnservedEntries = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.entries = UnservedEntries(cast("Any", self), self.catalog, cast("Any", self.clock), cast("Any", self))

    def faults(self, images: tuple[Image, ...]) -> Deferred[tuple[EntryFault, ...]]:
        self.looks += 1
        if self.hangs:
            return fail(DiskHangsError("hangs"))
        return succeed(
            tuple(
                EntryFault(image, reason, is_served=reasons is self.outdated)
                for reasons in (self.missing, self.outdated)
                for image in images
                if (reason := reasons.get(image.id))
            )
        )

    def event(self, level: str, message: str, fields: Fields) -> None:
        expected = "has the digest of another file" if fields["image_id"] in self.outdated else "cannot be served"
        assert (level, message) == ("warn", f"catalog entry {expected}")
        self.told.append((fields["image_id"], fields["reason"]))

    def serve(self, *images: Image, listing: bool = False) -> None:
        self.catalog.take(Reading(Catalog(images, listing=listing), None))

    def check(self) -> list[tuple[object, object]]:
        """What one look has told."""
        self.told.clear()
        self.clock.advance(LOOK_SECONDS)
        work = Deferred.fromCoroutine(self.entries.check())
        assert work.called
        return list(self.told)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_one_warning_for_each_entry_and_change(bench: Bench) -> None:
    """A fault is told once; it is told again if its reason or its entry changes, or if it was gone in between."""
    bench.serve(ONE, TWO)
    assert bench.check() == []
    bench.missing["one"] = "gone"
    assert [bench.check(), bench.check()] == [[("one", "gone")], []]
    bench.missing["one"] = "outside"
    assert bench.check() == [("one", "outside")]
    bench.serve(attrs.evolve(ONE, file="other.img"))
    assert bench.check() == [("one", "outside")]
    bench.missing.clear()
    assert bench.check() == []
    bench.missing["one"] = "outside"
    assert bench.check() == [("one", "outside")]


def test_one_warning_for_each_outdated_digest(bench: Bench) -> None:
    """A digest of another state of the file is told once, and again when either has changed."""
    bench.serve(ONE, TWO)
    bench.outdated["two"] = "sha256_of is 1-2, but the file is 1-3"
    assert [bench.check(), bench.check()] == [[("two", "sha256_of is 1-2, but the file is 1-3")], []]
    bench.outdated["two"] = "sha256_of is 1-2, but the file is 1-4"
    assert [bench.check(), bench.check()] == [[("two", "sha256_of is 1-2, but the file is 1-4")], []]


def test_other_entries_change(bench: Bench) -> None:
    """A new catalog repeats no warning about an entry that is as it was."""
    bench.serve(ONE)
    bench.missing["one"] = "gone"
    assert bench.check() == [("one", "gone")]
    bench.serve(ONE, TWO)
    assert bench.check() == []


def test_listing_and_no_catalog(bench: Bench) -> None:
    """Without a catalog nothing is looked at; a listing has no entries."""
    assert bench.check() == []
    bench.serve(ONE, listing=True)
    bench.check()
    assert bench.looks == 0


def test_a_disk_that_hangs(bench: Bench) -> None:
    """A look that fails is made again at the next turn."""
    bench.serve(*(attrs.evolve(ONE, id=f"i{number}") for number in range(1000)))
    bench.missing["i7"] = "gone"
    bench.hangs = True
    assert bench.check() == []
    bench.hangs = False
    assert bench.check() == [("i7", "gone")]


def test_many_entries_are_looked_at_less_often(bench: Bench) -> None:
    """The looks at a large catalog take a small share of a thread; a new catalog is looked at at once."""
    images = [attrs.evolve(ONE, id=f"i{number}") for number in range(1000)]
    bench.serve(*images)
    for _ in range(10):
        bench.check()
    assert bench.looks == 2
    bench.serve(*images[1:])
    bench.check()
    assert bench.looks == 3


def test_workers_that_look_and_do_not_tell() -> None:
    """Each worker over a bucket looks at a new catalog or listing once; one of them tells of it."""
    bench = Bench(missing={"one": "no such object"})
    for listing in (False, True):
        bench.serve(ONE, TWO, listing=listing)
        before = bench.looks
        Deferred.fromCoroutine(bench.entries.check(is_remote=True, tells=False))
        assert (bench.looks - before, bench.told) == (1, [])
