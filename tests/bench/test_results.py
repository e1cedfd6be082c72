"""The arithmetic on figures."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest
from bench.results import (
    BOTH_CORES,
    ONE_CORE,
    WHOLE_IMAGE,
    BucketRow,
    Change,
    Latency,
    Memory,
    Results,
    Sample,
    completed,
    from_json,
    middle,
    nearest_rank,
    unique,
)


def sample(server: str, rate: float, number: int = 0, **other: Any) -> Sample:
    given = {"suite": ONE_CORE, "workers": 1, "load": "4 KiB", "requests": 10, "sent": 10**9, "seconds": 2.0}
    return Sample(server=server, rate=rate, round=number, **{**given, "server_cpu": 1.5, "load_cpu": 0.5, **other})


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([5], 50, 5),
        ([3, 1, 2], 50, 2),
        (range(1, 101), 99, 99),
        (range(1, 201), 99, 198),
        ([1, 2], 100, 2),
        ([1], 0, 1),
    ],
)
def test_nearest_rank(values: Any, percent: float, expected: float) -> None:
    """A percentile is one of the values, the smallest that enough of them do not exceed."""
    assert nearest_rank(list(values), percent) == expected


def test_nearest_rank_of_nothing() -> None:
    """Nothing has no percentile."""
    with pytest.raises(ValueError, match="no values"):
        nearest_rank([], 50)


@pytest.mark.parametrize(
    ("values", "expected"), [([], None), ([4.0], 4.0), ([9.0, 1.0, 2.0], 2.0), ([1.0, 2.0], 1.5)]
)
def test_middle(values: list[float], expected: float | None) -> None:
    """The middle is the median, and nothing of nothing."""
    assert middle(iter(values)) == expected


def test_unique() -> None:
    """Names keep the order in which they came first."""
    assert unique(["b", "a", "b", "c", "a"]) == ["b", "a", "c"]


def test_ratio_is_paired_by_round() -> None:
    """A machine that slows down for a round moves both servers, and no ratio."""
    samples = [sample("a", 50, 0), sample("b", 100, 0), sample("a", 5, 1), sample("b", 10, 1), sample("a", 9, 2)]
    results = Results({}, samples)
    assert results.ratios("a", "b", "4 KiB") == [0.5, 0.5]
    assert results.ratio("a", "b", "4 KiB") == 0.5
    assert results.ratio("a", "b", "8 MiB") is None


def test_speed_up_and_its_ceiling() -> None:
    """Two workers are set against one in the same suite; the load's share of two cores is their ceiling."""
    one = sample("a", 100, suite=BOTH_CORES, seconds=3.0, server_cpu=3.0, load_cpu=1.0)
    two = sample("a", 140, suite=BOTH_CORES, workers=2)
    results = Results({}, [one, two, sample("a", 1)])
    assert results.speedup("a", "4 KiB") == 1.4
    assert results.ceiling("a", "4 KiB") == 1.5
    assert results.speedup("b", "4 KiB") is None
    assert results.ceiling("b", "4 KiB") is None


@pytest.mark.parametrize(("load_cpu", "expected"), [(1.89, False), (1.9, True), (2.0, True)])
def test_load_is_limit(load_cpu: float, expected: bool) -> None:  # noqa: FBT001
    """A load generator that never rests is the limit."""
    results = Results({}, [sample("a", 1, load_cpu=load_cpu)])
    assert results.load_is_limit("a", "4 KiB") is expected
    assert not results.load_is_limit("b", "4 KiB")


def test_cpu_per_gb() -> None:
    """CPU is told for 10^9 bytes."""
    assert sample("a", 1, sent=5 * 10**8, server_cpu=2.0).cpu_per_gb == 4.0


def test_json_and_back() -> None:
    """What is written to JSON comes back as it was."""
    results = Results(
        {"CPU": "one"},
        [sample("a", 1.5, logged=0.5)],
        [Memory("a", 100, WHOLE_IMAGE, 3, 2, 1)],
        [Latency("a", "cold", 0, 9, 1.0, 2.0, 3.0, 4, 5.0, 0.9, 6)],
        ["a note"],
        [BucketRow("cold", "fast", 0.7, "×", is_reached=True)],
        [Change("a", "cut", "a reset")],
    )
    assert from_json(json.loads(json.dumps(attrs.asdict(results)))) == results


def test_completed_by_an_earlier_run() -> None:
    """Parts that were not measured now come from the earlier run, which a note names; what was measured now stays."""
    earlier = Results(
        {"Date": "monday", "Commit": "abc"},
        [sample("ours", 1.0), sample("ours", 2.0, suite=BOTH_CORES)],
        latency=[Latency("ours", "alone", 0, 1, 1.0, 2.0, 3.0)],
        notes=["odd"],
    )
    now = Results({"Date": "tuesday"}, [sample("ours", 9.0)], changes=[Change("ours", "cut", "a reset")])
    found = completed(now, earlier)
    assert found.facts == {"Date": "tuesday"}
    assert sorted((one.suite, one.rate) for one in found.samples) == [(BOTH_CORES, 2.0), (ONE_CORE, 9.0)]
    assert (found.latency, found.changes) == (earlier.latency, now.changes)
    assert found.notes[0] == "odd"
    assert "throughput on both cores, latency (date monday, commit abc" in found.notes[1]
    assert completed(now, Results({})) == now
