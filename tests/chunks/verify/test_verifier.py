"""Verifying: everything that is wrong with published chunks is found, and nothing else."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

from aero_storage.chunks.manifest import Geometry
from aero_storage.chunks.publish.publisher import Published
from aero_storage.chunks.verify.local import LocalSource
from aero_storage.chunks.verify.source import Content, Document
from aero_storage.chunks.verify.verifier import Mismatch, VerifyReport, verify
from aero_storage.errors import OperatorError

KIB = 2**10
COUNT = 10
NAMES = [f"chunks/{index:08}.bin" for index in range(COUNT)]
ZEROS = (5, 6, 7)


@pytest.fixture
def published(make_image: Callable[..., Path], publish_image: Callable[..., Published]) -> Published:
    """Ten chunks, the last one short, three of them zeros."""
    return publish_image(make_image(os.urandom(5 * KIB), 3 * KIB, os.urandom(KIB), os.urandom(512)), chunk_size=KIB)


def source_of(published: Published) -> LocalSource:
    return LocalSource(published.directory / "manifest.json")


def check(published: Published, **options: Any) -> VerifyReport:
    return verify(source_of(published), jobs=2, **options)


def found(published: Published, **options: Any) -> list[tuple[str, str]]:
    return [(one.where, one.what) for one in check(published, **options).mismatches]


def test_good(published: Published) -> None:
    """What was just published is as it should be."""
    report = check(published, image_id="disk", version=published.version)
    assert report == VerifyReport(
        source=str(published.directory / "manifest.json"),
        manifest=published.manifest,
        chunks=COUNT,
        bytes=published.manifest.total_size,
        mismatches=(),
        remarks=(),
    )
    assert report.is_good


@pytest.mark.parametrize("index", range(COUNT))
@pytest.mark.parametrize("offset", [0, 511])
def test_flipped_bit(published: Published, index: int, offset: int) -> None:
    """One bit that is not as it was is found in any chunk; in a chunk of zeros, in all its names."""
    path = published.directory / NAMES[index]
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)
    affected = ZEROS if index in ZEROS else (index,)
    assert [where for where, _ in found(published)] == [NAMES[one] for one in affected]
    assert all("has the SHA-256 digest" in what for _, what in found(published))


def missing(path: Path) -> None:
    path.unlink()


def truncated(path: Path) -> None:
    os.truncate(path, 100)


def emptied(path: Path) -> None:
    os.truncate(path, 0)


def lengthened(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"x")


def directory_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


def pipe_instead(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def broken_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (missing, "is missing"),
        (truncated, "has 100 bytes instead of 1024"),
        (emptied, "has 0 bytes instead of 1024"),
        (lengthened, "has 1025 bytes instead of 1024"),
        (directory_instead, "cannot be read: it is no regular file"),
        (pipe_instead, "cannot be read: it is no regular file"),
        (broken_link, "is missing"),
    ],
)
def test_damaged_chunk(published: Published, damage: Callable[[Path], None], what: str) -> None:
    """A chunk that is not there, or not whole, is named with what is wrong."""
    damage(published.directory / NAMES[3])
    assert found(published) == [(NAMES[3], what)]


def test_all_mismatches(published: Published) -> None:
    """Everything that is wrong is told, in the order of the chunks, strays last."""
    (published.directory / NAMES[8]).unlink()
    truncated(published.directory / NAMES[2])
    for stray in ("00000010.bin", "0.bin", "notes.txt"):
        (published.directory / "chunks" / stray).touch()
    assert found(published, image_id="other", version="v1") == [
        ("manifest", "imageId: must be other, not disk"),
        ("manifest", f"version: must be v1, not {published.version}"),
        (NAMES[2], "has 100 bytes instead of 1024"),
        (NAMES[8], "is missing"),
        ("chunks/0.bin", "is no chunk of the manifest"),
        ("chunks/00000010.bin", "is no chunk of the manifest"),
        ("chunks/notes.txt", "is no chunk of the manifest"),
    ]


def test_no_chunks_at_all(published: Published) -> None:
    """Without its chunks a manifest has a mismatch for each of them."""
    (published.directory / "chunks").rename(published.directory / "lost")
    expected = [*((name, "is missing") for name in NAMES), ("chunks", "cannot be listed: No such file or directory")]
    assert found(published) == expected


def edit(published: Published, **changes: object) -> None:
    path = published.directory / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **changes}))


def test_broken_manifest(published: Published) -> None:
    """A manifest that clients refuse is a mismatch, and nothing can be checked by it."""
    edit(published, chunkCount=7)
    report = check(published)
    reason = "chunkCount: must be totalSize / chunkSize rounded up, 10, not 7"
    assert report.mismatches == (Mismatch("manifest", reason),)
    assert (report.manifest, report.chunks, report.remarks) == (None, 0, ("no chunk was checked",))
    assert not report.is_good


def test_zeros_that_are_none(published: Published) -> None:
    """A manifest that calls a chunk zeros against its digest is a mismatch."""
    edit(published, zeros=[0, 10])
    (mismatch,) = check(published).mismatches
    assert mismatch.where == "manifest"
    assert mismatch.what.startswith("zeros: chunk")


def test_version_of_other_content(published: Published) -> None:
    """A version that names a content must be the one of the manifest's own sizes and digests."""
    version = "sha256-" + 64 * "0"
    edit(published, version=version)
    reason = f"version: by its sizes and digests this is {published.version}, not {version}"
    assert found(published) == [("manifest", reason)]


def test_no_digests(published: Published) -> None:
    """Without digests sizes are checked alone, which the report says."""
    edit(published, chunks=[{"size": size} for size in [KIB] * 9 + [512]])
    (published.directory / NAMES[0]).write_bytes(bytes(KIB))
    truncated(published.directory / NAMES[2])
    report = check(published)
    assert report.mismatches == (Mismatch(NAMES[2], "has 100 bytes instead of 1024"),)
    assert report.remarks == ("the manifest has no digests, so that only sizes were checked",)


@attrs.define
class Counted:
    """A source that counts which chunks are opened."""

    source: LocalSource
    name: str = "counted"
    opened: list[str] = attrs.field(factory=list)

    def manifest(self) -> Document:
        return self.source.manifest()

    def chunk(self, name: str) -> AbstractContextManager[Content]:
        self.opened.append(name)
        return self.source.chunk(name)

    def strays(self, geometry: Geometry) -> Iterator[str]:
        return self.source.strays(geometry)


@pytest.mark.parametrize("sample", [1, 2, 3, 5, 9, 10, 11, 1000])
def test_sample(published: Published, sample: int) -> None:
    """A sample has as many chunks as were asked for, the first and the last always among them."""
    seen = set[tuple[str, ...]]()
    for seed in range(20):
        source = Counted(source_of(published))
        report = verify(source, jobs=1, sample=sample, rng=random.Random(seed))
        assert len(source.opened) == len(set(source.opened)) == report.chunks == min(max(sample, 2), COUNT)
        assert {"00000000.bin", "00000009.bin"} <= set(source.opened)
        assert report.remarks == ((f"{report.chunks} of 10 chunks were checked",) if report.chunks < COUNT else ())
        seen.add(tuple(sorted(source.opened)))
    assert len(seen) > 1 or sample in (1, 2, 10, 11, 1000)


def test_single_chunk(make_image: Callable[..., Path], publish_image: Callable[..., Published]) -> None:
    """An image of one chunk has a first and last one, which any sample takes."""
    report = check(publish_image(make_image(b"a" * 512)), sample=1)
    assert (report.chunks, report.is_good) == (1, True)


def test_progress(published: Published) -> None:
    """The bytes to check are told beforehand, and each of them as done once, whatever is wrong with them."""
    (published.directory / NAMES[3]).unlink()
    totals, done = list[int](), list[int]()

    @contextmanager
    def track(total: int) -> Iterator[Callable[[int], None]]:
        totals.append(total)
        yield done.append

    check(published, track=track)
    assert totals == [sum(done)] == [published.manifest.total_size]


def test_no_manifest(tmp_path: Path) -> None:
    """Without a manifest there is nothing to verify, and the message says what to do."""
    for path, reason in ((tmp_path / "manifest.json", "publish the image first"), (tmp_path, "is no regular file")):
        with pytest.raises(OperatorError, match=reason):
            verify(LocalSource(path), jobs=1)
