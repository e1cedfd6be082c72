"""The query of a request for extents: which values are numbers, and which units there are."""

from __future__ import annotations

import pytest

from aero_storage.http.extents.query import QueryError, is_usual_unit, parse_part
from aero_storage.http.extents.selection import Part

HUGE = 1 << 64


@pytest.mark.parametrize(
    ("query", "part"),
    [
        ("", Part(4096, 0, None)),
        ("unit=512", Part(512)),
        ("unit=67108864", Part(64 << 20)),
        ("unit=65536&offset=1&length=2", Part(65536, 1, 2)),
        ("length=0&offset=0", Part(4096, 0, 0)),
        ("unit=%34096", Part(4096)),
        ("unit=004096", Part(4096)),
        ("unit=12288", Part(12288)),
        ("unit=512&unit=1024", Part(512)),
        ("Unit=3&u%6eit=3&other=x&&=&unit=1024", Part(1024)),
        ("offset=18446744073709551616", Part(4096, HUGE)),
        ("offset=" + "9" * 5000, Part(4096, HUGE)),
        ("offset=" + "0" * 5000 + "7", Part(4096, 7)),
        ("lease=a.b.c&offset=7", Part(4096, 7)),
    ],
)
def test_parts(query: str, part: Part) -> None:
    """Whole numbers in decimal digits are values, the first of a name counts, and all else is ignored."""
    assert parse_part(query) == part


@pytest.mark.parametrize("name", ["unit", "offset", "length"])
@pytest.mark.parametrize(
    "value",
    ["", "-1", "+1", "1.0", "1e3", "0x200", "4096%20", "%", "%zz", "a", "٣", "²", "1,2", "%00", "4_096"],
)
def test_values_that_are_none(name: str, value: str) -> None:
    """A value that is no whole number is refused, and never told."""
    with pytest.raises(QueryError, match=f"^{name} must be") as caught:
        parse_part(f"{name}={value}")
    assert value not in str(caught.value) or len(value) < 2
    with pytest.raises(QueryError):
        parse_part(f"{name}&{name}=512")


@pytest.mark.parametrize("unit", [1, 256, 511, 513, 4097, 12288, 1 << 27, 1 << 64, 10**30])
def test_unusual_units(unit: int) -> None:
    """A power of two from 512 to 64 MiB is a unit of every image; another number may be the size of its chunks."""
    assert not is_usual_unit(unit)
    assert all(is_usual_unit(512 << power) for power in range(18))


def test_no_unit() -> None:
    """Nothing is measured in units of 0 bytes."""
    with pytest.raises(QueryError, match=r"^unit must be a power of two"):
        parse_part("unit=0")
