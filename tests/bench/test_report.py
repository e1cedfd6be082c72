"""The page that is written."""

from __future__ import annotations

import pytest
from bench import tables
from bench.report import report
from bench.results import BOTH_CORES, WHOLE_IMAGE, BucketRow, Change, Latency, Memory, Results
from bench.servers import AERO, NGINX
from tests.bench.test_results import sample


def test_table() -> None:
    """A table has a header, a rule and a row for each row; a pipe in a cell cannot break it."""
    assert tables.table(["", "x"], [["a|b", "1"]]) == "|  | x |\n| --- | ---: |\n| a/b | 1 |"
    assert tables.listing(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


def test_table_without_rows() -> None:
    """A table of nothing is nothing."""
    assert tables.table(["", "x"], []) == tables.listing(["x"], []) == ""


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (tables.rate(36_706.4), "36,706"),
        (tables.rate(99.96), "100"),
        (tables.rate(1.2345), "1.23"),
        (tables.ratio(0.987), "0.99"),
        (tables.ratio(12.34), "12.3"),
        (tables.spread([0.5, 2.0, 1.0]), "0.50 – 2.00"),
        (tables.spread([]), "–"),
        (tables.mib(1.5 * (1 << 20)), "1.5"),
        (tables.kib(2048), "2.0"),
        (tables.micro(1234.5), "1,234"),
        (tables.percent(0.987), "99 %"),
        (tables.shown(None, tables.mib), "–"),
        (tables.load_title("4 KiB"), "4 KiB ranges"),
        (tables.load_title("chunks"), "4 MiB chunks"),
    ],
)
def test_numbers(written: str, expected: str) -> None:
    """Figures are written as people read them."""
    assert written == expected


def test_report_of_nothing() -> None:
    """What was not measured has no section."""
    text = report(Results({"CPU": "one"}))
    assert "| CPU | one |" in text
    assert "not measured" in text
    assert not any(word in text for word in ("## Throughput", "## Memory", "## Two workers", "## A hot", "## Notes"))


def test_report() -> None:
    """Each part of what was measured is told in its section, ours before the others."""
    samples = [
        sample(NGINX, 100),
        sample(AERO, 50, load_cpu=2.0, others=1.0, logged=0.5),
        sample(NGINX, 100, 1),
        sample(AERO, 70, 1),
    ]
    both = [sample(AERO, 100, suite=BOTH_CORES), sample(AERO, 150, suite=BOTH_CORES, workers=2)]
    memory = [
        Memory(AERO, count, size, (50 + count // 100) << 20, 40 << 20, 0)
        for size in (1 << 20, WHOLE_IMAGE)
        for count in (0, 1000)
    ]
    latency = [
        Latency(AERO, "alone", 0, 9, 50.0, 100.0, 900.0),
        Latency(AERO, "cold", 0, 9, 60.0, 250.0, 990.0, 8 << 20, 2.0, 0.5, 4 << 20),
    ]
    text = report(Results({}, [*samples, *both], memory, latency, ["A note."]))
    for line in (
        "| aero-storage | 60 |",
        "| aero-storage | 0.60 |",
        "| aero-storage | 0.50 – 0.70 |",
        "| aero-storage | 1.5 |",
        "| aero-storage, 4 KiB ranges | 100 | 150 | 1.50 | 2.00 |",
        "| aero-storage, 1,000 | 60.0 | 10.0 | 40.0 | 0.0 |",
        "| aero-storage | 10.2 | 10.2 |",
        "| aero-storage, cold | 60 | 250 | 2.50 | 990 | 4.0 | 50 % | 2.0 |",
        "- A note.",
        "- Other programs took 0 % of the two cores' time in the middle run, 25 % at the most.",
        "- The request log of aero-storage held 50.0 % of the requests in the worst run (4 KiB).",
    ):
        assert line in text.splitlines()
    assert text.index("| aero-storage | 60 |") < text.index("| nginx | 100 |")


def test_report_over_a_bucket() -> None:
    """Each figure, what is wanted of it, and whether it is reached; no section where none was measured."""
    row = BucketRow("64 clients on one cold block", "1 GET", 2, "GETs", is_reached=False)
    text = report(Results({}, bucket=[row]))
    assert "| 64 clients on one cold block | 1 GET | 2 GETs | **missed** |" in text.splitlines()
    assert "## Over a bucket" not in report(Results({}))


def test_mark_of_the_load() -> None:
    """A figure that the load generator held down is marked."""
    text = report(Results({}, [sample(AERO, 50, load_cpu=2.0)]))
    assert "| aero-storage | 50 † |" in text


def test_changes() -> None:
    """What a client got has a row for each change and a column for each server; what was not tried is a dash."""
    tried = [Change(AERO, "cut", "a reset"), Change(NGINX, "cut", "a clean end"), Change(AERO, "moved", "old bytes")]
    text = report(Results({}, changes=tried))
    assert "|  | aero-storage | nginx |" in text
    assert "| cut | a reset | a clean end |" in text
    assert "| moved | old bytes | – |" in text


def test_no_spread_of_one_round() -> None:
    """A single round has no smallest and largest."""
    assert "smallest and largest" not in report(Results({}, [sample(AERO, 50), sample(NGINX, 100)]))
