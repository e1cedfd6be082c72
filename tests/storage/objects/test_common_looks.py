"""Looks that workers have in common: one looks, the others take what it saw, and none waits for ever."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import attrs
import pytest
from tests.storage.objects.fake_origin import FakeOrigin

from aero_storage.errors import OriginDeniedError, OriginUnavailableError
from aero_storage.storage.objects.common_looks import HEAD_PATIENCE, CommonLooks
from aero_storage.storage.objects.looks_file import LooksFile, OpenLooks, Place, Record
from aero_storage.storage.objects.origin import Listed, ObjectStatus, Pin

HOLDING = """
import os, sys, time
from aero_storage.linux.ofd_locks import lock_exclusive
descriptor = os.open(f"/proc/self/fd/{sys.argv[1]}", os.O_RDWR)
assert lock_exclusive(descriptor, int(sys.argv[2]))
print("!", end="", flush=True)
time.sleep(10)
"""
"""A worker that takes the lock of a place, and hangs."""


@attrs.define(eq=False)
class SlowOrigin(FakeOrigin):
    """Its HEADs wait until they may answer."""

    begun: threading.Event = attrs.field(factory=threading.Event)
    may_answer: threading.Event = attrs.field(factory=threading.Event)

    def head(self, key: str) -> ObjectStatus:
        self.begun.set()
        assert self.may_answer.wait(10)
        return super().head(key)


class ReadOnlyLooks(LooksFile):
    """A file in which nothing can be locked or written."""

    @contextmanager
    def opened(self) -> Iterator[OpenLooks]:
        descriptor = os.open(f"/proc/self/fd/{self.descriptor}", os.O_RDONLY)
        try:
            yield OpenLooks(descriptor)
        finally:
            os.close(descriptor)


@attrs.define(eq=False)
class SteppedTime:
    """A steady clock that goes on while somebody sleeps."""

    now: float = 100.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def file() -> Iterator[LooksFile]:
    made = LooksFile.create()
    yield made
    os.close(made.descriptor)


def looks_of(origin: FakeOrigin, file: LooksFile, times: SteppedTime | None = None) -> CommonLooks:
    """Return the looks of a worker, whose descriptor is its own."""
    times = times or SteppedTime()
    return CommonLooks(origin, file, times.clock, times.sleep)


def listed(looks: CommonLooks, since: float) -> list[Listed]:
    return [*looks.list("", delimiter=True, since=since).value]


def test_taken_from_another(file: LooksFile) -> None:
    """A look that is new enough serves all; what it saw is the same, keys of any characters and many of them too."""
    origin, times = FakeOrigin(), SteppedTime()
    for key in ("a.img", "ü\u2028\n\x7f.img", "sub/x", *(f"{number:05}" for number in range(2500))):
        origin.bucket.put(key, key.encode())
    one, other = (looks_of(origin, file, times) for _ in range(2))
    assert listed(one, 0) == listed(other, 0) == [*origin.list("", delimiter=True)]
    assert one.head("a.img", 0) == other.head("a.img", 0)
    assert other.head("a.img", 0).value == origin.head("a.img")
    assert one.head("gone", 0).value is other.head("gone", 0).value is None
    assert one.read("a.img", 100, 0) == other.read("a.img", 100, 0)
    asked = [operation for operation, _ in origin.asked]
    assert asked == ["list", "list", "head", "head", "head", "get"]  # the second list, and the second head, are ours


def test_size_that_reads_are_bound_to(file: LooksFile) -> None:
    """A look that was taken from another worker binds reads to the size that was seen, too."""
    origin, times = FakeOrigin(), SteppedTime()
    seen = ObjectStatus("a", 5, Pin('"1"', "v", 5), 7)
    origin.head = lambda key: seen  # type: ignore[method-assign]  # noqa: ARG005 - the name is the protocol's
    one, other = (looks_of(origin, file, times) for _ in range(2))
    for looks in (one, other):
        found = looks.head("a", 0).value
        assert found is not None
        assert (found, found.pin.size) == (seen, 5)


def test_too_old(file: LooksFile) -> None:
    """A look that began before `since` is made anew, and serves the others from then on."""
    origin, times = FakeOrigin(), SteppedTime()
    origin.bucket.put("a", b"x")
    one, other = (looks_of(origin, file, times) for _ in range(2))
    assert one.head("a", 95).began == 100
    times.now = 103
    assert other.head("a", 100).began == 100
    assert other.head("a", 101).began == 103
    assert one.head("a", 101).began == 103
    assert len(origin.asked) == 2


def test_another_name_at_the_same_place(file: LooksFile) -> None:
    """Two names that share a place replace each other's records, and never take them."""
    one = Place.small("one")
    other = attrs.evolve(Place.small("other"), start=one.start)
    with file.opened() as opened:
        opened.write(one, Record(1.0, 2.0, False, b"content"))  # noqa: FBT003
        assert opened.read(one) == Record(1.0, 2.0, False, b"content")  # noqa: FBT003
        assert opened.read(other) is None


def test_directories_have_places_of_their_own(file: LooksFile) -> None:
    """The listings of some directories do not replace each other: each is made once for all workers."""
    origin, directories = FakeOrigin(), [f"images-{number}" for number in range(40)]
    for directory in directories:
        origin.bucket.put(f"{directory}/disk", b"x")
    for looks in [looks_of(origin, file) for _ in range(3)]:
        for directory in directories:
            (found,) = looks.list(directory, delimiter=True, since=0).value
            assert found.key == f"{directory}/disk"
    assert len(origin.asked) == len(directories)


@pytest.mark.parametrize("at", [0, 20, 40, 60])
def test_torn_record(file: LooksFile, at: int) -> None:
    """A record that a killed worker has half written is none."""
    place = Place.small("one")
    with file.opened() as opened:
        opened.write(place, Record(1.0, 2.0, False, b"content" * 9))  # noqa: FBT003
    os.pwrite(file.descriptor, bytes([os.pread(file.descriptor, 1, place.start + at)[0] ^ 1]), place.start + at)
    with file.opened() as opened:
        assert opened.read(place) is None


def test_too_large_to_be_shared(file: LooksFile) -> None:
    """What has no room in its place is looked at by each."""
    place = Place.small("one")
    with file.opened() as opened:
        opened.write(place, Record(1.0, 2.0, False, b"x" * 1000))  # noqa: FBT003
        assert opened.read(place) is None


def test_a_file_that_cannot_be_used(file: LooksFile) -> None:
    """Where there is no lock, or no memory, each looks for itself."""
    origin = FakeOrigin()
    origin.bucket.put("a", b"x")
    looks = CommonLooks(origin, ReadOnlyLooks(file.descriptor), SteppedTime().clock)
    assert looks.head("a", 0) == looks.head("a", 0)
    assert len(origin.asked) == 2


@pytest.mark.parametrize("kind", [OriginUnavailableError, OriginDeniedError])
def test_failures(file: LooksFile, kind: type[Exception]) -> None:
    """A failure counts for those who waited for it, or who say since when; the next one looks anew."""
    origin, times = FakeOrigin(error=kind("s3://images: no")), SteppedTime()
    one, other = (looks_of(origin, file, times) for _ in range(2))
    with pytest.raises(kind, match="s3://images: no"):
        one.head("a", 0)
    times.now += 1
    with pytest.raises(kind, match="s3://images: no"):
        other.head("a", 0, failed_since=99)
    assert len(origin.asked) == 1
    with pytest.raises(kind):
        other.head("a", 0)
    assert len(origin.asked) == 2


def test_one_look_at_a_time(file: LooksFile) -> None:
    """Those who ask during a look wait for it, and make none of their own."""
    origin = SlowOrigin()
    origin.bucket.put("a", b"x")
    workers = [CommonLooks(origin, file, time.monotonic) for _ in range(4)]
    since, seen = time.monotonic(), []
    threads = [threading.Thread(target=lambda one=one: seen.append(one.head("a", since))) for one in workers]
    for thread in threads:
        thread.start()
    assert origin.begun.wait(10)
    origin.may_answer.set()
    for thread in threads:
        thread.join(10)
    assert len(seen) == 4
    assert origin.asked == [("head", "a")]


def test_worker_that_hangs_in_a_look(file: LooksFile) -> None:
    """One that keeps the lock delays the others for a second, and no longer: they look for themselves."""
    origin, times = FakeOrigin(), SteppedTime()
    origin.bucket.put("a", b"x")
    place = Place.small(f"head {origin.identity} a")
    with file.opened() as hanging:
        assert hanging.lock(place)
        assert looks_of(origin, file, times).head("a", 0).value is not None
    assert HEAD_PATIENCE <= times.now - 100 < HEAD_PATIENCE + 0.1


def test_worker_that_is_killed_in_a_look(file: LooksFile) -> None:
    """One that is killed with the lock in its hands holds nobody up: the kernel gives the lock back."""
    origin = FakeOrigin()
    origin.bucket.put("a", b"x")
    place = Place.small(f"head {origin.identity} a")
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(file.descriptor), str(place.start)],
        pass_fds=[file.descriptor],
        stdout=subprocess.PIPE,
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.read(1) == b"!"
        threading.Timer(0.05, child.kill).start()
        began = time.monotonic()
        assert CommonLooks(origin, file, time.monotonic).head("a", began).value is not None
        assert time.monotonic() - began < HEAD_PATIENCE
