"""Where digests stand in manifests that `publish` wrote."""

from __future__ import annotations

import hashlib
import json

import attrs
import pytest

from aero_storage.chunks.manifest import MAX_CHUNK_COUNT, ChunkManifest
from aero_storage.chunks.published_form import MAX_HEAD_BYTES, PublishedForm


def published(count: int, *, last: int = 512, chunk_size: int = 4096, name: str = "win98") -> ChunkManifest:
    """A manifest of so many chunks, the last of which has `last` bytes."""
    digests = b"".join(hashlib.sha256(b"%d" % index).digest() for index in range(count))
    total = chunk_size * (count - 1) + last
    return ChunkManifest(image_id=name, version="v1", total_size=total, chunk_size=chunk_size, digests=digests)


def found(manifest: ChunkManifest, index: int, size: int, first: int, text: bytes | None = None) -> str | None:
    """The digest of a chunk, from a group of three entries that begins with `first`."""
    text = manifest.to_json() if text is None else text
    form = PublishedForm.of(text[:MAX_HEAD_BYTES])
    assert form is not None
    offset, length = form.span(first, 3)
    return form.sha256(index, size, text[offset : offset + length], first)


@pytest.mark.parametrize("last", [512, 3584, 4096])
@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_every_chunk_has_its_digest(count: int, last: int) -> None:
    """Each chunk has the digest that the manifest has for it, the last one of another size too."""
    manifest = published(count, last=last)
    for index in range(count):
        size = last if index == count - 1 else 4096
        assert found(manifest, index, size, index - index % 3) == (manifest.digest(index) or b"").hex()


def test_longest_head() -> None:
    """The longest names and numbers fit into what is read of a manifest."""
    manifest = published(2, chunk_size=64 << 20, name="x" * 128)
    manifest = attrs.evolve(manifest, version="v" * 128, index_width=32)
    assert found(manifest, 0, 64 << 20, 0) == (manifest.digest(0) or b"").hex()
    most = attrs.evolve(manifest, digests=None, total_size=MAX_CHUNK_COUNT * (64 << 20))
    assert len(most.to_json()) + len(b',"chunks":[') <= MAX_HEAD_BYTES


@pytest.mark.parametrize("size", [0, 511, 512, 4095, 4097])
def test_size_that_does_not_agree(size: int) -> None:
    """A chunk of another size than its entry's has no digest."""
    assert found(published(3), 1, size, 0) is None


def test_entries_that_are_none() -> None:
    """What stands at the place of an entry and is none gives no digest: cut short, other keys, other letters."""
    manifest = published(3)
    text = manifest.to_json()
    digest = (manifest.digest(1) or b"").hex().encode()
    for damaged in (
        text[: text.index(digest) + 10],
        text.replace(digest, b"z" * 64),
        text.replace(digest, b"\xe9" * 64),
        text.replace(digest, digest[:-1] + b'"'),
        text.replace(b'"sha256":"' + digest, b'"sha512":"' + digest),
        text.replace(digest + b'"},', digest + b'"}]'),
    ):
        assert found(manifest, 1, 4096, 0, damaged) is None
        assert found(manifest, 0, 4096, 0, damaged) == (manifest.digest(0) or b"").hex()


def test_manifests_of_others() -> None:
    """A manifest in another form is not taken, also if it says the same; nor is one without digests."""
    manifest = published(3)
    document = json.loads(manifest.to_json())
    reordered = dict(reversed(document.items()))
    for text in (
        b"",
        b'{"made": "by hand"}',
        b',"chunks":[',
        json.dumps(document, indent=2).encode(),
        json.dumps(document).encode(),
        json.dumps(reordered, separators=(",", ":")).encode(),
        b" " + manifest.to_json(),
        manifest.to_json().replace(b'"chunkCount":3', b'"chunkCount":4'),
        manifest.to_json().replace(b'"chunkCount":3', b'"chunkCount":3,"more":1'),
        attrs.evolve(manifest, digests=None).to_json(),
    ):
        assert PublishedForm.of(text[:MAX_HEAD_BYTES]) is None
