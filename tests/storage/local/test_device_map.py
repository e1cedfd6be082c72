"""Which disk an open waits for."""

from __future__ import annotations

import pytest

from aero_storage.storage.local import device_map
from aero_storage.storage.local.device_map import DeviceMap


def test_known_places() -> None:
    """A place is on the disk on which something was found there last."""
    known = DeviceMap()
    known.learn("a/disk.img", 1)
    known.learn("a/link.img", 2)
    assert (known.lane("a/disk.img"), known.lane("a/link.img")) == (1, 2)
    known.learn("a/disk.img", 3)
    assert known.lane("a/disk.img") == 3


def test_unknown_places() -> None:
    """Until then each directory is taken for a disk of its own."""
    known = DeviceMap()
    assert known.lane("a/one.img") == known.lane("a/two.img") != known.lane("b/one.img")
    assert known.lane("one.img") == known.lane("two.img")


def test_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not every place there ever was is remembered."""
    monkeypatch.setattr(device_map, "_MAX_PATHS", 3)
    known = DeviceMap()
    for number in range(10):
        known.learn(f"a/{number}", 1)
    assert [known.lane(f"a/{number}") for number in range(10)].count(1) <= 3
    assert known.lane("a/9") == 1
