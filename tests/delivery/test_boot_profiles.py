"""Stored boot profiles in the daemon: looked at once for all, checked, remembered, and linked to."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping
from typing import TYPE_CHECKING, TypeVar

import attrs
import pytest
from twisted.internet.defer import Deferred

from aero_storage.catalog.model import Image
from aero_storage.delivery import boot_profiles
from aero_storage.delivery.boot_profiles import LINK_SECONDS, BootProfiles, ProfileKey, profile_key
from aero_storage.delivery.byte_handler import Memo
from aero_storage.delivery.exchange import Ending
from aero_storage.delivery.reply import Reply
from aero_storage.errors import DiskHangsError, JsonError, OriginUnavailableError
from aero_storage.profiles.document import BootProfile
from aero_storage.profiles.ranges import ProfileRange
from aero_storage.storage.store import BlobRequest

if TYPE_CHECKING:
    from tests.delivery.conftest import Ask, Bench, Drive

_T = TypeVar("_T")
UNIT = 65536
SIZE = 4 * UNIT
IMAGE = Image("disk.img", "disk.img", "Disk")
BYTES = "/v1/images/disk.img"
LINK = ("Link", '</v1/images/disk.img/profile>; rel="urn:aero-storage:profile"')


@attrs.define(eq=False)
class FakeFiles:
    """Stored profiles by path; what is asked in threads is done at once, or held."""

    bench: Bench
    found: dict[str, bytes] = attrs.field(factory=dict)
    reads: list[str] = attrs.field(factory=list)
    error: Exception | None = None
    costs: bool = False
    lane: Hashable = "profiles"
    listings: int = 0
    held: Deferred[None] | None = None
    """What the next work waits for."""

    @property
    def threads(self) -> FakeFiles:
        return self

    def later(self, work: Callable[[], object], lane: Hashable = None) -> None:
        raise AssertionError((work, lane))

    def run(
        self,
        work: Callable[[], _T],
        discard: Callable[[_T], object] = lambda _: None,
        lane: Hashable = None,
        *,
        background: bool = False,
    ) -> Deferred[_T]:
        del discard, lane, background
        started: Deferred[None] = self.held or Deferred()
        if self.held is None:
            started.callback(None)
        return started.addCallback(lambda _: work())

    def read(self, path: str) -> bytes | None:
        self.reads.append(path)
        if self.error is not None:
            raise self.error
        return self.found.get(path)

    def stamps(self, paths: Collection[str]) -> Mapping[str, Hashable]:
        self.listings += 1
        return {path: self.found[path] for path in paths if path in self.found}

    def stored(self, name: str) -> Mapping[tuple[str, str], Hashable]:
        raise AssertionError(name)


@pytest.fixture
def files(bench: Bench) -> FakeFiles:
    bench.serve(IMAGE)
    bench.store.put("disk.img", SIZE)
    return FakeFiles(bench)


@pytest.fixture
def profiles(bench: Bench, files: FakeFiles) -> BootProfiles:
    return BootProfiles(files, bench.clock, bench.log, 1.0)


def key_of(bench: Bench, name: str = "boot") -> ProfileKey:
    """Return the key of a profile of the image."""
    key = profile_key(IMAGE, bench.store.blobs["disk.img"].status, name)
    assert key is not None
    return key


def document(key: ProfileKey, sessions: int = 1) -> bytes:
    """Return a valid profile."""
    ranges = (ProfileRange(0, 2, 0, 100),)
    return BootProfile(
        key.image_id, key.version, key.name, UNIT, sessions, "2026-11-28T12:00:00Z", 30, 2 * UNIT, ranges
    ).to_json()


def test_a_profile_is_read_once_and_used_for_a_time(
    bench: Bench, files: FakeFiles, profiles: BootProfiles, drive: Drive
) -> None:
    """A look is shared and remembered; a changed document has another tag."""
    key = key_of(bench)
    files.found[key.path] = document(key)
    files.held = Deferred()
    asked = [Deferred.fromCoroutine(profiles.find(key)) for _ in range(3)]
    held, files.held = files.held, None
    held.callback(None)
    first, *others = [drive(one) for one in asked]
    assert first is not None
    assert (first.data, others) == (document(key), [first, first])
    assert drive(profiles.find(key)) is first
    assert files.reads == [key.path]
    bench.clock.advance(1.1)
    assert drive(profiles.find(key)) is first
    files.found[key.path] = document(key, sessions=2)
    bench.clock.advance(1.1)
    second = drive(profiles.find(key))
    assert second is not None
    assert second.etag != first.etag
    assert len(files.reads) == 3


def test_what_is_not_valid_is_none_and_told_once(
    bench: Bench, files: FakeFiles, profiles: BootProfiles, drive: Drive
) -> None:
    """A broken document, and one of another image, are told of when they change."""
    key = key_of(bench)
    for content in (
        b"no JSON",
        document(attrs.evolve(key, version="v-2")),
        document(attrs.evolve(key, name="other")),
    ):
        files.found[key.path] = content
        for _ in range(3):
            bench.clock.advance(1.1)
            assert drive(profiles.find(key)) is None
    files.error = JsonError("longer than allowed")
    bench.clock.advance(1.1)
    assert drive(profiles.find(key)) is None
    told = [fields["reason"] for _, message, fields in bench.log.events if "not valid" in message]
    assert len(told) == 4
    assert told[1:3] == ["it is of another image, version or name"] * 2


def test_links_come_and_go_with_the_profile(
    ask: Ask, bench: Bench, files: FakeFiles, profiles: BootProfiles, drive: Drive
) -> None:
    """Bytes and metadata link to the profile, also from memory; a change shows at the next look at all files."""
    handler = bench.handler(profiles=profiles)
    key = key_of(bench)

    def links(path: str = BYTES, status: int = 200, headers: dict[str, str] | None = None) -> bool:
        reply = bench.answer(ask(path, headers), handler=handler)
        assert reply.status == status
        return LINK in reply.headers

    assert not links()
    assert not links(f"{BYTES}/meta")
    files.found[key.path] = document(key)
    drive(profiles.refresh())
    assert links()
    assert links(status=206, headers={"Range": "bytes=0-0"})
    assert links(f"{BYTES}/meta")
    etag = dict(bench.answer(ask(BYTES), handler=handler).headers)["ETag"]
    assert links(status=304, headers={"If-None-Match": etag})
    assert links(f"{BYTES}/meta", 304, {"If-None-Match": etag})
    assert links(f"{BYTES}/versions/{key.version}")
    assert not links(status=416, headers={"Range": "bytes=999999999-"})
    del files.found[key.path]
    drive(profiles.refresh())
    assert not links()


def test_a_remembered_decision_is_made_anew_after_a_change(
    ask: Ask, bench: Bench, files: FakeFiles, profiles: BootProfiles, drive: Drive
) -> None:
    """The decision for requests that differ in their range alone has the link, and is remembered with it."""
    handler = bench.handler(profiles=profiles)
    bench.store.cached[BlobRequest(IMAGE)] = bench.store.blobs["disk.img"]
    memo, key = Memo(), key_of(bench)

    def answered() -> Reply | None:
        exchange = bench.exchange(ask(BYTES))
        reply = handler.answer_now(exchange, "bytes=0-0", memo)
        exchange.end(Ending.COMPLETE, 206, 1)
        return reply

    assert answered() is None  # nothing is known yet
    drive(profiles.know(IMAGE, bench.store.blobs["disk.img"].status))
    first, decision = answered(), memo.decision
    assert first is not None
    assert LINK not in first.headers
    assert answered() is not None
    assert memo.decision is decision
    files.found[key.path] = document(key)
    drive(profiles.refresh())
    second = answered()
    assert second is not None
    assert LINK in second.headers
    assert memo.decision is not decision


def test_bytes_do_not_wait_for_a_link(ask: Ask, bench: Bench, files: FakeFiles, profiles: BootProfiles) -> None:
    """A look that takes longer than a second, or fails, is none; it links once it has come."""
    handler = bench.handler(profiles=profiles)
    key = key_of(bench)
    files.found[key.path] = document(key)
    files.held = held = Deferred[None]()
    exchange = bench.exchange(ask(BYTES))
    waiting = Deferred.fromCoroutine(handler.answer(exchange, None))
    assert not waiting.called
    bench.clock.advance(LINK_SECONDS)
    assert waiting.called
    assert LINK not in waiting.result.headers
    files.held = None
    held.callback(None)
    assert LINK in bench.answer(ask(BYTES), handler=handler).headers


@pytest.mark.parametrize("error", [OriginUnavailableError("away"), DiskHangsError("hangs")])
def test_a_failure_is_none_for_links_and_an_error_for_the_route(
    ask: Ask, bench: Bench, files: FakeFiles, profiles: BootProfiles, error: Exception
) -> None:
    """Bytes are served all the same; who asks for the profile is told to come again."""
    handler = bench.handler(profiles=profiles)
    files.error = error
    assert bench.answer(ask(BYTES), handler=handler).status == 200
    assert bench.answer(ask(f"{BYTES}/profile"), handler=handler).status == 404  # of the moment before
    bench.clock.advance(2)
    assert bench.answer(ask(f"{BYTES}/profile"), handler=handler).status == 503


def test_a_bucket_is_listed_while_somebody_asks(
    bench: Bench, files: FakeFiles, profiles: BootProfiles, drive: Drive
) -> None:
    """Looks that cost money end a minute after the last request."""
    files.costs = True
    drive(profiles.find(key_of(bench)))
    for _ in range(10):
        drive(profiles.refresh())
        bench.clock.advance(30)
    assert files.listings == 3
    profiles.asked = True
    drive(profiles.refresh())
    assert files.listings == 4


def test_memory_is_bounded(
    bench: Bench, files: FakeFiles, profiles: BootProfiles, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many profiles the last ones are remembered, and of long ones fewer documents."""
    monkeypatch.setattr(boot_profiles, "MOST_KNOWN", 4)
    keys = [key_of(bench, f"name-{number}") for number in range(8)]
    for key in keys:
        files.found[key.path] = document(key)
    monkeypatch.setattr(boot_profiles, "MOST_BODY_BYTES", 2 * len(document(keys[0])))
    for key in keys:
        drive(profiles.find(key))
    files.reads.clear()
    for key in reversed(keys):
        assert drive(profiles.find(key)) is not None
    assert len(files.reads) == 6
