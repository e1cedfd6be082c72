"""Stored profiles in a bucket: one listing tells of all."""

from __future__ import annotations

from typing import cast

import pytest
from tests.storage.objects.fake_origin import FakeOrigin, common_looks
from twisted.internet.task import Clock

from aero_storage.disk import Disk
from aero_storage.errors import OriginUnavailableError
from aero_storage.storage.objects.looks_file import LooksFile
from aero_storage.storage.objects.remote_profiles import RemoteProfiles

PATH = "profiles/win98/v-1/boot.json"


@pytest.fixture
def origin() -> FakeOrigin:
    origin = FakeOrigin()
    for key in (PATH, "profiles/win98/v-2/boot.json", "profiles/dos/v-1/desk.json", "profiles/odd", "disk.img"):
        origin.bucket.put(key, key.encode())
    origin.bucket.put("profiles/win98/v-1/more/boot.json", b"x")
    return origin


def stored(origin: FakeOrigin, clock: Clock, file: LooksFile | None = None) -> RemoteProfiles:
    return RemoteProfiles(origin, common_looks(origin, clock, file), 5.0, clock.seconds, cast("Disk", None))


def test_looks_take_one_request(origin: FakeOrigin) -> None:
    """Whether many profiles have changed, and which there are, is told by one listing each."""
    clock = Clock()
    files = stored(origin, clock)
    assert files.read(PATH) == PATH.encode()
    assert files.read("profiles/none") is None
    origin.asked.clear()
    before = files.stamps([PATH, "profiles/dos/v-1/desk.json", "profiles/none"])
    assert set(before) == {PATH, "profiles/dos/v-1/desk.json"}
    origin.bucket.put(PATH, b"other")
    clock.advance(5.1)
    after = files.stamps([PATH, "profiles/dos/v-1/desk.json"])
    assert [path for path in before if before[path] != after[path]] == [PATH]
    assert set(files.stored("boot")) == {("win98", "v-1"), ("win98", "v-2")}
    assert origin.asked == [("list", "profiles")] * 2


def test_workers_have_listings_in_common(origin: FakeOrigin) -> None:
    """Of all workers one lists, as long as a listing is believed."""
    clock, file = Clock(), LooksFile.create()
    for _ in range(4):
        assert len(stored(origin, clock, file).stored("boot")) == 2
        clock.advance(1)
    assert origin.asked == [("list", "profiles")]


def test_a_store_that_is_away_is_told_of(origin: FakeOrigin) -> None:
    """That is no missing profile."""
    origin.away()
    with pytest.raises(OriginUnavailableError):
        stored(origin, Clock()).read(PATH)
