"""Sizes as people write and read them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aero_storage.sizes import format_size, parse_size

KI, MI, GI = 2**10, 2**20, 2**30


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("512", 512),
        ("512B", 512),
        ("512 b", 512),
        ("4MiB", 4 * MI),
        ("4mib", 4 * MI),
        ("4 MiB", 4 * MI),
        (" 4MiB\n", 4 * MI),
        ("4M", 4 * MI),
        ("4m", 4 * MI),
        ("4MB", 4_000_000),
        ("20GB", 20 * 10**9),
        ("1kB", 1000),
        ("1KB", 1000),
        ("1KiB", 1024),
        ("1.5K", 1536),
        ("0.5MiB", 512 * KI),
        ("2.25 GB", 2_250_000_000),
        ("1TiB", 2**40),
        ("1PiB", 2**50),
        ("7EiB", 7 * 2**60),
        ("0.000000001GB", 1),
        (str(2**63 - 1), 2**63 - 1),
    ],
)
def test_sizes_are_read(text: str, size: int) -> None:
    """Bare letters and iB are powers of 1,024, B alone makes powers of 1,000, and case and blanks do not matter."""
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no size"),
        (" ", "no size"),
        ("MiB", "no size"),
        ("4 potatoes", "no size"),
        ("4MiBs", "no size"),
        ("4Mi", "no size"),
        ("-1", "no size"),
        ("+1", "no size"),
        ("1e3", "no size"),
        (".5M", "no size"),
        ("1.M", "no size"),
        ("1,5M", "no size"),
        ("0x10", "no size"),
        ("1_000", "no size"),
        ("٤", "no size"),
        ("inf", "no size"),
        ("9" * 5000, "no size"),
        ("1.5", "no whole number of bytes"),
        ("0.1K", "no whole number of bytes"),
        ("8EiB", "too large"),
        (str(2**63), "too large"),
    ],
)
def test_other_texts_are_refused(text: str, reason: str) -> None:
    """What is no whole number of bytes below 2^63 is refused with the reason."""
    with pytest.raises(ValueError, match=re.escape(reason)):
        parse_size(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (512, "512 B"),
        (1023, "1023 B"),
        (1023.4, "1023 B"),
        (1023.6, "1.0 KiB"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (1023 * KI, "1023 KiB"),
        (MI - 1, "1.0 MiB"),
        (99.94 * KI, "99.9 KiB"),
        (99.96 * KI, "100 KiB"),
        (4 * MI, "4 MiB"),
        (20 * 10**9, "18.6 GiB"),
        (123.4 * GI, "123 GiB"),
        (GI - 1, "1.0 GiB"),
        (2**60, "1 EiB"),
        (2000 * 2**60, "2000 EiB"),
    ],
)
def test_sizes_are_written(size: float, text: str) -> None:
    """Sizes have three digits or so; what rounds to 1,024 of a unit is one of the next."""
    assert format_size(size) == text


@given(st.integers(min_value=0, max_value=2**63 - 1))
def test_what_is_written_is_near(size: int) -> None:
    """What is written, read again, is within five per cent, and never wider than a column needs."""
    text = format_size(size)
    number, unit = text.split()
    scale = parse_size(f"1{unit}")
    assert abs(float(number) * scale - size) <= max(0.05 * size, 0)
    assert len(text) <= 8


@given(st.integers(min_value=0, max_value=2**63 - 1))
def test_whole_numbers_are_themselves(size: int) -> None:
    """Digits alone are bytes."""
    assert parse_size(str(size)) == size
