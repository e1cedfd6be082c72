"""Extents against a naive model: a flag for each byte, and for each unit."""

from __future__ import annotations

import tracemalloc
from itertools import groupby, pairwise
from time import perf_counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aero_storage.http.extents.extents import MOST_KEPT, Extents, ExtentsBuilder, everything, overlap
from aero_storage.http.extents.selection import MOST_EXTENTS, Part, Selection, select

if TYPE_CHECKING:
    from collections.abc import Iterable

GIB = 1 << 30


def built(flags: Iterable[bool], granule: int = 1, most: int = MOST_KEPT) -> Extents:
    """The extents of bytes that are data (True) or zeros."""
    flags = list(flags)
    builder, at = ExtentsBuilder(len(flags), granule, most), 0
    for is_data, group in groupby(flags):
        length = len(list(group))
        if is_data:
            builder.add(at, at + length)
        at += length
    return builder.finish()


def bytes_of(extents: Extents) -> list[bool]:
    flags = [False] * extents.size
    for first, after in extents.pairs():
        assert 0 <= first < after <= extents.size
        flags[first:after] = [True] * (after - first)
    return flags


def units_of(flags: list[bool], unit: int) -> list[bool]:
    return [any(flags[at : at + unit]) for at in range(0, len(flags), unit)]


def count(flags: list[bool]) -> int:
    """The runs of True."""
    return sum(is_data for is_data, _ in groupby(flags))


def model(flags: list[bool], part: Part, most: int) -> Selection:
    """The naive answer."""
    unit = part.unit
    while True:
        units = units_of(flags, unit)
        end = len(flags) if part.length is None else min(len(flags), part.offset + part.length)
        wanted = set(range(part.offset // unit, -(-end // unit))) if part.offset < end else set()
        shown = [is_data and at in wanted for at, is_data in enumerate(units)]
        if count(shown) <= most:
            break
        unit *= 2
    pairs, gap = [], 0
    for is_data, group in groupby(shown):
        length = len(list(group))
        if is_data:
            pairs += [gap, length]
        gap = length
        if is_data:
            gap = 0
    covered = [at for at in range(len(flags)) if shown[at // unit]]
    return Selection(unit, pairs, len(covered))


flags = st.lists(st.booleans(), max_size=200)
parts = st.builds(
    Part,
    st.sampled_from([1, 2, 3, 4, 6, 8, 24, 64, 512]),
    st.integers(0, 220),
    st.none() | st.integers(0, 220) | st.just(1 << 64),
)


@given(flags)
def test_built_as_added(flags: list[bool]) -> None:
    """Extents are the bytes that were added, in order, and no two of them touch."""
    extents = built(flags)
    assert bytes_of(extents) == flags
    assert (extents.number, extents.granule) == (count(flags), 1)
    assert all(one[1] < other[0] for one, other in pairwise(extents.pairs()))


@given(flags, st.integers(1, 5), st.sampled_from([1, 4]))
def test_never_more_than_kept(flags: list[bool], most: int, granule: int) -> None:
    """Of too many, neighbours are joined: by the smallest granule that does, so no data is ever called zero."""
    extents = built(flags, granule, most)
    assert extents.number <= most
    exact = built(flags, granule)
    if exact.number <= most:
        assert (bytes_of(extents), extents.granule) == (bytes_of(exact), 1)
    else:
        assert extents.granule >= 512
        assert bytes_of(extents) == [True] * len(flags)  # all lies in one granule


@given(st.lists(st.integers(0, 60), max_size=40, unique=True), st.integers(1, 8))
def test_coarse_extents(blocks: list[int], most: int) -> None:
    """The granule is the smallest double at which the extents are few enough, and they are widened to just that."""
    size = 61 * 512 - 100
    builder = ExtentsBuilder(size, most=most)
    for block in sorted(blocks):
        builder.add(block * 512 + 100, block * 512 + 200)
    extents = builder.finish()

    def at(granule: int) -> list[bool]:
        data = {(block * 512 + 100) // granule for block in blocks}
        return [unit in data for unit in range(-(-size // granule))]

    if len(blocks) <= most:
        assert [*extents.pairs()] == [(block * 512 + 100, block * 512 + 200) for block in sorted(blocks)]
        return
    granule = next(512 << power for power in range(20) if count(at(512 << power)) <= most)
    assert extents.granule == granule
    flags = [flag for flag in at(granule) for _ in range(granule)][:size]
    assert bytes_of(extents) == flags


@given(flags, flags)
def test_overlap(one: list[bool], other: list[bool]) -> None:
    """A byte is data if both say so."""
    size = min(len(one), len(other))
    both = [first and second for first, second in zip(one[:size], other[:size], strict=True)]
    assert bytes_of(overlap(built(one[:size]), built(other[:size]))) == both


@given(flags, parts, st.sampled_from([1, 2, 5, MOST_EXTENTS]))
def test_selection(flags: list[bool], part: Part, most: int) -> None:
    """A part in any unit is what the naive model says: gaps, lengths, doubled units and the sum in bytes."""
    assert select(built(flags), part, most) == model(flags, part, most)


@pytest.mark.parametrize("size", [0, 1, 512, 4097, 100 * GIB])
def test_nothing_known(size: int) -> None:
    """Of an image of which nothing is known, one extent covers all; an empty one has none."""
    found = select(everything(size), Part(4096))
    assert found == Selection(4096, [0, -(-size // 4096)] if size else [], size)


def test_units_below_the_granule() -> None:
    """Extents that were too many to be kept are told in their granule, by a window too."""
    builder = ExtentsBuilder(1 << 20, most=4)
    for at in range(8):
        builder.add(at << 14, (at << 14) + 1)
    extents = builder.finish()
    assert extents.granule == 1 << 14
    assert select(extents, Part(512)).unit == 1 << 14
    assert select(extents, Part(512, 0, 512)) == Selection(1 << 14, [0, 1], 1 << 14)
    assert select(extents, Part(3 * 512)).unit == 3 * 512 << 4


def scattered(number: int) -> Extents:
    """So many extents of 4 KiB all over 100 GiB, at odd bytes."""
    builder, step = ExtentsBuilder(100 * GIB), 100 * GIB // number
    for at in range(number):
        builder.add(at * step + 5, at * step + 4000)
    return builder.finish()


def test_most_extents() -> None:
    """65,536 extents are told as they are; with one more, the unit is doubled until they are few enough."""
    step = 1 << 20
    for number, unit in ((MOST_EXTENTS, 4096), (MOST_EXTENTS + 1, step)):
        builder = ExtentsBuilder(number * step)
        for at in range(number):
            builder.add(at * step, at * step + 1)
        found = select(builder.finish(), Part(4096))
        assert (found.unit, len(found.pairs) // 2) == (unit, number if unit == 4096 else 1)
    assert found.data_bytes == number * step


def test_large_image_in_time() -> None:
    """60,000 extents of 100 GiB are told in some tenths of a second."""
    began = perf_counter()
    found = select(scattered(60_000), Part(4096))
    assert perf_counter() - began < 5
    assert len(found.pairs) == 120_000


def test_memory_of_many_extents() -> None:
    """Extents take 16 bytes each, and no more than the limit of them, however many are added."""
    tracemalloc.start()
    try:
        builder = ExtentsBuilder(100 * GIB, most=4096)
        for at in range(0, 100 * GIB, 1 << 21):
            builder.add(at, at + 4096)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert builder.finish().number <= 4096
    assert peak < 1 << 20
