"""Chunk manifests that Hypothesis makes up (http.md §6)."""

from __future__ import annotations

import json
import string

from hypothesis import given
from hypothesis import strategies as st

from aero_storage.chunks.manifest import (
    MAX_CHUNK_COUNT,
    MAX_CHUNK_SIZE,
    ChunkManifest,
    Geometry,
    check_geometry,
    content_version,
    virtual_version,
)
from aero_storage.chunks.manifest_parser import parse_chunk_manifest
from aero_storage.errors import ChunkFormatError
from aero_storage.http.identifiers import is_version

NAMES = st.text(string.ascii_letters + string.digits + "._-", min_size=1, max_size=128).filter(is_version)
SECTORS = st.integers(1, 400)
KEYS = [
    "schema",
    "imageId",
    "version",
    "mimeType",
    "totalSize",
    "chunkSize",
    "chunkCount",
    "chunkIndexWidth",
    "chunks",
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["size", "sha256", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@st.composite
def manifests(draw: st.DrawFn) -> ChunkManifest:
    geometry = Geometry(total_size=512 * draw(SECTORS), chunk_size=512 * draw(SECTORS))
    size = 32 * geometry.chunk_count
    digests = draw(st.none() | st.integers(0, 2 ** (8 * size) - 1).map(lambda number: number.to_bytes(size, "big")))
    return ChunkManifest(
        image_id=draw(NAMES),
        version=draw(NAMES),
        total_size=geometry.total_size,
        chunk_size=geometry.chunk_size,
        index_width=draw(st.integers(len(str(geometry.chunk_count - 1)), 32)),
        digests=digests,
    )


def parses_or_refuses(data: bytes) -> None:
    try:
        manifest = parse_chunk_manifest(data)
    except ChunkFormatError as error:
        message = str(error)
        assert message.isprintable()
        assert 0 < len(message) < 300
    else:
        check_geometry(manifest.total_size, manifest.chunk_size)


@given(manifest=manifests())
def test_round_trip(manifest: ChunkManifest) -> None:
    """A manifest that is written and read again is the same."""
    assert parse_chunk_manifest(manifest.to_json()) == manifest


@given(manifest=manifests())
def test_chunks_are_the_image(manifest: ChunkManifest) -> None:
    """Chunks lie end to end from the first byte of the image to the last, each with one name of its own."""
    end = 0
    for index in range(manifest.chunk_count):
        assert manifest.chunk_offset(index) == end
        assert manifest.chunk_length(index) > 0
        assert manifest.index_of(manifest.chunk_name(index)) == index
        end += manifest.chunk_length(index)
    assert end == manifest.total_size


@given(manifest=manifests(), key=st.sampled_from(KEYS), value=JSON)
def test_one_field_replaced(manifest: ChunkManifest, key: str, value: object) -> None:
    """Whatever a field holds, the manifest is parsed or refused in one short line."""
    parses_or_refuses(json.dumps({**json.loads(manifest.to_json()), key: value}).encode())


@given(
    data=st.binary() | st.text('[]{}":,\\u0dn1e-', max_size=12).map(str.encode) | JSON.map(json.dumps).map(str.encode)
)
def test_arbitrary_bytes(data: bytes) -> None:
    """No bytes raise anything but a ChunkFormatError of one short line."""
    parses_or_refuses(data)


@given(manifest=manifests(), data=st.data())
def test_damaged_bytes(manifest: ChunkManifest, data: st.DataObject) -> None:
    """A manifest that was cut short or has a byte changed is parsed or refused in one short line."""
    text = bytearray(manifest.to_json())
    text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    parses_or_refuses(bytes(text[: data.draw(st.integers(0, len(text)))]))
    parses_or_refuses(bytes(text))


@given(total=st.integers(-1, 2**46), size=st.integers(-1, MAX_CHUNK_SIZE + 1024) | SECTORS.map(lambda n: 512 * n))
def test_advice_helps(total: int, size: int) -> None:
    """Where a larger chunk size is asked for, the one that is named works, and half of it does not."""
    try:
        check_geometry(total, size)
    except ChunkFormatError as error:
        before, _, after = str(error).partition("choose a chunk size of ")
        if after:
            better = int(after.split()[0])
            check_geometry(total, better)
            assert better == 512 or -(-total // (better // 2)) > MAX_CHUNK_COUNT, before
    else:
        assert total % 512 == size % 512 == 0
        assert 0 < -(-total // size) <= MAX_CHUNK_COUNT


@given(size=st.integers(0), chunk_size=st.integers(0), validator=st.text(st.characters(exclude_categories=["Cs"])))
def test_made_versions_are_versions(size: int, chunk_size: int, validator: str) -> None:
    """The versions that we make follow the rule for versions, so that their URLs work."""
    assert is_version(virtual_version(size, chunk_size, validator))
    assert is_version(content_version(size, chunk_size, validator.encode()))


def test_one_content_one_version() -> None:
    """Another order of the digests, or other sizes with the same digests, is another version."""
    one, two = bytes(32), bytes([1]) * 32
    versions = [content_version(1024, 512, one + two), content_version(1024, 512, two + one)]
    versions += [content_version(1536, 1024, one + two), content_version(102, 4512, one + two)]
    assert len(set(versions)) == 4
