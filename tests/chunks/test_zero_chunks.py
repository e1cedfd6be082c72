"""Chunks of zeros: by their digests, in a manifest, and as extents of the image."""

from __future__ import annotations

import hashlib
import json
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aero_storage.chunks.manifest import ChunkManifest, Geometry
from aero_storage.chunks.manifest_parser import parse_chunk_manifest
from aero_storage.chunks.zero_chunks import data_extents, zeros_by_digest
from aero_storage.errors import ChunkFormatError


def manifest_of(chunks: list[bytes], **given: Any) -> ChunkManifest:
    """The manifest of chunks of 1,024 bytes, of which the last may have 512."""
    content = b"".join(chunks)
    digests = b"".join(hashlib.sha256(chunk).digest() for chunk in chunks)
    return ChunkManifest(
        image_id="disk", version="v1", total_size=len(content), chunk_size=1024, digests=digests, **given
    )


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.booleans())
def test_zeros_of_content(flags: list[bool], short: bool) -> None:  # noqa: FBT001 - drawn
    """The pairs name the chunks of zeros, the short last one too, and the rest are the extents."""
    chunks = [(b"\0" * 1023 + (b"x" if is_data else b"\0")) for is_data in flags]
    chunks[-1] = chunks[-1][-512:] if short else chunks[-1]
    manifest = manifest_of(chunks)
    zeros = zeros_by_digest(manifest.digests or b"", manifest)
    bounds = list(accumulate(zeros))
    named = {index for first, after in zip(bounds[::2], bounds[1::2], strict=True) for index in range(first, after)}
    assert named == {index for index, is_data in enumerate(flags) if not is_data}
    extents = data_extents(zeros, manifest)
    data = {index for first, after in extents.pairs() for index in range(first // 1024, -(-after // 1024))}
    assert data == {index for index, is_data in enumerate(flags) if is_data}
    assert all(after <= manifest.total_size for _, after in extents.pairs())


def test_in_json() -> None:
    """A manifest tells zeros and the digest of the image behind the chunks; both are read again."""
    manifest = manifest_of([bytes(1024), b"x" * 1024, bytes(512)], zeros=(0, 1, 1, 1), image_sha256="ab" * 32)
    data = manifest.to_json()
    assert data.endswith(b'}],"zeros":[0,1,1,1],"sha256":"' + b"ab" * 32 + b'"}')
    found = parse_chunk_manifest(data)
    assert (found, found.zeros, found.image_sha256) == (manifest, (0, 1, 1, 1), "ab" * 32)
    assert found.to_json() == data


def test_same_version_without_zeros() -> None:
    """A version that was published without zeros is the same version."""
    chunks = [bytes(1024), b"x" * 1024]
    assert manifest_of(chunks) == manifest_of(chunks, zeros=(0, 1), image_sha256="ab" * 32)


@pytest.mark.parametrize("digests", [True, False])
def test_zeros_without_digests(*, digests: bool) -> None:
    """Zeros are kept of a manifest that has no digests."""
    document = json.loads(manifest_of([bytes(1024), b"x" * 1024], zeros=(0, 1)).to_json())
    if not digests:
        del document["chunks"]
    found = parse_chunk_manifest(json.dumps(document).encode())
    assert (found.zeros, json.loads(found.to_json())["zeros"]) == ((0, 1), [0, 1])


@pytest.mark.parametrize(
    "zeros",
    [
        *(None, {}, "", [0], [0, 0], [0, -1], [-1, 1], [0, True], [0, 1.0], ["0", "1"], [0, 4], [3, 1], [0, 1, 2, 1]),
        *([1, 1], [0, 2]),  # chunk 1 is data by its digest
    ],
)
def test_zeros_that_are_none(zeros: object) -> None:
    """A manifest with zeros that cannot be is invalid: so is one that calls a chunk zeros against its digest."""
    document = json.loads(manifest_of([bytes(1024), b"x" * 1024, bytes(1024)]).to_json())
    assert parse_chunk_manifest(json.dumps(document | {"zeros": [2, 1]}).encode()).zeros == (2, 1)
    with pytest.raises(ChunkFormatError, match="zeros"):
        parse_chunk_manifest(json.dumps(document | {"zeros": zeros}).encode())


@pytest.mark.parametrize("digest", [None, 7, "", "ab", "zz" * 32])
def test_digest_of_the_image(digest: object) -> None:
    """The digest of the image is 64 hex digits, or the manifest is invalid."""
    document = json.loads(manifest_of([bytes(1024)]).to_json())
    with pytest.raises(ChunkFormatError, match="sha256"):
        parse_chunk_manifest(json.dumps(document | {"sha256": digest}).encode())
    assert parse_chunk_manifest(json.dumps(document | {"sha256": "AB" * 32}).encode()).image_sha256 == "ab" * 32


def test_half_a_million_chunks() -> None:
    """The most pairs that there can be make no manifest that clients refuse."""
    geometry = Geometry(total_size=500_000 * 512, chunk_size=512)
    zero, data = hashlib.sha256(bytes(512)).digest(), bytes(32)
    digests = (zero + data) * 250_000
    zeros = zeros_by_digest(digests, geometry)
    assert zeros == (0, 1) + (1, 1) * 249_999
    manifest = ChunkManifest(
        image_id="disk", version="v1", total_size=500_000 * 512, chunk_size=512, digests=digests, zeros=zeros
    )
    assert parse_chunk_manifest(manifest.to_json()).zeros == zeros
