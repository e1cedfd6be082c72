"""Files kept open between requests: never older than a second, never lost, never closed under a user."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path
from typing import TypeVar

import attrs
import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from aero_storage.errors import BlobNotFoundError
from aero_storage.storage.local.directory import ImageDirectory
from aero_storage.storage.open_file_cache import (
    CHECK_SECONDS,
    COMPARE_SECONDS,
    FRESH_SECONDS,
    Lease,
    OpenedFile,
    OpenFileCache,
)

_T = TypeVar("_T")


@attrs.define
class Disk:
    """Works at once, or, while `held`, when it is told to."""

    held: bool = False
    jobs: deque[Callable[[], None]] = attrs.field(factory=deque)
    lanes: list[Hashable] = attrs.field(factory=list)

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
        del background
        self.lanes.append(lane)
        cancelled: list[Deferred[_T]] = []
        deferred: Deferred[_T] = Deferred(cancelled.append)

        def perform() -> None:
            try:
                result = work()
            except Exception as error:  # noqa: BLE001
                if not cancelled:
                    deferred.errback(error)
                return
            discard(result) if cancelled else deferred.callback(result)

        self.jobs.append(perform)
        if not self.held:
            self.release()
        return deferred

    def release(self) -> None:
        self.held = False
        while self.jobs:
            self.jobs.popleft()()


@attrs.define
class Bench:
    root: Path
    disk: Disk
    clock: Clock
    files: OpenFileCache

    def find(self, name: str) -> OpenedFile:
        return OpenedFile(ImageDirectory(self.root).open(name), raw=True)

    def open(self, name: str = "disk.img") -> Lease:
        results: list[Lease] = []
        self.files.open(name, lambda: self.find(name), name).addCallback(results.append)
        (lease,) = results
        return lease

    def put(self, data: bytes, name: str = "disk.img") -> None:
        """New content by rename."""
        (self.root / "new").write_bytes(data)
        (self.root / "new").rename(self.root / name)


@pytest.fixture
def bench(root: Path) -> Iterator[Bench]:
    disk, clock = Disk(), Clock()
    bench = Bench(root, disk, clock, OpenFileCache(disk, clock, 3))
    yield bench
    bench.files.close()
    disk.release()
    assert clock.getDelayedCalls() == []


def failure_of(opening: Deferred[Lease]) -> BaseException:
    leases: list[Lease] = []
    failures: list[BaseException] = []
    opening.addCallbacks(leases.append, lambda failure: failures.append(failure.value))
    assert not leases
    return failures[0]


def content(lease: Lease | None) -> bytes:
    assert lease is not None
    data = lease.read(0, lease.status.size)
    lease.close()
    return data


def test_once_opened(bench: Bench, opened: Callable[[], list[str]]) -> None:
    """What was opened once is there at once for the next, through the same descriptor."""
    assert bench.files.lease("disk.img") is None
    assert content(bench.open()) == b"0123456789"
    bench.disk.held = True
    first, second = bench.files.lease("disk.img"), bench.files.lease("disk.img")
    assert (content(first), content(second)) == (b"0123456789", b"0123456789")
    assert len(opened()) == 1
    assert not bench.disk.jobs


@pytest.mark.parametrize("wait", [0.0, CHECK_SECONDS / 2, CHECK_SECONDS + 0.01, FRESH_SECONDS + 0.01, 3.0])
def test_replaced_file_shows_within_a_second(bench: Bench, wait: float) -> None:
    """However it is used meanwhile, nobody gets a file that was replaced a second before."""
    bench.open().close()
    bench.clock.advance(wait)
    bench.put(b"new content")
    for _ in range(10):
        lease = bench.files.lease("disk.img")
        if lease is not None:
            lease.close()
        bench.clock.advance(0.1)
    found = bench.files.lease("disk.img")
    assert found is None or content(found) == b"new content"
    assert content(bench.open()) == b"new content"


def test_in_use_it_stays_at_hand(bench: Bench) -> None:
    """A file that is asked for all the time is looked at behind the scenes, and never has to be waited for."""
    bench.open().close()
    for _ in range(100):
        bench.clock.advance(0.1)
        assert content(bench.files.lease("disk.img")) == b"0123456789"


def test_a_disk_that_does_not_answer(bench: Bench) -> None:
    """While a look takes its time, the file goes out for the rest of its second, and then not any more."""
    bench.open().close()
    bench.disk.held = True
    bench.clock.advance(CHECK_SECONDS + 0.01)
    for _ in range(5):
        assert content(bench.files.lease("disk.img")) == b"0123456789"
    assert len(bench.disk.jobs) == 1
    bench.clock.advance(FRESH_SECONDS + 0.01)
    assert bench.files.lease("disk.img") is None
    bench.disk.release()
    # The look began before that second was over, so it says nothing of now.
    assert bench.files.lease("disk.img") is None


def test_a_file_changed_in_place(bench: Bench) -> None:
    """It is not handed out for longer than a glance at its size and mtime holds."""
    bench.open().close()
    assert content(bench.files.lease("disk.img")) == b"0123456789"
    with (bench.root / "disk.img").open("ab") as image:
        image.write(b"more")
    bench.clock.advance(COMPARE_SECONDS * 1.01)
    assert bench.files.lease("disk.img") is None


def test_changed_in_place_under_a_constant_mtime(bench: Bench) -> None:
    """A file that is written in place and keeps the mtime of its build system has another tag within a second."""
    path = bench.root / "disk.img"
    os.utime(path, ns=(10**9, 10**9))
    before = bench.open()
    before.close()
    path.write_bytes(b"9876543210")
    os.utime(path, ns=(10**9, 10**9))
    bench.clock.advance(CHECK_SECONDS + 0.1)
    stale = bench.files.lease("disk.img")
    assert stale is not None
    stale.close()
    after = bench.files.lease("disk.img")
    assert after is not None
    assert after.status.validators.etag != before.status.validators.etag
    after.close()


def test_a_clock_that_is_set_back(bench: Bench) -> None:
    """It keeps no file that was replaced in use: what was looked at in the future was not looked at."""
    bench.open().close()
    bench.put(b"new content")
    bench.clock.rightNow -= 3600
    assert bench.files.lease("disk.img") is None
    assert content(bench.open()) == b"new content"


def test_users_of_a_replaced_file(bench: Bench, opened: Callable[[], list[str]]) -> None:
    """Who has the old file keeps it to the end; then it is closed."""
    old = bench.open()
    bench.put(b"new content")
    new = bench.open()
    assert (old.read(0, 10), new.read(0, 11)) == (b"0123456789", b"new content")
    assert len(opened()) == 2
    old.close()
    old.close()
    assert [Path(name).name for name in opened()] == ["disk.img"]
    new.close()


def test_removed_file(bench: Bench, opened: Callable[[], list[str]]) -> None:
    """A file that is gone is given back once that is noticed, so that its space is free."""
    bench.open().close()
    (bench.root / "disk.img").unlink()
    bench.clock.advance(CHECK_SECONDS + 0.01)
    lease = bench.files.lease("disk.img")
    assert lease is not None
    lease.close()
    assert bench.files.lease("disk.img") is None
    assert opened() == []


def test_idle_files_are_closed(bench: Bench, opened: Callable[[], list[str]]) -> None:
    """What nobody asks for any more is closed after some seconds, and not under a user."""
    lease = bench.open()
    bench.clock.pump([1.0] * 30)
    assert len(opened()) == 1
    lease.close()
    bench.clock.pump([1.0] * 12)
    assert opened() == []
    assert bench.clock.getDelayedCalls() == []


def test_limit(bench: Bench, opened: Callable[[], list[str]]) -> None:
    """No more files than allowed are kept: those that were asked for longest ago go first."""
    for number in range(5):
        (bench.root / f"{number}").write_bytes(b"x")
        bench.open(f"{number}").close()
    assert sorted(Path(name).name for name in opened()) == ["2", "3", "4"]


@pytest.mark.parametrize("change", ["truncate", "rewrite", "grow"])
def test_changed_in_place(bench: Bench, change: str) -> None:
    """A file that was written in place is opened anew at once: what its headers would promise is gone."""
    bench.open().close()
    path = bench.root / "disk.img"
    if change == "truncate":
        os.truncate(path, 3)
    else:
        path.write_bytes(b"9876543210" if change == "rewrite" else b"0123456789+")
    os.utime(path, ns=(1, 1))
    assert bench.files.lease("disk.img") is None
    assert content(bench.open()) == path.read_bytes()


def test_each_waits_for_its_own_disk(bench: Bench) -> None:
    """Whatever is done with a file that was opened waits for the disk on which it was found."""
    device = (bench.root / "disk.img").stat().st_dev
    bench.open().close()
    bench.clock.advance(CHECK_SECONDS + 0.01)
    content(bench.files.lease("disk.img"))
    bench.clock.pump([1.0] * 12)
    assert bench.files.lease("disk.img") is None
    assert bench.disk.lanes == [None, *[device] * (len(bench.disk.lanes) - 1)]
    assert len(bench.disk.lanes) >= 3


def test_remote_files_are_not_asked(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a file for which another machine answers, nothing is asked on the reactor's thread; threads look at it."""
    monkeypatch.setattr("aero_storage.storage.local.directory.is_network_filesystem", lambda _: True)
    bench.open().close()
    bench.put(b"new content")

    def fstat(_: int) -> os.stat_result:
        raise AssertionError("asked")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", fstat)
        bench.disk.held = True
        bench.clock.advance(CHECK_SECONDS + 0.01)
        lease = bench.files.lease("disk.img")
        assert lease is not None
        assert lease.file is None
        lease.close()
    bench.disk.release()
    assert content(bench.files.lease("disk.img")) == b"new content"


def test_opened_twice_at_once(bench: Bench, opened: Callable[[], list[str]]) -> None:
    """Two that open the same file at the same time end up with one descriptor."""
    bench.disk.held = True
    found: list[Lease] = []
    for _ in range(2):
        bench.files.open("disk.img", lambda: bench.find("disk.img"), "disk.img").addCallback(found.append)
    bench.disk.release()
    assert len(opened()) == 1
    assert [content(lease) for lease in found] == [b"0123456789"] * 2


def test_cancelled(bench: Bench, opened: Callable[[], list[str]]) -> None:
    """What is opened for nobody is closed."""
    bench.disk.held = True
    opening = bench.files.open("disk.img", lambda: bench.find("disk.img"), "disk.img")
    opening.cancel()
    assert isinstance(failure_of(opening), CancelledError)
    bench.disk.release()
    assert opened() == []


def test_failure(bench: Bench) -> None:
    """What cannot be opened fails as it does, and is not kept."""
    opening = bench.files.open("no", lambda: bench.find("no"), "no")
    assert isinstance(failure_of(opening), BlobNotFoundError)
    assert bench.files.lease("no") is None


def test_close(bench: Bench, opened: Callable[[], list[str]]) -> None:
    """At the end all is given back; what is in use, by its user."""
    lease = bench.open()
    bench.files.close()
    assert len(opened()) == 1
    assert content(lease) == b"0123456789"
    assert opened() == []
