"""Manifests that Hypothesis makes up: valid ones, valid ones with one breach, and anything at all (http.md §3)."""

from __future__ import annotations

import json
import string
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aero_storage.catalog.content_digest import is_stamp, stamps
from aero_storage.catalog.model import Catalog, Image
from aero_storage.catalog.parser import parse_manifest
from aero_storage.errors import CatalogError

Entry = dict[str, object]

SECOND = 10**9
LONGEST_MESSAGE = 400
FIELDS = [field.name for field in attrs.fields(Image) if field.name != "follow_links"]

NAME = st.text(string.ascii_letters + string.digits + "._-", min_size=1, max_size=128)
IDS = NAME.filter(lambda name: name not in {".", ".."})
VERSIONS = IDS.filter(lambda name: name != "chunks")
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
PARTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=8)
FILES = st.lists(PARTS.filter(lambda part: part != ".."), min_size=1, max_size=5).map("/".join)
ETAGS = st.builds(
    '{}"{}"'.format,
    st.sampled_from(["", "W/"]),
    st.text([chr(code) for code in range(0x21, 0x7F) if chr(code) != '"'], max_size=30),
)
DIGESTS = st.binary(min_size=32, max_size=32).map(bytes.hex)
STATES = st.tuples(st.integers(0, 2**63), st.integers(), st.integers(), st.integers(0, 2**63))
STAMPS = STATES.filter(lambda state: max(map(abs, state)) < 10**20).flatmap(
    lambda state: st.sampled_from(stamps(*state))
)
BLANKS = st.text(" \t\n", max_size=2)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
NO_TIMES = st.sampled_from(
    ["", "2026-01-10", "2026-02-30T00:00:00Z", "1969-12-31T23:59:59.9Z", "0001-01-01T00:00:00Z"]
)
SMALL = st.integers(max_value=0)
NO_NAMES = st.sampled_from(["", ".", "..", "a/b", "%61", "a" * 129]) | st.builds(
    "{}{}".format, NAME, st.sampled_from([*"/ \\%:\0~"]) | st.characters(min_codepoint=128)
)
# Strings alone; what is no string is drawn for every field.
BREACHES = {
    "id": NO_NAMES,
    "file": st.sampled_from(["", "..", "\0", "a" * 513]) | FILES.map("/{}".format) | FILES.map("../{}".format),
    "name": st.sampled_from(["\ud800", "a\udfff"]),
    "public": TEXTS,
    "description": st.sampled_from(["\ud800", "a\udfff"]),
    "recommended_chunk_size_bytes": TEXTS | SMALL,
    "chunked_version": NO_NAMES.filter(lambda text: text.strip() == text) | st.just("chunks"),
    "virtual_chunks": TEXTS | SMALL,
    "etag": st.builds("{}x".format, ETAGS) | NAME,
    "sha256": st.text(string.hexdigits, max_size=63) | st.text(string.hexdigits, min_size=65, max_size=70) | TEXTS,
    "sha256_of": NAME.filter(lambda name: not is_stamp(name)) | st.builds("{}.5".format, STAMPS),
    "private_cache": TEXTS | SMALL,
    "last_modified": NO_TIMES | st.builds("{}x".format, NAME),
}
KEYS = st.sampled_from([*FIELDS, "images", "other"])
USUAL = st.sampled_from(["a", "chunks", "browser", True, 1, '"a"', "2026-01-10T00:00:00Z"])
ALMOST = st.lists(st.dictionaries(KEYS, USUAL | JSON, max_size=6) | JSON, max_size=3)


def refusal(data: bytes) -> str:
    with pytest.raises(CatalogError) as caught:
        parse_manifest(data)
    message = str(caught.value)
    assert message.isprintable()
    assert 0 < len(message) <= LONGEST_MESSAGE
    return message


def parses_or_refuses(data: bytes) -> None:
    try:
        catalog = parse_manifest(data)
    except CatalogError:
        refusal(data)
    else:
        assert catalog.images


@st.composite
def times(draw: st.DrawFn) -> tuple[str, int]:
    seconds, micros = draw(st.integers(0, 253402300799 - 86400)), draw(st.integers(0, 999_999))
    zone = timezone(timedelta(minutes=draw(st.integers(-1439, 1439))))
    moment = datetime.fromtimestamp(seconds, zone).replace(microsecond=micros)
    return moment.isoformat(), seconds * SECOND + micros * 1000


@st.composite
def images(draw: st.DrawFn, image_id: str) -> tuple[Entry, Image]:
    image = Image(
        id=image_id,
        file=draw(FILES),
        name=draw(TEXTS),
        public=draw(st.booleans()),
        description=draw(st.none() | TEXTS),
        recommended_chunk_size_bytes=draw(st.none() | st.integers(1, 2**63)),
        chunked_version=draw(st.none() | VERSIONS),
        virtual_chunks=draw(st.none() | st.booleans()),
        etag=draw(st.none() | ETAGS),
        last_modified=None,
        sha256=draw(st.none() | DIGESTS),
        sha256_of=draw(st.none() | STAMPS),
        private_cache=draw(st.sampled_from([None, "browser"])),
    )
    entry: Entry = attrs.asdict(image, filter=lambda field, _: field.name != "follow_links")
    for field in ("chunked_version", "etag"):
        if entry[field] is not None:
            entry[field] = f"{draw(BLANKS)}{entry[field]}{draw(BLANKS)}"
    if image.sha256 is not None and draw(st.booleans()):
        entry["sha256"] = image.sha256.upper()
    if draw(st.booleans()):
        entry["last_modified"], nanoseconds = draw(times())
        image = attrs.evolve(image, last_modified=nanoseconds)
    dropped = {key for key, value in entry.items() if value is None and draw(st.booleans())}
    dropped |= {"public"} if image.public and draw(st.booleans()) else set()
    return {key: value for key, value in entry.items() if key not in dropped}, image


@st.composite
def manifests(draw: st.DrawFn) -> tuple[list[Entry], tuple[Image, ...]]:
    ids = draw(st.lists(IDS, min_size=1, max_size=3, unique=True))
    pairs = [draw(images(image_id)) for image_id in ids]
    return [entry for entry, _ in pairs], tuple(image for _, image in pairs)


@settings(max_examples=60)
@given(manifest=manifests(), ascii_only=st.booleans(), bare=st.booleans())
def test_round_trip(*, manifest: tuple[list[Entry], tuple[Image, ...]], ascii_only: bool, bare: bool) -> None:
    """A valid manifest parses to what was put in."""
    entries, expected = manifest
    document = entries if bare else {"images": entries}
    assert parse_manifest(json.dumps(document, ensure_ascii=ascii_only).encode()) == Catalog(expected)


@st.composite
def breaches(draw: st.DrawFn) -> tuple[list[Entry], int, str]:
    entries, _ = draw(manifests())
    index, field = draw(st.integers(0, len(entries) - 1)), draw(st.sampled_from(FIELDS))
    entries[index][field] = draw(BREACHES[field] | st.just([]) | st.just({"a": "b" * 1000}) | st.just(1.5))
    return entries, index, field


@given(breach=breaches())
def test_single_breach(breach: tuple[list[Entry], int, str]) -> None:
    """A valid manifest with one breach is refused, and the message names the entry and the field."""
    entries, index, field = breach
    message = refusal(json.dumps(entries).encode())
    assert message.startswith(f"images[{index}]")
    assert message.partition(": ")[2].startswith(f"{field}: ")


@given(document=JSON | ALMOST | st.builds(dict, images=ALMOST | JSON))
def test_arbitrary_json(document: Mapping[str, object] | list[object]) -> None:
    """No JSON raises anything but a CatalogError of one short line."""
    parses_or_refuses(json.dumps(document).encode())


@given(data=st.binary() | st.text('[]{}":,\\u0dn1e-', max_size=12).map(str.encode))
def test_arbitrary_bytes(data: bytes) -> None:
    """No bytes raise anything but a CatalogError of one short line."""
    parses_or_refuses(data)
