"""A claimed cache directory, and workers over it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.storage.objects.block_cache.workers import Worker, daemon, worker_of


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """Claim a directory."""
    with daemon(tmp_path / "cache") as path:
        yield path


@pytest.fixture
def make_worker(place: Path) -> Iterator[Callable[..., Worker]]:
    """Make workers of one daemon; all are stopped in the end."""
    made: list[Worker] = []

    def make(**given: Any) -> Worker:
        made.append(worker_of(place, **given))
        return made[-1]

    yield make
    for worker in made:
        worker.stop()


@pytest.fixture
def worker(make_worker: Callable[..., Worker]) -> Worker:
    """Make one worker."""
    return make_worker()
