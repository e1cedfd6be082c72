"""A decision that is kept for ranges holds only while all that it hangs on is as it was."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest
from tests.delivery.conftest import Ask, Bench, FakeBlob
from twisted.internet.task import Clock

from aero_storage.catalog.current import CurrentCatalog
from aero_storage.catalog.model import Catalog, Image
from aero_storage.catalog.reader import Reading
from aero_storage.delivery.admission import Admission
from aero_storage.delivery.boot_profiles import ProfileLinks
from aero_storage.delivery.byte_handler import Memo
from aero_storage.delivery.exchange import Ending
from aero_storage.delivery.fast_range import FastRange
from aero_storage.storage.store import BlobRequest

DATE = 1_000.0


@attrs.define(eq=False)
class Kept:
    """A file that is remembered, or no more."""

    file: object | None = "the open file"

    def current_file(self, _now: float) -> object | None:
        return self.file

    def lease(self) -> FakeBlob:
        raise AssertionError("nobody asks")


@attrs.define(eq=False)
class Decided:
    """What a fast range sees of a decision."""

    date: int = int(DATE)
    representation: object = attrs.field(factory=type("Shown", (), {"size": 10}))


@attrs.define(eq=False)
class World:
    """All that the decision hangs on."""

    catalog: CurrentCatalog = attrs.field(factory=CurrentCatalog)
    profiles: ProfileLinks = attrs.field(factory=ProfileLinks)
    admission: Admission = attrs.field(factory=lambda: Admission(1, 1.0, Clock()))
    kept: Kept = attrs.field(factory=Kept)

    def load(self, *images: Image) -> None:
        self.catalog.take(Reading(Catalog(images), None, is_new=True))

    def decide(self) -> FastRange:
        self.load()
        marks = self.catalog.current.mark, self.profiles.mark
        more = self.catalog, self.profiles, self.admission, *marks
        return FastRange(Decided(), self.kept, "v-1", 100.0, *more)  # type: ignore[arg-type]


def _nothing(_world: World) -> None:
    pass


def _other_catalog(world: World) -> None:
    world.load(Image("other", "other.img", "other"))


def _other_profiles(world: World) -> None:
    world.profiles.mark = object()


def _full(world: World) -> None:
    assert world.admission.try_acquire("192.0.2.1") is not None


def _closed(world: World) -> None:
    world.kept.file = None


@pytest.mark.parametrize(
    ("happens", "now", "holds"),
    [
        (_nothing, DATE, True),
        (_nothing, DATE - 1, False),
        (_other_catalog, DATE, False),
        (_other_profiles, DATE, False),
        (_full, DATE, False),
        (_closed, DATE, False),
    ],
)
def test_a_change_ends_the_fast_way(happens: Callable[[World], None], now: float, *, holds: bool) -> None:
    """Another catalog, other profiles, no place, a file that is kept no more, a clock that was set back."""
    world = World()
    fast = world.decide()
    happens(world)
    assert (fast.file_now(now, 0.0) is not None) is holds


def test_a_request_is_seen_by_the_profiles() -> None:
    """They are looked at anew while anybody asks for images."""
    world = World()
    world.decide().file_now(DATE, 0.0)
    assert world.profiles.asked


def test_a_file_that_was_closed_and_is_open_again_goes_the_fast_way(ask: Ask, bench: Bench) -> None:
    """The decision is for the same version of the file, and stays; the open file is another."""
    image = Image("disk", "disk.img", "disk")
    bench.current_catalog.take(Reading(Catalog((image,)), None))
    handler, memo, blob = bench.handler(), Memo(is_kept=True), bench.store.put("disk.img")
    bench.store.cached[BlobRequest(image)] = blob

    def kept_after(kept: Kept) -> object:
        blob.remembered = kept  # type: ignore[assignment]
        exchange = bench.exchange(ask("/v1/images/disk"))
        assert handler.answer_now(exchange, "bytes=0-0", memo) is not None
        exchange.end(Ending.COMPLETE, 206, 1)
        return None if memo.fast is None else memo.fast.file

    first, second = Kept(), Kept()
    assert kept_after(first) is first
    decision = memo.decision
    assert kept_after(second) is second
    assert memo.decision is decision
