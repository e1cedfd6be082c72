"""A small part of `make torture`, next to live clients; the faults say what must hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.torture.verdicts import tried
from torture import fuse
from torture.catalogs import catalogs
from torture.clients import resets
from torture.files import files
from torture.fuzz import both_lanes
from torture.hammer import hammer
from torture.processes import descriptors, full_disk
from torture.slow_disk import slow_disk

if TYPE_CHECKING:
    from collections.abc import Callable

    from torture.outcome import Outcome


def test_hostile_requests() -> None:
    """Mutated heads and smuggling shapes: no 5xx, no traceback, nothing smuggled is answered, both lanes agree."""
    with both_lanes() as scenes:
        batch = hammer([scene.daemon.port for scene in scenes], "small", 4000)
        for scene in scenes:
            scene.sound()
    assert batch.complaints == []
    assert [scene.complaints for scene in scenes] == [[], []]
    assert batch.statuses.total() >= 4000
    assert {200, 206, 304, 400, 404, 405, 416} <= set(batch.statuses)


@pytest.mark.parametrize(
    ("fault", "count"),
    [
        (resets, 100),
        (files, 4),
        (catalogs, 14),
        (descriptors, 200),
        (full_disk, 200),
        pytest.param(slow_disk, 2, marks=pytest.mark.skipif(fuse.missing() != "", reason=fuse.missing())),
    ],
)
def test_fault(fault: Callable[[int], Outcome], count: int) -> None:
    """Live clients are served the right bytes throughout, and nothing is kept."""
    assert tried(fault(count)).count >= count
