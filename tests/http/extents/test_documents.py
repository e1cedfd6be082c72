"""Extents as JSON: what clients get, and what lies in a bucket."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from aero_storage.errors import JsonError
from aero_storage.http.extents.documents import (
    MOST_STORED_BYTES,
    Subject,
    make_body,
    parse_stored_map,
    stored_map,
)
from aero_storage.http.extents.extents import MOST_KEPT, Extents, ExtentsBuilder
from aero_storage.http.extents.selection import Part, select

STAMP = '1000000-"abc"'
SIZE = 1_000_000


def extents_of(*pairs: tuple[int, int], size: int = SIZE) -> Extents:
    builder = ExtentsBuilder(size)
    for first, after in pairs:
        builder.add(first, after)
    return builder.finish()


def test_body() -> None:
    """The answer has the keys of http.md in their order, and its tag is a digest of it."""
    extents = extents_of((0, 1), (70_000, 80_000), (999_999, SIZE))
    body = make_body(Subject("win98", "v-1", '"tag"', SIZE), select(extents, Part()))
    assert body.data == (
        b'{"schema":"aero.extents.v1","image_id":"win98","version":"v-1","etag":"\\"tag\\"","size_bytes":1000000,'
        b'"unit":4096,"data_bytes":16960,"data":[0,1,16,3,224,1]}'
    )
    assert body.etag == f'"extents-{hashlib.sha256(body.data).hexdigest()[:32]}"'


def test_image_without_a_version() -> None:
    """An image that has no version is told without."""
    found = json.loads(make_body(Subject("a", None, 'W/"x"', 0), select(extents_of(size=0), Part())).data)
    assert (found["data"], found["data_bytes"], "version" in found) == ([], 0, False)


@pytest.mark.parametrize("number", [1, 2047, 2048, 2049, 65_536])
def test_long_arrays(number: int) -> None:
    """Arrays that are written in several pieces are whole."""
    extents = extents_of(*((8192 * at, 8192 * at + 1) for at in range(number)), size=8192 * number)
    found = json.loads(make_body(Subject("a", "v", '"x"', extents.size), select(extents, Part())).data)
    assert found["data"] == [0, 1] + [1, 1] * (number - 1)
    assert found["data_bytes"] == 4096 * number


def test_stored_and_read_again() -> None:
    """A map has the extents in units of 4 KiB, for the state of the object alone that it was made of."""
    extents = extents_of((5000, 5001), (70_000, 80_000), (999_999, SIZE))
    data = stored_map(extents, STAMP)
    found = parse_stored_map(data, ("other", STAMP), SIZE)
    assert found == extents_of((4096, 8192), (69_632, 81_920), (999_424, SIZE))
    assert parse_stored_map(data, ("1000000-other",), SIZE) is None


def test_largest_map() -> None:
    """The map of an image with too many extents has a larger unit, which is told to clients; it has its limit."""
    step = 8192
    builder = ExtentsBuilder(step * (MOST_KEPT + 1), 4096)
    for at in range(MOST_KEPT + 1):
        builder.add(step * at, step * at + 1)
    data = stored_map(builder.finish(), STAMP)
    assert len(data) < MOST_STORED_BYTES
    found = parse_stored_map(data, (STAMP,), builder.size)
    assert found is not None
    assert (found.granule, select(found, Part(512)).unit) == (step, step)


def test_largest_units() -> None:
    """A map may have each unit of answers, and a larger one if its image is that large; no other."""
    for size, most in ((SIZE, 1 << 26), (1 << 50, 1 << 32)):
        document = {"schema": "aero.stored-extents.v1", "of": STAMP, "size_bytes": size, "data": [0, 1]}
        found = parse_stored_map(json.dumps(document | {"unit": most}).encode(), (STAMP,), size)
        assert found is not None
        assert found.granule == most
        with pytest.raises(JsonError, match="unit"):
            parse_stored_map(json.dumps(document | {"unit": 2 * most}).encode(), (STAMP,), size)


GOOD: dict[str, Any] = json.loads(stored_map(extents_of((0, 4096), (8192, 12_288)), STAMP))


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": "aero.extents.v1"},
        {"of": 7},
        {"of": None},
        {"size_bytes": SIZE + 1},
        {"unit": 512},
        {"unit": 5000},
        {"unit": "4096"},
        {"unit": 0},
        {"unit": 1 << 27},
        {"unit": 1 << 62, "data": []},
        {"data": None},
        {"data": {}},
        {"data": [1]},
        {"data": [0, 0]},
        {"data": [-1, 2]},
        {"data": [0, 1, -1, 1]},
        {"data": [0, 1.0]},
        {"data": [0, True]},
        {"data": ["0", 1]},
        {"data": [0, 246]},
        {"data": [245, 1]},
        {"data": [1 << 70, 1]},
    ],
)
def test_maps_that_are_none(changes: dict[str, Any]) -> None:
    """A map with a value that cannot be is none; the last good ones around it are."""
    assert parse_stored_map(json.dumps(GOOD).encode(), (STAMP,), SIZE) is not None
    assert parse_stored_map(json.dumps(GOOD | {"data": [0, 245]}).encode(), (STAMP,), SIZE) is not None
    with pytest.raises(JsonError):
        parse_stored_map(json.dumps(GOOD | changes).encode(), (STAMP,), SIZE)


@pytest.mark.parametrize("data", [b"", b"[]", b"7", b'{"a":1,"a":1}', b"\xff", b'{"data":[' + b"0," * 600_000])
def test_no_documents(data: bytes) -> None:
    """Anything else is none, without much work."""
    with pytest.raises(JsonError):
        parse_stored_map(data, (STAMP,), SIZE)
