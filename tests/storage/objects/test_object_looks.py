"""What is remembered of objects, for how long, and what happens while the origin does not answer."""

from __future__ import annotations

import os
from typing import TypeVar

import attrs
import pytest
from tests.storage.objects.fake_origin import FakeOrigin, Threads, common_looks
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from aero_storage.errors import OriginDeniedError, OriginUnavailableError
from aero_storage.storage.objects.looks_file import LooksFile
from aero_storage.storage.objects.object_looks import Look, ObjectLooks
from aero_storage.storage.objects.shared_look import LATE_SECONDS

T = TypeVar("T")
CHUNK = "chunked/win98/v1/chunks/00000000.bin"


@attrs.define(eq=False)
class Bench:
    origin: FakeOrigin = attrs.field(factory=FakeOrigin)
    threads: Threads = attrs.field(factory=Threads)
    looks: ObjectLooks = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.looks = ObjectLooks(
            common_looks(self.origin, self.threads.clock), self.threads.disk, self.threads.clock, 5.0, 3600.0
        )
        self.origin.bucket.put("disk.img", b"one")

    @property
    def heads(self) -> int:
        return len(self.origin.asked)

    def look(self, key: str = "disk.img") -> Look:
        return result_of(self.looks.look(key))

    def pass_(self, seconds: float) -> None:
        self.threads.clock.advance(seconds)


def result_of(deferred: Deferred[T]) -> T:
    results: list[T | Failure] = []
    deferred.addBoth(results.append)
    assert results, "it is still waiting"
    result = results[0]
    if isinstance(result, Failure):
        result.raiseException()
    return result


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_look_is_believed(bench: Bench) -> None:
    """One HEAD serves all who ask for `refresh_secs`, at once."""
    first = bench.look()
    bench.pass_(2.4)
    assert bench.looks.recall("disk.img") is first
    assert bench.look() is first
    assert bench.heads == 1


def test_look_is_renewed_in_time(bench: Bench) -> None:
    """What is in use is looked at again before it is too old, and nobody waits for that."""
    first = bench.look()
    bench.pass_(3)
    bench.threads.pool.held = True
    assert bench.looks.recall("disk.img") is first
    bench.threads.pool.release()
    bench.pass_(4.9)
    assert bench.looks.recall("disk.img") is first
    assert bench.heads == 3


def test_replaced_object_shows(bench: Bench) -> None:
    """An object that was replaced has another status after `refresh_secs`; one that was not has the very same."""
    first = bench.look()
    bench.pass_(5.1)
    assert bench.look().status is first.status
    bench.origin.bucket.put("disk.img", b"two")
    bench.pass_(5.1)
    second = bench.look()
    assert second.status is not first.status
    assert second.status is not None
    assert first.status is not None
    assert second.status.validators.etag != first.status.validators.etag


def test_look_by_request_of_the_operator(bench: Bench) -> None:
    """After SIGHUP nothing is believed that was seen before."""
    bench.look()
    bench.pass_(1)
    bench.origin.bucket.put("disk.img", b"two")
    bench.looks.look_anew()
    assert bench.looks.recall("disk.img") is None
    found = bench.look().found
    assert found is not None
    assert found.pin.tag == bench.origin.head("disk.img").pin.tag


def test_immutable_keys_are_asked_once(bench: Bench) -> None:
    """A chunk under a version is never looked at again."""
    bench.origin.bucket.put(CHUNK, b"chunk")
    look = bench.look(CHUNK)
    bench.pass_(1e6)
    assert bench.looks.recall(CHUNK) is look
    assert bench.heads == 1


def test_missing_objects_are_remembered(bench: Bench) -> None:
    """What does not exist is not asked for each time, and shows when it comes, chunks too."""
    for key in ("gone.img", CHUNK):
        assert bench.look(key).found is None
        assert bench.look(key).found is None
    assert bench.heads == 2
    bench.origin.bucket.put(CHUNK, b"chunk")
    bench.pass_(5.1)
    assert bench.look(CHUNK).found is not None


def test_memory_is_bounded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The least recently used looks go."""
    monkeypatch.setattr("aero_storage.storage.objects.object_looks._MAX_LOOKS", 2)
    bench.look("a")
    bench.look("b")
    bench.looks.recall("a")
    bench.look("c")
    assert bench.looks.recall("a") is not None
    assert bench.looks.recall("b") is None


def test_one_head_for_all(bench: Bench) -> None:
    """Requests that come while a HEAD is under way share it, and one that leaves does not end it."""
    bench.threads.pool.held = True
    first, second = bench.looks.look("disk.img"), bench.looks.look("disk.img")
    first.cancel()
    with pytest.raises(CancelledError):
        result_of(first)
    bench.threads.pool.release()
    assert result_of(second).found is not None
    assert bench.heads == 1


def test_origin_away(bench: Bench) -> None:
    """While the origin does not answer, what was seen before serves on; after `stale_secs` it does not."""
    first = bench.look()
    bench.origin.away()
    bench.pass_(100)
    assert bench.look() is first
    assert bench.looks.recall("disk.img") is first
    bench.pass_(3501)
    assert bench.looks.recall("disk.img") is None
    with pytest.raises(OriginUnavailableError):
        bench.look()


def test_origin_away_and_nothing_seen(bench: Bench) -> None:
    """What was never seen cannot be served; nor can the absence of an object."""
    bench.look("gone.img")
    bench.origin.away()
    bench.pass_(10)
    for key in ("disk.img", "gone.img"):
        with pytest.raises(OriginUnavailableError):
            bench.look(key)


def test_origin_that_hangs(bench: Bench) -> None:
    """A HEAD without an answer is awaited for a moment by the first request, and by no other."""
    first = bench.look()
    bench.pass_(6)
    bench.threads.pool.held = True
    waiting = bench.looks.look("disk.img")
    bench.pass_(LATE_SECONDS + 0.1)
    assert result_of(waiting) is first
    assert bench.looks.recall("disk.img") is first
    bench.origin.bucket.put("disk.img", b"two")
    bench.threads.pool.release()
    assert bench.looks.recall("disk.img") is not first


def test_access_denied(bench: Bench) -> None:
    """Somebody who is denied access is served nothing that was seen before."""
    bench.look()
    bench.pass_(6)
    bench.origin.error = OriginDeniedError("AccessDenied")
    with pytest.raises(OriginDeniedError):
        bench.look()


def test_forgotten_object(bench: Bench) -> None:
    """A look that began before an object was found changed says nothing about it."""
    bench.threads.pool.held = True
    before = bench.looks.look("disk.img")
    bench.looks.forget("disk.img")
    after = bench.looks.look("disk.img")
    bench.threads.pool.step()
    assert result_of(before).found is not None
    bench.origin.bucket.put("disk.img", b"two")
    bench.threads.pool.release()
    found = result_of(after).found
    assert found is not None
    assert found.pin.tag == bench.origin.bucket.get("disk.img").tag  # type: ignore[union-attr]
    assert bench.looks.recall("disk.img") is result_of(bench.looks.look("disk.img"))


def test_the_age_of_what_another_worker_has_seen(bench: Bench) -> None:
    """A look that was taken over is as old as it is: no change is missing for longer than `refresh_secs`."""
    file = LooksFile.create()
    one, other = (
        ObjectLooks(
            common_looks(bench.origin, bench.threads.clock, file), bench.threads.disk, bench.threads.clock, 5.0, 60.0
        )
        for _ in range(2)
    )
    result_of(one.look("disk.img"))
    bench.pass_(2.4)
    result_of(other.look("disk.img"))
    assert bench.heads == 1
    bench.origin.bucket.put("disk.img", b"other")
    bench.pass_(2.7)
    found = result_of(other.look("disk.img")).found
    assert found is not None
    assert found.size == len(b"other")
    os.close(file.descriptor)
