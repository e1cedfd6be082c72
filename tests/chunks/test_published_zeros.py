"""Zeros by the manifests of published chunks, which have to be of the image that is meant."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from aero_storage.chunks.manifest import ChunkManifest
from aero_storage.chunks.published_zeros import PublishedZeros
from aero_storage.chunks.zero_chunks import zeros_by_digest
from aero_storage.errors import BlobNotFoundError, BlobUnreadableError, ShortReadError
from aero_storage.http.extents.extents import KnownExtents

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from aero_storage.chunks.publish.publisher import Published

PATH = "chunked/disk/v1/manifest.json"
SHA256 = "ab" * 32


@attrs.define(eq=False)
class File:
    """A manifest in memory, whose reads are counted."""

    data: bytes
    received: int = 0
    closes: int = 0

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, offset: int, length: int) -> bytes:
        if offset + length > len(self.data):
            raise ShortReadError("too short")
        self.received += length
        return self.data[offset : offset + length]

    def close(self) -> None:
        self.closes += 1


def manifest_of(*chunks: bytes, **given: Any) -> ChunkManifest:
    content = b"".join(chunks)
    digests = b"".join(hashlib.sha256(chunk).digest() for chunk in chunks)
    made = ChunkManifest(image_id="disk", version="v1", total_size=len(content), chunk_size=1024, digests=digests)
    return attrs.evolve(made, zeros=zeros_by_digest(digests, made), image_sha256=SHA256, **given)


MANIFEST = manifest_of(bytes(1024), b"x" * 1024, b"y" * 1024, bytes(512))


def known(data: bytes, sha256: str | None = SHA256, size: int = 3584) -> KnownExtents:
    file = File(data)
    found = PublishedZeros(lambda path: {PATH: file}[path]).data(PATH, sha256, size)
    assert file.closes == 1
    return found


def pairs_of(found: KnownExtents) -> list[tuple[int, int]]:
    assert found.extents is not None
    return [*found.extents.pairs()]


def test_zeros(publish_image: Callable[..., Published], make_image: Callable[..., Path]) -> None:
    """Chunks of zeros are no data, whether they were holes or written; so `publish` writes manifests."""
    image = make_image(bytes(1024), b"x" * 700, 4096, b"y" * 300, 536)
    published = publish_image(image, chunk_size=1024, digested=True)
    data = (published.directory / "manifest.json").read_bytes()
    content = image.read_bytes()
    found = known(data, hashlib.sha256(content).hexdigest(), len(content))
    data_chunks = {index for index in range(-(-len(content) // 1024)) if any(content[1024 * index :][:1024])}
    assert pairs_of(found) == [(1024 * index, 1024 * index + 1024) for index in sorted(data_chunks)]
    assert found.chunk_size == 1024


def test_without_a_digest(publish_image: Callable[..., Published], make_image: Callable[..., Path]) -> None:
    """A version that is published without a digest of the whole image may be of any."""
    published = publish_image(make_image(1024, b"x" * 1024), chunk_size=1024)
    data = (published.directory / "manifest.json").read_bytes()
    assert "sha256" not in json.loads(data)
    for sha256 in (SHA256, None):  # nor is one unknown digest another one
        assert known(data, sha256, 2048) == KnownExtents(None, 1024)


@pytest.mark.parametrize(
    ("sha256", "size", "chunk_size"), [(None, 3584, 1024), ("cd" * 32, 3584, 1024), (SHA256, 4096, None)]
)
def test_other_images(sha256: str | None, size: int, chunk_size: int | None) -> None:
    """The chunks of another content, or of one that is not known, say nothing of zeros."""
    assert pairs_of(known(MANIFEST.to_json())) == [(1024, 3072)]
    assert known(MANIFEST.to_json(), sha256, size) == KnownExtents(None, chunk_size)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        json.dumps(json.loads(MANIFEST.to_json())).encode(),  # not as `publish` writes it
        MANIFEST.to_json()[:-1],
        MANIFEST.to_json()[:-60],
        attrs.evolve(MANIFEST, zeros=(0, 5)).to_json(),
        attrs.evolve(MANIFEST, zeros=(0, 0)).to_json(),
        attrs.evolve(MANIFEST, zeros=None).to_json(),
        attrs.evolve(MANIFEST, digests=None).to_json(),
        MANIFEST.to_json().replace(b'"zeros":[0,1', b'"zeros":[0,1],"zeros":[0,1'),
        MANIFEST.to_json() + b" " * (5 << 20),
    ],
)
def test_manifests_that_say_nothing(data: bytes) -> None:
    """A manifest that is broken, too long, or of another program says nothing of zeros."""
    assert known(data).extents is None


@pytest.mark.parametrize(
    "error", [BlobNotFoundError("x"), BlobUnreadableError("x"), ShortReadError("x"), OSError(5, "x")]
)
def test_manifests_that_cannot_be_read(error: Exception) -> None:
    """A manifest that is missing, or cannot be read, says nothing."""

    def open_file(_path: str) -> File:
        raise error

    assert PublishedZeros(open_file).data(PATH, SHA256, 3584) == KnownExtents()


def test_entries_are_not_read() -> None:
    """Of a manifest with many digests, nothing but head and end is read."""
    chunks = [os.urandom(1024) if index % 2 else bytes(1024) for index in range(2000)]
    file = File(manifest_of(*chunks).to_json())
    found = PublishedZeros(lambda _path: file).data(PATH, SHA256, 1024 * 2000)
    assert found.extents is not None
    assert found.extents.number == 1000
    assert file.received < 20_000 < len(file.data)
