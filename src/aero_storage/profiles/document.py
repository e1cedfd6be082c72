"""The document of a boot profile, `aero.profile.v1` (http.md §15). Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise

import attrs

from aero_storage.errors import JsonError
from aero_storage.http.dates import parse_rfc3339
from aero_storage.http.identifiers import NAME_RULE, is_image_id
from aero_storage.profiles.ranges import MOST_RANGES, ProfileRange
from aero_storage.strict_json import Fields, load, show

SCHEMA = "aero.profile.v1"
BOOT = "boot"
"""The name of the profile that clients fetch by themselves."""

PROFILES = "profiles"
"""The directory of the profiles below the images root."""

MOST_BYTES = 1024 * 1024
"""Limit of a stored profile; one of 4,096 ranges has some 100 KB."""

LEAST_UNIT, MOST_UNIT = 512, 64 * 1024 * 1024
_NUMBERS = 4
_MOST_VALUES = MOST_RANGES * (_NUMBERS + 2) + 64
_MOST_NUMBER = 2**53
"""Above it, a number is another one in JavaScript."""

_SUFFIX = ".json"
_RULES = "must be four whole numbers: start and count of units within the image, milliseconds, 0 to 100 percent"


@attrs.frozen
class BootProfile:
    """The units that sessions of one version of an image read first, in the order of time."""

    image_id: str
    version: str
    name: str
    unit: int
    """Bytes of a unit."""
    sessions: int
    """Sessions that it was learned from."""
    recorded: str
    """When it was learned, as RFC 3339."""
    seconds: int
    """Length of the beginning of a session that counted."""
    size_bytes: int
    """Sum of its ranges, for those who show it: nothing hangs on it."""
    ranges: tuple[ProfileRange, ...]

    def to_json(self) -> bytes:
        """Return the document."""
        document = {
            "schema": SCHEMA,
            "image_id": self.image_id,
            "version": self.version,
            "name": self.name,
            "unit": self.unit,
            "sessions": self.sessions,
            "recorded": self.recorded,
            "seconds": self.seconds,
            "bytes": self.size_bytes,
            "ranges": [[one.start, one.count, one.milliseconds, one.percent] for one in self.ranges],
        }
        return json.dumps(document, separators=(",", ":")).encode()


def profile_path(image_id: str, version: str, name: str) -> str:
    """Return where a profile is stored, relative to the images root; all three are valid names."""
    return f"{PROFILES}/{image_id}/{version}/{name}{_SUFFIX}"


def profile_name(file_name: str) -> str | None:
    """Return the name of the profile in a file of this name; None if it is none of ours."""
    name = file_name.removesuffix(_SUFFIX)
    return name if name != file_name and is_image_id(name) else None


def size_of(ranges: Sequence[ProfileRange], unit: int, image_bytes: int) -> int:
    """Return the sum of ranges in an image of `image_bytes`."""
    return sum(one.size(unit, image_bytes) for one in ranges)


def parse_profile(data: bytes, image_bytes: int) -> BootProfile:
    """Parse a profile of an image of `image_bytes`; keys that we do not know are ignored. Raises JsonError."""
    document = load(data, _MOST_VALUES)
    if not isinstance(document, dict):
        raise JsonError("must be an object")
    fields = Fields(document)
    fields.text("schema", SCHEMA.__eq__, f"must be {SCHEMA}")
    unit = fields.number("unit", _is_unit, "must be a power of two from 512 to 67108864")
    return BootProfile(
        image_id=fields.text("image_id", is_image_id, NAME_RULE),
        version=fields.text("version", is_image_id, NAME_RULE),
        name=fields.text("name", is_image_id, NAME_RULE),
        unit=unit,
        sessions=fields.number("sessions", _is_positive, "must be a number above 0"),
        recorded=fields.text("recorded", _is_time, "must be a time such as 2026-11-28T12:00:00Z"),
        seconds=fields.number("seconds", _is_positive, "must be a number above 0"),
        size_bytes=fields.number("bytes", _is_size, "must be a number of bytes"),
        ranges=_ranges(document.get("ranges"), unit, image_bytes),
    )


def _is_unit(number: int) -> bool:
    return LEAST_UNIT <= number <= MOST_UNIT and number.bit_count() == 1


def _is_positive(number: int) -> bool:
    return 0 < number < _MOST_NUMBER


def _is_size(number: int) -> bool:
    return 0 <= number < _MOST_NUMBER


def _is_time(text: str) -> bool:
    return parse_rfc3339(text) is not None


def _ranges(value: object, unit: int, image_bytes: int) -> tuple[ProfileRange, ...]:
    if not isinstance(value, list) or len(value) > MOST_RANGES:
        raise JsonError(f"ranges: must be an array of at most {MOST_RANGES}, not {show(value)}")
    units = -(-image_bytes // unit)
    found = tuple(_range(row, units) for row in value)
    if any(_when(after) < _when(before) for before, after in pairwise(found)):
        raise JsonError("ranges: must be in the order of time, ties by start")
    by_start = sorted(found, key=lambda one: one.start)
    if any(after.start < before.end for before, after in pairwise(by_start)):
        raise JsonError("ranges: must not overlap")
    return found


def _when(one: ProfileRange) -> tuple[int, int]:
    return one.milliseconds, one.start


def _range(row: object, units: int) -> ProfileRange:
    if not isinstance(row, list) or len(row) != _NUMBERS or not all(type(number) is int for number in row):
        raise JsonError(f"ranges: each {_RULES}")
    found = ProfileRange(*row)
    is_within = found.start >= 0 and found.count > 0 and found.end <= units
    if not is_within or not 0 <= found.milliseconds < _MOST_NUMBER or not 0 <= found.percent <= 100:  # noqa: PLR2004
        raise JsonError(f"ranges: each {_RULES}, not {row[:_NUMBERS]!s:.100}")
    return found
