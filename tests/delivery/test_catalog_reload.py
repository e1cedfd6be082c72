"""The watch over the catalog: when it reads, what becomes the catalog in force, and what it tells log and metrics."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest
from tests.delivery.conftest import HeldDisk
from twisted.internet.defer import CancelledError, Deferred

from aero_storage.catalog.directory import DirectoryDocuments
from aero_storage.catalog.reader import CatalogReader
from aero_storage.errors import CatalogError
from aero_storage.service.catalog_reload import CatalogReloader
from aero_storage.service.images_root import POLL_SECONDS

if TYPE_CHECKING:
    from tests.delivery.conftest import Bench, Drive


NOW = 1_700_000_000.0
GOOD = '[{"id": "a", "file": "a.img", "name": "A"}]'
BETTER = '[{"id": "a", "file": "a.img", "name": "A"}, {"id": "b", "file": "b.img", "name": "B"}]'
BROKEN = '[{"id": "a"}]'
WORSE = "[{"
RELOADED_AT = "aero_storage_catalog_reload_last_success_timestamp_seconds"


@attrs.define(eq=False)
class Manifest:
    """The manifest on disk, whose every change has a new time."""

    path: Path
    changes: int = 0

    def write(self, text: str) -> None:
        self.changes += 1
        self.path.write_text(text, encoding="utf-8")
        os.utime(self.path, ns=(0, self.changes * 10**9))


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return Manifest(tmp_path / "manifest.json")


@pytest.fixture
def watch(tmp_path: Path, bench: Bench) -> CatalogReloader:
    return CatalogReloader(
        CatalogReader(DirectoryDocuments(tmp_path), require_manifest=False),
        bench.current_catalog,
        bench.disk,
        bench.metrics,
        bench.log,
        lambda: NOW,
    )


@attrs.define(eq=False)
class Told:
    """What log and metrics were told since it was last asked for."""

    bench: Bench
    before: tuple[float, ...] = (0.0, 0.0, 0.0)

    def since(self) -> tuple[list[str], tuple[float, ...]]:
        """Messages in the log; then successes, failures and manifest errors counted."""
        messages = [message for _, message, _ in self.bench.log.events]
        self.bench.log.events.clear()
        now = (
            self.bench.count("aero_storage_catalog_reload_total", result="success"),
            self.bench.count("aero_storage_catalog_reload_total", result="failure"),
            self.bench.count("store_errors_total", kind="manifest"),
        )
        new = tuple(after - before for after, before in zip(now, self.before, strict=True))
        self.before = now
        return messages, new


@pytest.fixture
def told(bench: Bench) -> Told:
    return Told(bench)


LOADED = (["catalog loaded"], (1, 0, 0))
INVALID = (["catalog invalid"], (0, 1, 1))
NOTHING: tuple[list[str], tuple[int, ...]] = ([], (0, 0, 0))


def test_load(watch: CatalogReloader, manifest: Manifest, bench: Bench, told: Told) -> None:
    """The first reading happens at once, without the disk's threads, and is told."""
    manifest.write(BETTER)
    watch.load()
    assert [image.id for image in bench.current_catalog.current.images] == ["a", "b"]
    assert bench.log.events == [("info", "catalog loaded", {"images": 2, "changed": True})]
    assert bench.count(RELOADED_AT) == NOW
    assert told.since() == LOADED
    assert bench.disk.works == 0


def test_load_of_a_broken_catalog(watch: CatalogReloader, manifest: Manifest, bench: Bench, told: Told) -> None:
    """A catalog that is broken from the start is an error in log and metrics; none is in force."""
    manifest.write(BROKEN)
    watch.load()
    ((level, _, fields),) = bench.log.events
    assert (level, fields["serving"]) == ("error", "none")
    assert "file: missing" in str(fields["reason"])
    assert told.since() == INVALID
    assert bench.count(RELOADED_AT) == 0
    with pytest.raises(CatalogError, match="file: missing"):
        _ = bench.current_catalog.current


def test_nothing_new(watch: CatalogReloader, manifest: Manifest, bench: Bench, drive: Drive, told: Told) -> None:
    """A check that finds nothing new tells nothing; it looks off the reactor's thread."""
    manifest.write(GOOD)
    watch.load()
    told.since()
    drive(watch.check())
    assert told.since() == NOTHING
    assert bench.disk.works == 1


def test_change(watch: CatalogReloader, manifest: Manifest, bench: Bench, drive: Drive, told: Told) -> None:
    """A new version that is good replaces the old one, and is told."""
    manifest.write(GOOD)
    watch.load()
    told.since()
    manifest.write(BETTER)
    drive(watch.check())
    assert len(bench.current_catalog.current.images) == 2
    assert told.since() == LOADED


def test_broken_change(watch: CatalogReloader, manifest: Manifest, bench: Bench, drive: Drive, told: Told) -> None:
    """A new version that is broken does not replace the good one; that is told once, not with each look."""
    manifest.write(GOOD)
    watch.load()
    told.since()
    manifest.write(BROKEN)
    drive(watch.check())
    assert [image.id for image in bench.current_catalog.current.images] == ["a"]
    assert bench.log.events[0][2]["serving"] == "the last good one"
    assert told.since() == INVALID
    drive(watch.check())
    assert told.since() == NOTHING
    manifest.write(WORSE)
    drive(watch.check())
    assert told.since() == INVALID


@pytest.mark.parametrize("text", [GOOD, BETTER])
def test_recovery(watch: CatalogReloader, manifest: Manifest, drive: Drive, told: Told, text: str) -> None:
    """When a broken catalog is good again, the same as before or another, that is told."""
    manifest.write(GOOD)
    watch.load()
    manifest.write(BROKEN)
    drive(watch.check())
    told.since()
    manifest.write(text)
    drive(watch.check())
    assert told.since() == LOADED


def test_catalog_that_disappears(
    watch: CatalogReloader, manifest: Manifest, *, tmp_path: Path, bench: Bench, drive: Drive, told: Told
) -> None:
    """A manifest that disappears counts as an invalid one; the old one serves on, and no listing takes its place."""
    (tmp_path / "a.img").write_bytes(b"x")
    manifest.write(BETTER)
    watch.load()
    told.since()
    manifest.path.unlink()
    drive(watch.check())
    assert told.since() == INVALID
    assert not bench.current_catalog.current.listing
    assert len(bench.current_catalog.current.images) == 2


def test_asked(watch: CatalogReloader, manifest: Manifest, bench: Bench, drive: Drive, told: Told) -> None:
    """When the operator asks, the catalog is read in any case and the answer is in the log, changed or not."""
    manifest.write(GOOD)
    watch.load()
    told.since()
    drive(watch.check(asked=True))
    assert bench.log.events == [("info", "catalog loaded", {"images": 1, "changed": False})]
    assert told.since() == LOADED


def test_asked_while_broken(
    watch: CatalogReloader, manifest: Manifest, bench: Bench, drive: Drive, told: Told
) -> None:
    """When the operator asks and the catalog is as broken as before, the log says so again."""
    manifest.write(GOOD)
    watch.load()
    manifest.write(BROKEN)
    drive(watch.check())
    told.since()
    drive(watch.check(asked=True))
    assert [(level, message) for level, message, _ in bench.log.events] == [("error", "catalog invalid")]


def test_defect(watch: CatalogReloader, manifest: Manifest, bench: Bench, drive: Drive, told: Told) -> None:
    """A failure that nobody foresaw is told with its traceback; the catalog stays, and the watch goes on."""
    manifest.write(GOOD)
    watch.load()
    told.since()
    bench.disk.error = RuntimeError("a defect")
    drive(watch.check())
    ((level, message, fields),) = bench.log.events
    assert (level, message) == ("critical", "reading the catalog failed")
    assert "RuntimeError: a defect" in str(fields["traceback"])
    assert bench.current_catalog.current.images
    told.since()
    manifest.write(BETTER)
    drive(watch.check())
    assert told.since() == LOADED


def test_one_look_at_a_time(tmp_path: Path, manifest: Manifest, bench: Bench) -> None:
    """A check that comes while another one is under way waits for it: readings never overtake each other."""
    disk = HeldDisk()
    watch = CatalogReloader(
        CatalogReader(DirectoryDocuments(tmp_path), require_manifest=False),
        bench.current_catalog,
        disk,
        bench.metrics,
        bench.log,
        lambda: NOW,
    )
    manifest.write(GOOD)
    first, second = (Deferred.fromCoroutine(watch.check()) for _ in range(2))
    assert len(disk.waiting) == 1
    disk.waiting.pop()()
    assert first.called
    manifest.write(BETTER)
    disk.waiting.pop()()
    assert second.called
    assert len(bench.current_catalog.current.images) == 2


@pytest.mark.parametrize("which", [0, 1])
def test_cancelled_look(tmp_path: Path, manifest: Manifest, bench: Bench, which: int) -> None:
    """A check that is cancelled, at work or waiting, keeps no later one from its turn."""
    disk = HeldDisk()
    watch = CatalogReloader(
        CatalogReader(DirectoryDocuments(tmp_path), require_manifest=False),
        bench.current_catalog,
        disk,
        bench.metrics,
        bench.log,
        lambda: NOW,
    )
    manifest.write(GOOD)
    checks = [Deferred.fromCoroutine(watch.check()) for _ in range(3)]
    checks[which].addErrback(lambda failure: failure.trap(CancelledError) and None)
    checks[which].cancel()
    while disk.waiting:
        disk.waiting.pop(0)()
    assert all(check.called for check in checks)
    assert bench.current_catalog.has_catalog


def test_look_for_a_missing_object(watch: CatalogReloader, manifest: Manifest, bench: Bench) -> None:
    """A poll, which may believe what was seen before, does not stand for the look before a 404; such a look does."""
    manifest.write(GOOD)
    Deferred.fromCoroutine(watch.check())
    manifest.write(BETTER)
    Deferred.fromCoroutine(watch.look_anew())
    assert len(bench.current_catalog.current.images) == 2
    manifest.write(GOOD)
    Deferred.fromCoroutine(watch.look_anew())
    assert len(bench.current_catalog.current.images) == 2


def test_pace() -> None:
    """A change shows within a second: the watch looks at least twice in that time."""
    assert POLL_SECONDS <= 0.5
