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
    reads: list[int] = attrs.field(factory=list)
    closes: int = 0

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, offset: int, length: int) -> bytes:
        if offset + length > len(self.data):
            raise ShortReadError("too short")
        self.reads.append(length)
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


@pytest.mark.parametrize("zeros", [(0, 2), (1, 1), (0, 1, 1, 2), (2, 2), (0, 4), (0, 1, 2, 1), (3, 1), (0, 1)])
@pytest.mark.parametrize("at_once", [1, 2, 3, 1000])
def test_digests_decide(monkeypatch: pytest.MonkeyPatch, zeros: tuple[int, ...], at_once: int) -> None:
    """Chunks count as zeros by their digests alone, whatever a manifest of the right image calls so."""
    monkeypatch.setattr("aero_storage.chunks.published_zeros.ENTRIES_AT_ONCE", at_once)
    found = known(attrs.evolve(MANIFEST, zeros=zeros).to_json())
    truth = {(0, 1, 2, 1): [(1024, 3072)], (3, 1): [(0, 3072)], (0, 1): [(1024, 3584)]}
    assert (None if found.extents is None else pairs_of(found)) == truth.get(zeros)
    assert found.chunk_size == 1024


@pytest.mark.parametrize("at_once", [1, 2, 7, 8, 1000])
@pytest.mark.parametrize("wrong", [0, 3, 6, 7])
def test_one_wrong_digest(monkeypatch: pytest.MonkeyPatch, at_once: int, wrong: int) -> None:
    """One chunk whose digest is not that of zeros makes the whole key worth nothing, wherever it stands."""
    monkeypatch.setattr("aero_storage.chunks.published_zeros.ENTRIES_AT_ONCE", at_once)
    chunks = [bytes(1024)] * 7 + [bytes(512)]
    assert pairs_of(known(manifest_of(*chunks).to_json(), size=7680)) == []
    chunks[wrong] = chunks[wrong][1:] + b"x"
    assert known(attrs.evolve(manifest_of(*chunks), zeros=(0, 8)).to_json(), size=7680).extents is None


def test_manifest_that_becomes_shorter() -> None:
    """A manifest whose entries end before their time says nothing."""

    class Shrinking(File):
        def read(self, offset: int, length: int) -> bytes:
            return super().read(offset, length)[: None if not self.reads[2:] else -1]

    file = Shrinking(manifest_of(*[bytes(1024)] * 8).to_json())
    assert PublishedZeros(lambda _path: file).data(PATH, SHA256, 8192) == KnownExtents(None, 1024)


def test_reads_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a manifest with many digests those of zeros are read, many at once; head and end once each."""
    monkeypatch.setattr("aero_storage.chunks.published_zeros.ENTRIES_AT_ONCE", 256)
    chunks = [os.urandom(1024) if index % 2 or index < 1000 else bytes(1024) for index in range(2000)]
    file = File(manifest_of(*chunks).to_json())
    found = PublishedZeros(lambda _path: file).data(PATH, SHA256, 1024 * 2000)
    assert found.extents is not None
    assert found.extents.number == 501
    assert len(file.reads) == 2 + 4
    assert max(file.reads) <= 256 * 100
    assert sum(file.reads) < 0.6 * len(file.data)
