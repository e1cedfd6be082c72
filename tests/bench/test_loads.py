"""What wrk says, and what it is asked to do."""

from __future__ import annotations

import json
from typing import Any

import pytest
from bench.errors import BenchError
from bench.loads import Load, Run, all_loads, parse, plausible, ranges

SMALL = ranges(4096, 16)
BIG = ranges(8 << 20, 16)


def output(**changes: int) -> str:
    said: dict[str, Any] = {"requests": 20, "sent": 90_000, "microseconds": 2_500_000}
    said |= dict.fromkeys(("connect", "read", "write", "status", "timeout"), 0) | changes
    return f"Running 2s test @ http://127.0.0.1:1\n  1 threads and 16 connections\nBENCH {json.dumps(said)}\n"


def test_parse() -> None:
    """Our line is found among what wrk prints itself."""
    assert parse(output()) == Run(20, 90_000, 2.5)


@pytest.mark.parametrize("name", ["connect", "read", "write", "status", "timeout"])
def test_parse_errors(name: str) -> None:
    """A single error of any kind makes a run worthless."""
    with pytest.raises(BenchError, match=f"'{name}': 3"):
        parse(output(**{name: 3}))


def test_parse_nothing() -> None:
    """A run without our line did not end as it should."""
    with pytest.raises(BenchError, match="did not say"):
        parse("unable to connect to 127.0.0.1:1 Connection refused\n")


@pytest.mark.parametrize(
    ("sent", "expected"),
    [(20 * 4096, False), (20 * 4096 - 1, False), (20 * 4500, True), (36 * 8192, True), (36 * 8192 + 1, False)],
)
def test_plausible(sent: int, expected: bool) -> None:  # noqa: FBT001
    """All bodies must have come, and no more than heads and what was under way besides."""
    assert plausible(Run(20, sent, 1.0), SMALL) is expected


@pytest.mark.parametrize(("load", "expected"), [(SMALL, 50.0), (BIG, 2.5)])
def test_rate(load: Load, expected: float) -> None:
    """Small bodies are counted, big ones weighed."""
    assert load.rate(100, 5 * (8 << 20), 2.0) == expected


@pytest.mark.parametrize(
    ("size", "name"), [(4096, "4 KiB"), (65536, "64 KiB"), (1 << 20, "1 MiB"), (8 << 20, "8 MiB")]
)
def test_names(size: int, name: str) -> None:
    """A load is called what the targets call it."""
    assert ranges(size, 1).name == name


def test_all_loads() -> None:
    """Ranges are answered with 206, whole files with 200; downloads get by with fewer connections."""
    loads = all_loads([4096, 65536], 16, 1 << 30)
    assert [(load.name, load.status, load.connections) for load in loads] == [
        ("4 KiB", 206, 16),
        ("64 KiB", 206, 16),
        ("chunks", 200, 16),
        ("download", 200, 4),
    ]
    assert all_loads([], 1, 1)[-1].connections == 1
