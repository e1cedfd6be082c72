"""The document of a profile: what is written can be read, and what is not as it has to be is none."""

from __future__ import annotations

import json

import attrs
import pytest

from aero_storage.errors import JsonError
from aero_storage.profiles.document import MOST_BYTES, BootProfile, parse_profile, profile_name, profile_path
from aero_storage.profiles.ranges import MOST_RANGES, ProfileRange

UNIT = 65536
SIZE = 100 * UNIT - 1
PROFILE = BootProfile(
    image_id="win98",
    version="v-1",
    name="boot",
    unit=UNIT,
    sessions=37,
    recorded="2026-11-28T12:00:00Z",
    seconds=30,
    size_bytes=5 * UNIT - 1,
    ranges=(ProfileRange(0, 2, 0, 100), ProfileRange(98, 2, 1400, 97), ProfileRange(50, 1, 1500, 50)),
)


def changed(**fields: object) -> bytes:
    """Return the document of PROFILE with other fields; None leaves one out."""
    document = json.loads(PROFILE.to_json()) | fields
    return json.dumps({name: value for name, value in document.items() if value is not None}).encode()


def test_a_profile_is_read_as_it_was_written() -> None:
    """Keys that a later version may have do not matter."""
    assert parse_profile(PROFILE.to_json(), SIZE) == PROFILE
    assert parse_profile(changed(more=[1]), SIZE) == PROFILE


def test_the_largest_profile_can_be_read() -> None:
    """4,096 ranges of long numbers are within the limits of a stored document."""
    rows = tuple(ProfileRange(number * 2**20, 1, 2**40 + number, 100) for number in range(MOST_RANGES))
    large = attrs.evolve(PROFILE, ranges=rows, size_bytes=MOST_RANGES * UNIT)
    assert len(large.to_json()) < MOST_BYTES
    assert parse_profile(large.to_json(), 1 << 60) == large


@pytest.mark.parametrize(
    "fields",
    [
        {"schema": "aero.profile.v2"},
        {"schema": None},
        {"image_id": "a/b"},
        {"version": None},
        {"name": ""},
        {"unit": 1000},
        {"unit": 256},
        {"unit": 65536.0},
        {"sessions": 0},
        {"sessions": True},
        {"recorded": "2026-11-28"},
        {"recorded": "2026-13-28T12:00:00Z"},
        {"recorded": 5},
        {"seconds": 0},
        {"bytes": -1},
        {"bytes": "5"},
        {"ranges": None},
        {"ranges": {}},
        {"ranges": [[0, 2, 0]]},
        {"ranges": [[0, 2, 0, 100, 1]]},
        {"ranges": [[0, 0, 0, 100]]},
        {"ranges": [[-1, 2, 0, 100]]},
        {"ranges": [[0, 101, 0, 100]]},
        {"ranges": [[0, 2, -1, 100]]},
        {"ranges": [[0, 2, 0, 101]]},
        {"ranges": [[0, 2, 0.5, 100]]},
        {"ranges": [[0, True, 0, 100]]},
        {"ranges": [[0, 2, 5, 100], [4, 1, 0, 100]]},
        {"ranges": [[0, 2, 0, 100], [1, 1, 5, 100]]},
        {"ranges": [[number * 2, 1, 0, 100] for number in range(MOST_RANGES + 1)]},
    ],
)
def test_what_is_not_as_it_has_to_be_is_no_profile(fields: dict[str, object]) -> None:
    """Each rule of the document is checked."""
    size = 1 << 40 if len(fields.get("ranges") or ()) > MOST_RANGES else SIZE  # type: ignore[arg-type]
    with pytest.raises(JsonError):
        parse_profile(changed(**fields), size)


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"schema":1,"schema":"aero.profile.v1"}', b"\xff"])
def test_other_content_is_no_profile(data: bytes) -> None:
    """Neither other JSON, nor other bytes."""
    with pytest.raises(JsonError):
        parse_profile(data, SIZE)


def test_where_a_profile_lies() -> None:
    """A file whose name has another form is none of ours."""
    assert profile_path("win98", "v-1", "boot") == "profiles/win98/v-1/boot.json"
    assert profile_name("boot.json") == "boot"
    assert [profile_name(one) for one in ("boot", ".json", ".boot.json~", "a b.json")] == [None] * 4
