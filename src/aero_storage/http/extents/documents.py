"""Extents as JSON: the answer to a client, and the map that lies in a bucket with its image (http.md §14). Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from itertools import islice

import attrs

from aero_storage.errors import JsonError
from aero_storage.http.extents.extents import MOST_KEPT, Extents, ExtentsBuilder
from aero_storage.http.extents.query import MOST_UNIT
from aero_storage.http.extents.selection import DEFAULT_UNIT, Part, Selection, select
from aero_storage.strict_json import Fields, load, show

SCHEMA = "aero.extents.v1"
STORED_SCHEMA = "aero.stored-extents.v1"
MOST_STORED_BYTES = 8 * 1024 * 1024
"""Limit of a map in a bucket: 262,144 extents have some 3 MB."""

_TAG_DIGITS = 32
_NUMBERS_AT_ONCE = 4096
"""Numbers that are written in one call, which holds up all threads: 0.3 ms."""

_UNIT_RULE = "must be a power of two, from 4096 to what an image of that size needs"


@attrs.frozen
class Subject:
    """The image that an answer is about."""

    image_id: str
    version: str | None
    etag: str
    size: int
    """In bytes."""


@attrs.frozen
class Body:
    """An answer as JSON, and its strong entity-tag."""

    data: bytes = attrs.field(repr=False)
    etag: str


def make_body(subject: Subject, selection: Selection) -> Body:
    """Return the answer; takes 30 ms for 65,536 extents: call it off the reactor's thread."""
    head: dict[str, object] = {
        "schema": SCHEMA,
        "image_id": subject.image_id,
        "version": subject.version,
        "etag": subject.etag,
        "size_bytes": subject.size,
        "unit": selection.unit,
        "data_bytes": selection.data_bytes,
    }
    data = _document({key: value for key, value in head.items() if value is not None}, selection.pairs)
    return Body(data, f'"extents-{hashlib.sha256(data).hexdigest()[:_TAG_DIGITS]}"')


def stored_map(extents: Extents, stamp: str) -> bytes:
    """Return the map of an object's content; `stamp` names the state of the object, as `sha256_of` does."""
    selection = select(extents, Part(DEFAULT_UNIT), MOST_KEPT)
    head = {"schema": STORED_SCHEMA, "of": stamp, "size_bytes": extents.size, "unit": selection.unit}
    return _document(head, selection.pairs)


def parse_stored_map(data: bytes, stamps: tuple[str, ...], size: int) -> Extents | None:
    """Return the extents of a map; None if it is of another state than one of `stamps`. Raises JsonError."""
    document = load(data, 2 * MOST_KEPT + 100)
    if not isinstance(document, dict):
        raise JsonError(f"must be an object, not {show(document)}")
    fields = Fields(document)
    fields.text("schema", STORED_SCHEMA.__eq__, f'must be "{STORED_SCHEMA}"')
    if fields.text("of", bool, "must be a text") not in stamps:
        return None
    fields.number("size_bytes", size.__eq__, f"must be {size}")
    most = max(MOST_UNIT, size // MOST_KEPT)  # a larger one is needed by no image
    unit = fields.number("unit", lambda unit: DEFAULT_UNIT <= unit <= most and unit.bit_count() == 1, _UNIT_RULE)
    builder = ExtentsBuilder(size)
    for first, after in _bounds(fields.values.get("data"), unit, size):
        builder.add(first, after)
    return attrs.evolve(builder.finish(), granule=unit if unit > DEFAULT_UNIT else 1)


def _bounds(numbers: object, unit: int, size: int) -> Iterator[tuple[int, int]]:
    if not isinstance(numbers, list) or len(numbers) % 2:
        raise JsonError("data: must be an array of pairs")
    end = 0
    for gap, length in zip(numbers[::2], numbers[1::2], strict=True):
        if type(gap) is not int or type(length) is not int or gap < 0 or length <= 0:
            raise JsonError("data: must be whole numbers, none below 0, and no length 0")
        first, end = end + gap, end + gap + length
        if (end - 1) * unit >= size:
            raise JsonError("data: goes beyond the end of the image")
        yield first * unit, min(end * unit, size)


def _document(head: dict[str, object], pairs: list[int]) -> bytes:
    text = json.dumps(head, separators=(",", ":"))
    return b"".join((text[:-1].encode(), b',"data":[', *_numbers(pairs), b"]}"))


def _numbers(pairs: list[int]) -> Iterator[bytes]:
    """Yield numbers with commas between them, some thousand at a time."""
    numbers, comma = iter(pairs), ""
    while group := ",".join(map(str, islice(numbers, _NUMBERS_AT_ONCE))):
        yield f"{comma}{group}".encode()
        comma = ","
