"""The images root as a catalog: its manifest, or a listing of it where there never was one (http.md §3)."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from aero_storage.catalog.current import Change, CurrentCatalog
from aero_storage.catalog.directory import DirectoryDocuments
from aero_storage.catalog.model import Catalog, Image
from aero_storage.catalog.parser import MAX_MANIFEST_BYTES
from aero_storage.catalog.reader import CatalogReader, Reading

SECOND = 10**9
LATER = 60 * SECOND


@attrs.define
class Clock:
    """The time, `ahead` nanoseconds from now: a file that was written a moment ago is that old."""

    ahead: int = LATER

    def __call__(self) -> int:
        return time.time_ns() + self.ahead


def manifest(*ids: str) -> str:
    return json.dumps([{"id": name, "file": f"{name}.img", "name": name.upper()} for name in ids])


def publish(root: Path, *ids: str) -> Path:
    new = root / ".new"
    new.write_text(manifest(*ids), encoding="utf-8")
    return new.rename(root / "manifest.json")


def reader_of(root: Path, *, require_manifest: bool = False, clock: Clock | None = None) -> CatalogReader:
    return CatalogReader(DirectoryDocuments(root, clock or Clock()), require_manifest)


def reading(reader: CatalogReader, *, force: bool = False) -> Reading:
    found = reader.read_if_changed(force=force)
    assert found is not None
    assert (found.catalog is None) != (found.error is None)
    return found


def ids(reader: CatalogReader) -> list[str]:
    catalog = reading(reader).catalog
    assert catalog is not None
    return [image.id for image in catalog.images]


def refusal(reader: CatalogReader) -> str:
    found = reading(reader)
    assert found.catalog is None
    message = str(found.error)
    assert message.isprintable()
    assert message.startswith(reader.documents.manifest_name.removesuffix("/manifest.json"))
    return message


def make_directory(path: Path) -> None:
    path.mkdir()


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_dangling(path: Path) -> None:
    path.symlink_to("nowhere")


def make_loop(path: Path) -> None:
    path.symlink_to(path.name)


def make_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def make_unreadable(path: Path) -> None:
    if os.geteuid():
        path.write_text(manifest("a"), encoding="utf-8")
        path.chmod(0)
    else:  # no mode keeps root out, so a file whose first page cannot be read
        path.symlink_to("/proc/self/mem")


def make_huge(path: Path) -> None:
    path.touch()
    os.truncate(path, MAX_MANIFEST_BYTES * 1024)


def make_empty(path: Path) -> None:
    path.touch()


def make_broken(path: Path) -> None:
    path.write_text('[{"id": "..", "file": "a", "name": "a"}]', encoding="utf-8")


UNUSABLE: dict[str, tuple[Callable[[Path], None], str]] = {
    "directory": (make_directory, "not a regular file"),
    "FIFO": (make_fifo, "not a regular file"),
    "endless device": (make_device, "not a regular file"),
    "dangling symbolic link": (make_dangling, "No such file"),
    "symbolic link to itself": (make_loop, "symbolic links"),
    "unreadable": (make_unreadable, ""),
    "huge": (make_huge, str(MAX_MANIFEST_BYTES)),
    "empty": (make_empty, "JSON"),
    "broken": (make_broken, "images[0]: id: "),
}


@pytest.fixture(name="root")
def images_root(tmp_path: Path) -> Path:
    root = tmp_path / "images"
    root.mkdir()
    (root / "disk.img").write_bytes(b"disk")
    return root


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def test_manifest_wins(root: Path) -> None:
    """Where there is a manifest it is the catalog, in its order, and the directory is not listed."""
    publish(root, "b", "a")
    expected = (Image(id="b", file="b.img", name="B"), Image(id="a", file="a.img", name="A"))
    assert reading(reader_of(root)) == Reading(Catalog(expected), None)


def test_manifest_behind_a_link(root: Path, tmp_path: Path) -> None:
    """A manifest may be a symbolic link to a file, and a link that is turned to another file is seen."""
    for name in ("one", "two"):
        (tmp_path / name).write_text(manifest(name), encoding="utf-8")
    path, reader = root / "manifest.json", reader_of(root)
    path.symlink_to(tmp_path / "one")
    assert ids(reader) == ["one"]
    (root / ".new").symlink_to(tmp_path / "two")
    (root / ".new").rename(path)
    assert ids(reader) == ["two"]


def test_listing(root: Path) -> None:
    """Without a manifest the catalog is the directory's files: id, name and file alike, public, no links followed."""
    expected = Image(id="disk.img", file="disk.img", name="disk.img", public=True, follow_links=False)
    assert reading(reader_of(root)) == Reading(Catalog((expected,), listing=True), None)


def test_listing_is_sorted(root: Path) -> None:
    """A listing is sorted by id, in the order of the characters' codes."""
    for name in ("b", "a", "B", "10", "9", "_", "-"):
        (root / name).touch()
    assert ids(reader_of(root)) == ["-", "10", "9", "B", "_", "a", "b", "disk.img"]


def test_listing_leaves_out(root: Path, tmp_path: Path) -> None:
    """Dot files, `manifest.json…`, links, other kinds of files and invalid names are not shown."""
    outside = tmp_path / "outside"
    outside.touch()
    for name in (".hidden", "manifest.json.bak", "manifest.json~", "manifest.jsonl", "a b", "caf\u00e9", "x" * 129):
        (root / name).touch()
    Path(os.fsdecode(os.fsencode(root) + b"/\xff")).touch()
    (root / "link").symlink_to("disk.img")
    (root / "link-outside").symlink_to(outside)
    (root / "link-nowhere").symlink_to("nowhere")
    (root / "chunked").mkdir()
    os.mkfifo(root / "fifo")
    for name in ("manifest", "a.manifest.json", "Manifest.json", "x" * 128):
        (root / name).touch()
    assert ids(reader_of(root)) == sorted(["Manifest.json", "a.manifest.json", "disk.img", "manifest", "x" * 128])


def test_listing_of_an_empty_directory(tmp_path: Path) -> None:
    """A directory without files is a catalog without images."""
    assert ids(reader_of(tmp_path)) == []


def test_require_manifest(root: Path) -> None:
    """With a manifest required there is no listing: a missing manifest is an invalid one, until it comes."""
    reader = reader_of(root, require_manifest=True)
    assert "manifest.json" in refusal(reader)
    publish(root, "a")
    assert ids(reader) == ["a"]


def test_manifest_appears(root: Path) -> None:
    """A manifest that appears takes the place of the listing."""
    reader = reader_of(root)
    assert ids(reader) == ["disk.img"]
    publish(root, "a")
    assert ids(reader) == ["a"]


def test_never_a_listing_again(root: Path) -> None:
    """A root that once had a manifest never becomes a listing, and is good again when a manifest is back."""
    path, reader = publish(root, "a"), reader_of(root)
    assert ids(reader) == ["a"]
    path.unlink()
    assert "manifest.json" in refusal(reader)
    (root / "more.img").touch()
    assert "manifest.json" in refusal(reader)
    assert reading(reader, force=True).catalog is None
    publish(root, "b")
    assert ids(reader) == ["b"]


@pytest.mark.parametrize(("make", "reason"), UNUSABLE.values(), ids=UNUSABLE)
def test_unusable_manifest(root: Path, make: Callable[[Path], None], reason: str) -> None:
    """A manifest that cannot be used is an error that says why, and never turns into a listing."""
    path, reader = root / "manifest.json", reader_of(root)
    make(path)
    assert reason in refusal(reader)
    remove(path)
    assert reading(reader).catalog is None


@pytest.mark.parametrize(("make", "reason"), UNUSABLE.values(), ids=UNUSABLE)
def test_manifest_becomes_unusable(root: Path, make: Callable[[Path], None], reason: str) -> None:
    """A good manifest that turns into an unusable one is an error, and a good one after that is taken."""
    path, reader = publish(root, "a"), reader_of(root)
    assert ids(reader) == ["a"]
    path.unlink()
    make(path)
    assert reason in refusal(reader)
    remove(path)
    publish(root, "a")
    assert ids(reader) == ["a"]


def test_no_root(tmp_path: Path) -> None:
    """A root that is missing or no directory is an error that names it, and is read once it is there."""
    root = tmp_path / "images"
    reader = reader_of(root)
    assert "No such file" in refusal(reader)
    root.touch()
    assert "Not a directory" in refusal(reader)
    root.unlink()
    root.mkdir()
    assert ids(reader) == []


def test_root_goes_and_comes(root: Path, tmp_path: Path) -> None:
    """A root that goes is an error, and the same one come back is read again."""
    publish(root, "a")
    reader = reader_of(root)
    assert ids(reader) == ["a"]
    root.rename(tmp_path / "aside")
    assert "No such file" in refusal(reader)
    (tmp_path / "aside").rename(root)
    again = reading(reader)
    assert again.is_new
    assert again.catalog is not None
    assert again.catalog.find("a")


@pytest.mark.parametrize("with_manifest", [True, False], ids=["manifest", "listing"])
def test_unchanged(root: Path, *, with_manifest: bool) -> None:
    """What has not changed is not read again, unless it is asked for."""
    if with_manifest:
        publish(root, "a")
    reader = reader_of(root)
    first = reading(reader)
    assert [reader.read_if_changed() for _ in range(3)] == [None] * 3
    assert reading(reader, force=True).catalog == first.catalog
    assert reader.read_if_changed() is None


def test_broken_and_unchanged(root: Path) -> None:
    """A broken manifest that has not changed is not read again either."""
    make_broken(root / "manifest.json")
    reader = reader_of(root)
    refusal(reader)
    assert reader.read_if_changed() is None


def test_fresh(root: Path) -> None:
    """A reading is fresh if the file is another one than that of the reading before, even if it says the same."""
    path, reader = publish(root, "a"), reader_of(root, clock=Clock(ahead=0))
    assert reading(reader).is_new
    assert not reading(reader).is_new
    assert not reading(reader, force=True).is_new
    os.link(path, root / ".old")  # keeps its inode from being used again
    publish(root, "a")
    assert reading(reader).is_new
    assert not reading(reader).is_new


def test_no_root_is_fresh_once(tmp_path: Path) -> None:
    """A root that stays away is told once, like a manifest that stays broken."""
    reader, current_catalog = reader_of(tmp_path / "images"), CurrentCatalog()
    taken = [found and current_catalog.take(found) for found in (reader.read_if_changed() for _ in range(3))]
    assert [change for change in taken if change not in {None, Change.NONE}] == [Change.FAILED]


def test_listing_changes(root: Path) -> None:
    """A file that is added, renamed or removed makes a new listing."""
    reader = reader_of(root)
    assert ids(reader) == ["disk.img"]
    (root / "b.img").touch()
    os.utime(root, ns=(1, 1))  # another time than before, however coarse the file system's clock
    assert ids(reader) == ["b.img", "disk.img"]
    (root / "b.img").rename(root / "c.img")
    os.utime(root, ns=(2, 2))
    assert ids(reader) == ["c.img", "disk.img"]
    (root / "c.img").unlink()
    os.utime(root, ns=(3, 3))
    assert ids(reader) == ["disk.img"]


def test_replaced(root: Path) -> None:
    """A manifest replaced by rename is read, even one of equal size and mtime."""
    path, reader = publish(root, "a"), reader_of(root)
    os.utime(path, ns=(SECOND, SECOND))
    assert ids(reader) == ["a"]
    os.link(path, root / ".old")  # keeps its inode from being used again
    os.utime(publish(root, "b"), ns=(SECOND, SECOND))
    assert ids(reader) == ["b"]


def test_rewritten_in_place(root: Path) -> None:
    """A manifest rewritten in place is read, whether its size or only its mtime differs."""
    path, reader = publish(root, "a"), reader_of(root)
    os.utime(path, ns=(SECOND, SECOND))
    assert ids(reader) == ["a"]
    path.write_text(manifest("b"), encoding="utf-8")
    assert ids(reader) == ["b"]
    path.write_text(manifest("b", "c"), encoding="utf-8")
    assert ids(reader) == ["b", "c"]


def test_young_file(root: Path) -> None:
    """A file that was written a moment ago is read again: it may have changed without a new time stamp."""
    publish(root, "a")
    clock = Clock(ahead=0)
    reader = reader_of(root, clock=clock)
    assert [ids(reader) for _ in range(3)] == [["a"]] * 3
    clock.ahead = LATER
    reading(reader, force=True)
    assert reader.read_if_changed() is None


def test_young_file_with_a_time_to_come(root: Path) -> None:
    """A file that was written a moment ago is young whatever mtime it was given."""
    for mtime in (SECOND, time.time_ns() + 3600 * SECOND):
        os.utime(publish(root, "a"), ns=(mtime, mtime))
        reader = reader_of(root, clock=Clock(ahead=0))
        assert [ids(reader) for _ in range(2)] == [["a"]] * 2


def test_read_while_young(root: Path) -> None:
    """What was read while the file was young is read once more when the file has settled."""
    publish(root, "a")
    clock = Clock(ahead=0)
    reader = reader_of(root, clock=clock)
    assert ids(reader) == ["a"]
    clock.ahead = LATER
    assert ids(reader) == ["a"]
    assert reader.read_if_changed() is None
