"""Digests of chunks as they are opened: how often manifests are read, and which are forgotten."""

from __future__ import annotations

import errno
import hashlib

import attrs
import pytest

from aero_storage.chunks.manifest import ChunkManifest
from aero_storage.chunks.published_digests import FRESH_SECONDS, PublishedDigests
from aero_storage.errors import BlobNotFoundError, BlobUnreadableError, ShortReadError

COUNT = 1300
MANIFEST = ChunkManifest(
    image_id="a",
    version="v1",
    total_size=COUNT * 512,
    chunk_size=512,
    digests=b"".join(hashlib.sha256(b"%d" % index).digest() for index in range(COUNT)),
)


@attrs.define
class File:
    """A manifest in memory."""

    data: bytes
    failure: Exception | None = None
    closes: int = 0

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, offset: int, length: int) -> bytes:
        if self.failure is not None:
            raise self.failure
        assert 0 <= offset <= offset + length <= self.size
        return self.data[offset : offset + length]

    def close(self) -> None:
        self.closes += 1


@attrs.define
class Root:
    """Manifests by path; the paths that were opened; the time."""

    files: dict[str, File] = attrs.field(factory=dict)
    opened: list[str] = attrs.field(factory=list)
    now: float = 5.0

    def open_file(self, path: str) -> File:
        self.opened.append(path)
        if path not in self.files:
            raise BlobNotFoundError(path)
        return self.files[path]


@pytest.fixture
def root() -> Root:
    return Root({"chunked/a/v1/manifest.json": File(MANIFEST.to_json())})


@pytest.fixture
def digests(root: Root) -> PublishedDigests:
    return PublishedDigests(root.open_file, lambda: root.now)


def chunk(index: int, directory: str = "chunked/a/v1") -> str:
    return f"{directory}/chunks/{index:08}.bin"


def expected(index: int) -> str:
    return (MANIFEST.digest(index) or b"").hex()


def test_all_chunks(root: Root, digests: PublishedDigests) -> None:
    """Every chunk has its digest; the manifest is opened once for 512 neighbours, and closed again."""
    assert [digests.sha256(chunk(index), 512) for index in range(COUNT)] == list(map(expected, range(COUNT)))
    assert len(root.opened) == 3
    assert root.files["chunked/a/v1/manifest.json"].closes == 3


def test_changed_manifest(root: Root, digests: PublishedDigests) -> None:
    """What was read is used for a tenth of a second, and then read again; so is what was not there."""
    assert digests.sha256(chunk(0), 512) == expected(0)
    assert digests.sha256(chunk(0, "chunked/b"), 512) is None
    other = attrs.evolve(MANIFEST, digests=bytes(32) * COUNT)
    root.files = {f"chunked/{place}/manifest.json": File(other.to_json()) for place in ("a/v1", "b")}
    root.now += FRESH_SECONDS / 2
    assert [digests.sha256(chunk(0), 512), digests.sha256(chunk(0, "chunked/b"), 512)] == [expected(0), None]
    root.now += FRESH_SECONDS
    assert [digests.sha256(chunk(0), 512), digests.sha256(chunk(0, "chunked/b"), 512)] == ["00" * 32] * 2


@pytest.mark.parametrize(
    "path",
    [
        "chunked/a/v1/manifest.json",
        "chunked/chunks/manifest.json",
        "chunked/a/v1/chunks/1.bin",
        "chunked/a/v1/chunks/000000001.bin",
        "chunked/a/v1/chunks/00001300.bin",
        "chunked/a/v1/chunks/00000000",
        "chunked/a/v1/chunks/0000000x.bin",
        "00000000.bin",
        "",
    ],
)
def test_other_files(digests: PublishedDigests, path: str) -> None:
    """Manifests, names that no chunk has, and indexes beyond the last have no digest."""
    assert digests.sha256(path, 512) is None


@pytest.mark.parametrize(
    "failure", [ShortReadError("changed"), OSError(errno.EIO, "broken"), BlobUnreadableError("denied")]
)
def test_manifest_that_cannot_be_read(root: Root, digests: PublishedDigests, failure: Exception) -> None:
    """A manifest that cannot be read leaves the chunk without digest, and is closed."""
    file = root.files["chunked/a/v1/manifest.json"]
    file.failure = failure
    assert digests.sha256(chunk(0), 512) is None
    assert file.closes == 1


def test_memory_is_bounded(root: Root, digests: PublishedDigests) -> None:
    """Of many directories only the last ones are remembered."""
    places = [f"chunked/{number}" for number in range(100)]
    for place in places:
        root.files[f"{place}/manifest.json"] = File(MANIFEST.to_json())
        assert digests.sha256(chunk(0, place), 512) == expected(0)
    root.opened.clear()
    for place in places:
        digests.sha256(chunk(0, place), 512)
    assert len(root.opened) == 100
    root.opened.clear()
    for place in places[-30:]:
        digests.sha256(chunk(0, place), 512)
    assert root.opened == []
