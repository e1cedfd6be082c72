"""The report says what passed, failed and was skipped, and with which figures."""

from __future__ import annotations

import re

import pytest
from torture.outcome import MIB, Footprint, LiveResult, Outcome, merged_results, percentile, sum_of_footprints
from torture.report import report

PASSED = Outcome(
    "resets",
    "resets at a random byte",
    3000,
    "1,810 MiB compared",
    LiveResult(1238, 0, (), 0.00834, 0.0145),
    Footprint(15, 59 * MIB, 64),
    Footprint(14, 60 * MIB, 64),
)
FAILED = Outcome("files", "deeds", 60, "little", complaints=("7 wrong bytes", "x" * 900))
SKIPPED = Outcome("clock steps", "steps", skipped="there is no libfaketime")


def lines(*outcomes: Outcome, arguments: tuple[str, ...] = ()) -> list[str]:
    return report(outcomes, 84.6, arguments).splitlines()


def test_passed() -> None:
    """Counts with separators, times in milliseconds, what was held before and after."""
    said = lines(PASSED)
    assert "| resets | 3,000 | resets at a random byte | 1,810 MiB compared | passed |" in said
    assert "| resets | 1,238 | 0 | 8.3, 14.5 | 15 → 14 | 64 → 64 | 59 → 60 |" in said
    assert "1 faults tried, 0 failed, 0 skipped." in said
    assert not any("What is wrong" in line for line in said)


def test_failed() -> None:
    """A failed fault stands out, and every complaint is told, cut to a length that can be read."""
    said = lines(PASSED, FAILED)
    assert "| files | 60 | deeds | little | **failed** |" in said
    assert "2 faults tried, 1 failed, 0 skipped." in said
    at = said.index("## What is wrong: files")
    assert said[at + 1 :] == ["", "- `7 wrong bytes`", f"- `{'x' * 500}`"]


def test_skipped() -> None:
    """A skipped fault tells why, has no figures, and counts neither as tried nor as failed."""
    said = lines(FAILED, SKIPPED)
    assert "| clock steps | 0 | steps | there is no libfaketime | skipped |" in said
    assert "1 faults tried, 1 failed, 1 skipped." in said
    assert sum("clock steps" in line for line in said) == 1


def test_unmeasured() -> None:
    """What nobody has measured is a dash, not a zero."""
    assert "| files | – | – | – | – | – | – |" in lines(FAILED)
    without_places = Outcome("x", "y", live=LiveResult(1), before=Footprint(1, MIB), after=Footprint(1, 2 * MIB))
    assert "| x | 1 | 0 | 0.0, 0.0 | 1 → 1 | – | 1 → 2 |" in lines(without_places)


def test_command() -> None:
    """The command that was run can be copied into a shell."""
    said = lines(PASSED, arguments=("--only", "fuzz", "--seed", "a b"))
    expected = re.escape("`python -m torture --only fuzz --seed 'a b'`, 85 s, Python 3.")
    assert any(re.match(expected, line) for line in said)


def test_tables_are_even() -> None:
    """Every row of a table has as many cells as its head."""
    cells = {line.count("|") for line in lines(PASSED, FAILED, SKIPPED) if line.startswith("|")}
    assert cells == {6, 8}


def test_several_daemons() -> None:
    """What they hold is added up; what their live clients saw is all of it, and the worst of their times."""
    assert sum_of_footprints([Footprint(1, 20), Footprint(2, 30)]) == Footprint(3, 50)
    seen = merged_results([LiveResult(5, 1, ("a",), 0.1, 0.9), LiveResult(7, 2, ("b",), 0.2, 0.3)])
    assert seen == LiveResult(12, 3, ("a", "b"), 0.2, 0.9)
    assert merged_results([]) == LiveResult()


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([], 0.99, 0.0), ([3.0], 0.99, 3.0), ([float(one) for one in range(100, 0, -1)], 0.5, 51.0)],
)
def test_percentile(values: list[float], share: float, expected: float) -> None:
    """Of values in any order; 0 of none."""
    assert percentile(values, share) == expected
