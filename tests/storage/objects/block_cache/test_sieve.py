"""SIEVE: which block goes, and its hit rates beside those of LRU."""

from __future__ import annotations

import sys

import pytest
from tests.storage.objects.block_cache.traces import DATA, Lru, hit_rate, made_traces, read_trace, sieve

CAPACITIES = (1000, 2000, 4000)


def _goes(policy: object, *, count: int = 1) -> list[int]:
    found = []
    for _ in range(count):
        victim = policy.victim()  # type: ignore[attr-defined]
        policy.remove(victim)  # type: ignore[attr-defined]
        found.append(victim[1])
    return found


def test_order() -> None:
    """Unused blocks go from the oldest on; used ones stay where they are, once for each use."""
    policy = sieve()
    for number in range(6):
        policy.insert((0, number))
    policy.touch((0, 0))
    policy.touch((0, 2))
    assert _goes(policy, count=3) == [1, 3, 4]
    policy.insert((0, 6))
    assert _goes(policy, count=4) == [5, 6, 0, 2]
    assert policy.victim() is None


def test_a_block_in_use_is_passed_over() -> None:
    """A victim that is not removed is not named again before others."""
    policy = sieve()
    for number in range(3):
        policy.insert((0, number))
    assert [policy.victim() for _ in range(4)] == [(0, 0), (0, 1), (0, 2), (0, 0)]


def test_removal_anywhere() -> None:
    """A block may be removed wherever it is, also twice, and inserted twice."""
    policy = sieve()
    for number in (0, 1, 2, 1):
        policy.insert((0, number))
    policy.remove((0, 1))
    policy.remove((0, 1))
    assert _goes(policy, count=2) == [2, 0]
    assert policy.victim() is None


def test_all_used() -> None:
    """If all blocks are in use, the oldest goes after one round."""
    policy = sieve()
    for number in range(3):
        policy.insert((0, number))
        policy.touch((0, number))
    assert _goes(policy) == [0]


def test_traces_are_what_they_say() -> None:
    """The files of traces are those that the program makes."""
    for name, lines in made_traces().items():
        assert (DATA / f"{name}.trace").read_text(encoding="ascii").splitlines() == lines


@pytest.mark.parametrize("name", ["boot", "scan", "mix"])
def test_hit_rates(name: str) -> None:
    """SIEVE keeps what sessions share at least as well as LRU, without scans and with; scans alone share little."""
    for capacity in CAPACITIES:
        ours = hit_rate(sieve(), read_trace(name), capacity)
        theirs = hit_rate(Lru(), read_trace(name), capacity)
        sys.stdout.write(f"{name}, {capacity} blocks: SIEVE {ours:.1%}, LRU {theirs:.1%}\n")  # `pytest -s`
        if name != "scan":
            assert ours >= theirs
