"""The arithmetic on boots, and the page."""

from __future__ import annotations

import json

import attrs
from bench.boot.loaders import OPFS, PROFILE, V86, V86_HTTP2, V86_NGINX
from bench.boot.report import goals, report
from bench.boot.results import Boot, Reach, Results, distinct_bytes, from_json

SECONDS = {
    V86_NGINX: (10.0, 20.0),
    V86: (10.0, 20.0),
    V86_HTTP2: (10.0, 20.0),
    PROFILE: (10.0, 10.9),
    OPFS: (9.0, 9.1),
}


def results(**changed: tuple[float, float]) -> Results:
    boots = [
        Boot(loader, rtt, seconds, 2 if loader == OPFS else 50, 5_000_000)
        for loader, pair in (SECONDS | changed).items()
        for rtt, seconds in zip((0, 50), pair, strict=True)
    ]
    return Results(boots, [Reach(0, 2.3, 1.0)], {"CPU": "one"}, 4_000_000, 20.0, [], [])


def verdicts(measured: Results) -> dict[str, str]:
    return {row[0]: row[3] for row in goals(measured)}


def test_goals_that_are_reached() -> None:
    """Each goal with figures within its limit is reached; those that were not measured say so."""
    found = verdicts(results())
    missing = ("100 ms", "KiB at random", "in a row")
    assert {word for what, word in found.items() if any(word in what for word in missing)} == {"not measured"}
    assert {word for what, word in found.items() if not any(word in what for word in missing)} == {"reached"}


def test_goals_that_are_missed() -> None:
    """A client that a delay slows down as much as the emulator's own loader misses both of its goals."""
    found = [row for row in goals(results(**{PROFILE: (10.0, 20.0)})) if "50 ms" in row[0]]
    assert [(row[2], row[3]) for row in found[:2]] == [("2.00", "**missed**"), ("1.00", "**missed**")]


def test_median() -> None:
    """A figure is the median of its runs."""
    boots = [Boot(V86, 0, seconds, 1, 1) for seconds in (30.0, 10.0, 11.0)]
    assert attrs.evolve(results(), boots=boots).seconds(V86, 0) == 11.0


def test_touched_blocks_count_once() -> None:
    """Ranges that touch a block, whole or in part, count it once."""
    assert distinct_bytes(["0-4095", "100-200", "4095-4096"]) == 8192


def test_page_has_every_loader_that_was_measured() -> None:
    """The page shows figures as JSON keeps them, and no row for what was not run."""
    told = json.loads(json.dumps(attrs.asdict(results())))
    page = report(from_json(told))
    assert "| aero-disk with the boot profile | 10.0 | 10.9 |" in page
    assert "aero-disk, no profile" not in page
