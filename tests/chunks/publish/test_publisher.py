"""Publishing: what is there afterwards, and what happens where something is there already."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest

from aero_storage.atomic_files import locked
from aero_storage.catalog.content_digest import ContentDigest
from aero_storage.chunks import file_digest
from aero_storage.chunks.file_digest import hash_file
from aero_storage.chunks.manifest import ChunkManifest, content_version
from aero_storage.chunks.manifest_parser import parse_chunk_manifest
from aero_storage.chunks.publish import publisher
from aero_storage.chunks.publish.flushing import flushed
from aero_storage.chunks.publish.publisher import STAGING_NAME, Published
from aero_storage.errors import BusyError, ChunkFormatError, OperatorError
from aero_storage.http.identifiers import is_version

Publish = Callable[..., Published]
MakeImage = Callable[..., Path]


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def chunks_of(published: Published) -> bytes:
    manifest = published.manifest
    names = [manifest.chunk_name(index) for index in range(manifest.chunk_count)]
    assert names_in(published.directory / "chunks") == names
    return b"".join((published.directory / "chunks" / name).read_bytes() for name in names)


def tree(directory: Path) -> dict[str, tuple[int, int]]:
    """Inode and mtime of everything in a directory, which a change to any of it changes."""
    paths = [directory, *directory.rglob("*")]
    return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in paths}


def refusal(publish_image: Publish, image: Path, **options: object) -> str:
    with pytest.raises(OperatorError) as caught:
        publish_image(image, **options)
    message = str(caught.value)
    assert message.isprintable()
    return message


@pytest.mark.parametrize("chunk_size", [512, 1024, 64 * 1024, 512 * 1024])
@pytest.mark.parametrize("version", [None, "v1"])
def test_published(
    make_image: MakeImage, publish_image: Publish, directory: Path, chunk_size: int, version: str | None
) -> None:
    """What is published is the image in chunks and the manifest that describes them, and nothing else is left."""
    image = make_image(os.urandom(100 * 1024), 70 * 1024, bytes(70 * 1024), os.urandom(512))
    published = publish_image(image, chunk_size=chunk_size, version=version)
    assert chunks_of(published) == image.read_bytes()
    manifest = parse_chunk_manifest((published.directory / "manifest.json").read_bytes())
    assert manifest == published.manifest
    assert manifest.digests is not None
    assert published == Published(
        version=version or content_version(manifest.total_size, chunk_size, manifest.digests),
        manifest=ChunkManifest(
            image_id="disk",
            version=published.version,
            total_size=image.stat().st_size,
            chunk_size=chunk_size,
            digests=manifest.digests,
        ),
        directory=directory / published.version,
        already_there=False,
    )
    assert names_in(published.directory) == ["chunks", "manifest.json"]
    assert names_in(directory) == [published.version]


@pytest.mark.parametrize("already_there", [False, True])
def test_digest(make_image: MakeImage, publish_image: Publish, *, already_there: bool) -> None:
    """On demand the digest of the whole image is computed too, and the progress of both adds up to the size."""
    image, done = make_image(os.urandom(100 * 1024), 70 * 1024, os.urandom(512)), list[int]()
    if already_there:
        assert publish_image(image).digest is None
    published = publish_image(image, digested=True, advance=done.append)
    assert published.already_there is already_there
    assert published.digest == ContentDigest.of(hashlib.sha256(image.read_bytes()).hexdigest(), image.stat())
    assert sum(done) == image.stat().st_size


def test_digest_of_an_image_that_changes(
    make_image: MakeImage, publish_image: Publish, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image that is written to before the digest is complete is not published."""
    image = make_image(os.urandom(2048))

    def hash_late(descriptor: int, size: int, advance: Callable[[int], object], _check: object) -> str:
        cut.wait(10)
        os.utime(image, ns=(1, 1))
        return hash_file(descriptor, size, advance)

    cut = threading.Event()

    @contextmanager
    def told_when_flushed(place: Path) -> Iterator[None]:
        with flushed(place):
            yield
        cut.set()

    monkeypatch.setattr(publisher, "flushed", told_when_flushed)
    monkeypatch.setattr(file_digest, "hash_file", hash_late)
    assert "was changed while it was cut" in refusal(publish_image, image, digested=True)
    assert not directory.exists()


def test_digest_interrupted(make_image: MakeImage, publish_image: Publish, directory: Path) -> None:
    """An interrupt ends the digest and the cutting, and leaves nothing behind, no thread either."""
    image, before = make_image(os.urandom(64 * 1024)), threading.active_count()

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        publish_image(image, digested=True, advance=interrupt)
    assert not directory.exists()
    assert threading.active_count() == before


def test_same_content_again(make_image: MakeImage, publish_image: Publish, directory: Path) -> None:
    """Equal content has an equal version, which is left untouched when it is published again."""
    one = publish_image(make_image(b"a" * 2048, name="one"))
    before = tree(directory)
    two = publish_image(make_image(b"a" * 2048, name="two"))
    assert two == attrs.evolve(one, already_there=True)
    after = tree(directory)
    assert after.keys() == before.keys()
    assert {path: state for path, state in after.items() if path != str(directory)} == {
        path: state for path, state in before.items() if path != str(directory)
    }


def test_other_content(make_image: MakeImage, publish_image: Publish, directory: Path) -> None:
    """Other content, and the same in other chunks, are versions beside the one before."""
    versions = [
        publish_image(make_image(b"a" * 2048)).version,
        publish_image(make_image(b"b" * 2048)).version,
        publish_image(make_image(b"b" * 2048), chunk_size=1024).version,
    ]
    assert names_in(directory) == sorted(versions)
    assert len(set(versions)) == 3


def test_named_version_again(make_image: MakeImage, publish_image: Publish) -> None:
    """A named version of the same content is there already, also if another tool has written its manifest."""
    image = make_image(b"a" * 2048)
    one = publish_image(image, version="v1")
    manifest = one.directory / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_bytes()), indent=1, sort_keys=True))
    assert publish_image(image, version="v1") == attrs.evolve(one, already_there=True)


@pytest.mark.parametrize(
    ("other", "chunk_size", "told"), [(b"b" * 2048, 512, 2048), (b"a" * 1024, 512, 0), (b"a" * 2048, 1024, 0)]
)
def test_named_version_is_taken(
    make_image: MakeImage, publish_image: Publish, directory: Path, other: bytes, chunk_size: int, told: int
) -> None:
    """A name that other content has is refused, at once where the sizes tell, and the old version stays."""
    publish_image(make_image(b"a" * 2048), version="v1")
    before, done = tree(directory / "v1"), list[int]()
    options: dict[str, object] = {"version": "v1", "chunk_size": chunk_size, "advance": done.append}
    message = refusal(publish_image, make_image(other), **options)
    assert "is of other content; choose another version name, or remove it" in message
    assert sum(done) == told
    assert tree(directory / "v1") == before
    assert names_in(directory) == ["v1"]


def no_manifest(place: Path) -> None:
    (place / "manifest.json").unlink()


def broken_manifest(place: Path) -> None:
    (place / "manifest.json").write_bytes(b"{}")


def no_digests(place: Path) -> None:
    fields = json.loads((place / "manifest.json").read_bytes())
    del fields["chunks"]
    (place / "manifest.json").write_text(json.dumps(fields))


def another_id(place: Path) -> None:
    data = (place / "manifest.json").read_bytes()
    (place / "manifest.json").write_bytes(data.replace(b'"disk"', b'"kiss"'))


def empty_directory(place: Path) -> None:
    no_manifest(place)
    for path in (place / "chunks").iterdir():
        path.unlink()
    (place / "chunks").rmdir()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (no_manifest, "manifest.json in it cannot be read (No such file or directory)"),
        (broken_manifest, "manifest.json in it is invalid (schema: missing)"),
        (no_digests, "is of other content"),
        (another_id, "is of other content"),
        (empty_directory, "manifest.json in it cannot be read (No such file or directory)"),
    ],
)
@pytest.mark.parametrize("version", [None, "v1"])
def test_place_is_taken(
    make_image: MakeImage,
    publish_image: Publish,
    damage: Callable[[Path], None],
    reason: str,
    version: str | None,
) -> None:
    """What lies under the version's name and is not certainly that version is refused and stays."""
    image = make_image(b"a" * 2048)
    place = publish_image(image, version=version).directory
    damage(place)
    before = tree(place)
    assert reason in refusal(publish_image, image, version=version)
    assert tree(place) == before


def test_file_in_the_place(make_image: MakeImage, publish_image: Publish, directory: Path) -> None:
    """A file, or a link that leads nowhere, under the version's name is refused and stays."""
    directory.mkdir(parents=True)
    (directory / "v1").write_text("mine")
    (directory / "v2").symlink_to("nowhere")
    for version in ("v1", "v2"):
        assert "is there already" in refusal(publish_image, make_image(b"a" * 512), version=version)
    assert (directory / "v1").read_text() == "mine"
    assert (directory / "v2").is_symlink()


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        ("..", "cannot be in a URL"),
        ("a/b", "cannot be in a URL"),
        ("chunks", "cannot be in a URL"),
        ("", "cannot be in a URL"),
        (STAGING_NAME, "cannot be in a URL"),
        ("virtual-" + 32 * "0", "is a name for chunks that are cut on request"),
        ("sha256-" + 64 * "0", "the content is not that of sha256-000"),
    ],
)
def test_unfit_names(
    make_image: MakeImage, publish_image: Publish, directory: Path, version: str, reason: str
) -> None:
    """A version's name that could not be served, or would lie, is refused and leaves nothing behind."""
    assert reason in refusal(publish_image, make_image(b"a" * 512), version=version)
    assert not directory.exists()


def test_work_is_out_of_reach() -> None:
    """No URL can lead to unfinished work: its directory has a name that no version may have."""
    assert not is_version(STAGING_NAME)


def test_expected_content(make_image: MakeImage, publish_image: Publish) -> None:
    """To name the version that the content has anyway is to ask for that content."""
    image = make_image(b"a" * 2048)
    version = publish_image(image).version
    assert publish_image(image, version=version).already_there


@pytest.mark.parametrize(
    ("parts", "chunk_size", "reason"),
    [([], 512, "empty"), ([b"a" * 513], 512, "no multiple of 512"), ([b"a" * 512], 100, "chunk size of 100 bytes")],
)
def test_unfit_sizes(
    make_image: MakeImage,
    publish_image: Publish,
    directory: Path,
    parts: list[bytes],
    chunk_size: int,
    reason: str,
) -> None:
    """An image that cannot be cut so is refused before anything is made."""
    with pytest.raises(ChunkFormatError, match=reason):
        publish_image(make_image(*parts), chunk_size=chunk_size)
    assert not directory.exists()


def test_no_image(tmp_path: Path, publish_image: Publish, directory: Path) -> None:
    """What is no regular file is refused, without waiting for a pipe's writer; what is missing is an OSError."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        assert "is no regular file" in refusal(publish_image, path)
    with pytest.raises(FileNotFoundError):
        publish_image(tmp_path / "missing")
    assert not directory.exists()


def test_one_at_a_time(make_image: MakeImage, publish_image: Publish, directory: Path) -> None:
    """While one process publishes an image another one is refused, and disturbs nothing."""
    work = directory / STAGING_NAME
    work.mkdir(parents=True)
    (work / "precious").touch()
    with locked(work / "lock"), pytest.raises(BusyError):
        publish_image(make_image(b"a" * 512))
    assert (work / "precious").exists()
