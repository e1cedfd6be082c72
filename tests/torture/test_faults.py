"""A small part of `make torture`, next to live clients; the faults say what must hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.torture.outcomes import assert_passed
from torture.faults import fuse
from torture.faults.cache_files import damaged_caches, full_cache_disk
from torture.faults.cache_processes import kills_in_fills, replicas
from torture.faults.catalog import catalogs
from torture.faults.clients import made_bodies_nobody_reads, resets
from torture.faults.clusters import stopped_cluster, wrong_clock
from torture.faults.credentials import renewed_credentials
from torture.faults.floods import pipelined_floods
from torture.faults.hostile_servers import hostile_servers
from torture.faults.image_files import files
from torture.faults.images_root import hostile_root
from torture.faults.origin import bucket_gone, origin_faults
from torture.faults.processes import descriptors, full_disk
from torture.faults.publishers import publishers
from torture.faults.slow_disk import slow_disk
from torture.faults.slow_readers import slow_readers_that_move
from torture.faults.tls import key_updates
from torture.fuzzing.differential import compare_answers
from torture.fuzzing.fuzz import two_daemons
from torture.leases.changes import revocations, rotations
from torture.leases.clock import lease_clock_steps
from torture.leases.over_http import forged_over_http, mutated_over_http
from torture.leases.pure import mutated_tokens
from torture.leases.secret_search import secret_search
from torture.leases.token_floods import crowds, token_floods

if TYPE_CHECKING:
    from collections.abc import Callable

    from torture.outcome import Outcome


def test_hostile_requests() -> None:
    """Mutated heads and smuggling shapes: no 5xx, no traceback, nothing smuggled is answered, both lanes agree."""
    with two_daemons() as trials:
        batch = compare_answers([trial.daemon.port for trial in trials], "small", 4000)
        for trial in trials:
            trial.check_alive()
    assert batch.complaints == []
    assert [trial.complaints for trial in trials] == [[], []]
    assert batch.statuses.total() >= 4000
    assert {200, 206, 304, 400, 404, 405, 416} <= set(batch.statuses)


@pytest.mark.parametrize(
    ("fault", "count"),
    [
        (slow_readers_that_move, 64),
        (resets, 100),
        (made_bodies_nobody_reads, 200),
        (pipelined_floods, 20),
        (files, 4),
        (catalogs, 14),
        (descriptors, 200),
        (full_disk, 200),
        (hostile_root, 6),
        (hostile_servers, 2),
        (key_updates, 5000),
        (origin_faults, 7),
        (bucket_gone, 2),
        (renewed_credentials, 4),
        (publishers, 2),
        (damaged_caches, 9),
        (full_cache_disk, 40),
        (kills_in_fills, 10),
        (replicas, 1),
        (stopped_cluster, 3),
        (wrong_clock, 1),
        (mutated_tokens, 20_000),
        (mutated_over_http, 1000),
        (forged_over_http, 1),
        (rotations, 1),
        (revocations, 2),
        (lease_clock_steps, 2),
        (token_floods, 1),
        (crowds, 200),
        (secret_search, 1),
        pytest.param(slow_disk, 2, marks=pytest.mark.skipif(fuse.missing() != "", reason=fuse.missing())),
    ],
)
def test_fault(fault: Callable[[int], Outcome], count: int) -> None:
    """Live clients are served the right bytes throughout, and nothing is kept."""
    assert assert_passed(fault(count)).count >= count
