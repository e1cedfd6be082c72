"""Ranges of a profile: joined, limited, cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aero_storage.profiles.covered import CoveredUnits
from aero_storage.profiles.ranges import MOST_RANGES, ProfileRange, arrange, join_neighbours

UNIT = 65536


def test_neighbours_are_joined_with_the_earliest_time_and_the_lowest_percent() -> None:
    """No two ranges touch."""
    joined = ProfileRange(0, 1, 5, 100), ProfileRange(1, 2, 3, 60), ProfileRange(3, 1, 9, 80)
    rows = [*joined, ProfileRange(5, 1, 0, 50)]
    assert [*join_neighbours(rows)] == [ProfileRange(0, 4, 3, 60), ProfileRange(5, 1, 0, 50)]


def test_the_smallest_gaps_are_closed_first() -> None:
    """There are never more than 4,096 ranges, and of equal gaps the first one goes."""
    rows = [ProfileRange(number * 10, 1, number, 100) for number in range(MOST_RANGES)]
    narrow = ProfileRange(MOST_RANGES * 10 - 5, 1, 7, 90)
    found = arrange([*rows, narrow], UNIT, 1 << 40, 1 << 40)
    assert len(found) == MOST_RANGES
    assert [one for one in found if one.count > 1] == [ProfileRange((MOST_RANGES - 1) * 10, 6, 7, 90)]
    wide = arrange([*rows, ProfileRange(MOST_RANGES * 10, 1, 1, 100)], UNIT, 1 << 40, 1 << 40)
    assert [one for one in wide if one.count > 1] == [ProfileRange(0, 11, 0, 100)]


def test_a_profile_is_cut_from_the_end_in_time() -> None:
    """What is read last goes first, also a part of a range; the last unit of an image may be short."""
    rows = [ProfileRange(0, 2, 50, 100), ProfileRange(10, 4, 100, 100), ProfileRange(20, 1, 0, 100)]
    assert arrange(rows, UNIT, 1 << 30, 5 * UNIT) == (
        ProfileRange(20, 1, 0, 100),
        ProfileRange(0, 2, 50, 100),
        ProfileRange(10, 2, 100, 100),
    )
    short = [ProfileRange(0, 1, 1, 100), ProfileRange(2, 1, 0, 100)]
    assert len(arrange(short, UNIT, 2 * UNIT + 1, UNIT + 1)) == 2
    assert len(arrange(short, UNIT, 2 * UNIT + 2, UNIT + 1)) == 1


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 12)), max_size=30))
def test_a_unit_has_the_time_of_its_first_read(reads: list[tuple[int, int]]) -> None:
    """Parts do not overlap, and cover what was read."""
    units, model = CoveredUnits(), dict[int, int]()
    for time, (first, count) in enumerate(reads):
        units.add(first, first + count, time)
        for unit in range(first, first + count):
            model.setdefault(unit, time)
    found = [(unit, time) for first, after, time in units.parts for unit in range(first, after)]
    assert sorted(found) == sorted(model.items())
