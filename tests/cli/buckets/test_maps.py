"""Maps of zeros in a bucket (http.md §14): every command that stores an image stores one, and none outlives it."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path

import pytest
from tests.cli.buckets.conftest import DISK, OTHER_DISK, Command, Root
from tests.object_store.faults import ACCESS_DENIED
from tests.object_store.server import ObjectStore
from tests.storage.objects.fake_origin import FakeOrigin

from aero_storage.catalog.content_digest import object_stamps
from aero_storage.cli.buckets.maps import put_map
from aero_storage.http.extents.documents import parse_stored_map
from aero_storage.http.extents.extents import everything
from aero_storage.storage.objects.object_keys import map_key

BLOCK = 4096


def mapped(root: Root, file: str) -> set[int] | None:
    """The blocks of an object that its map calls data; None if the map is of another content."""
    size = len(root.data(file))
    extents = parse_stored_map(root.data(map_key(file)), object_stamps(size, root.tag(file)), size)
    if extents is None:
        return None
    return {at for first, after in extents.pairs() for at in range(first // BLOCK, -(-after // BLOCK))}


def blocks_of(data: bytes) -> set[int]:
    """The blocks that are not all zeros."""
    return {at for at in range(-(-len(data) // BLOCK)) if any(data[at * BLOCK : (at + 1) * BLOCK])}


def test_of_a_raw_file(command: Command, root: Root, source: Path) -> None:
    """An import of a raw file maps the blocks of zeros in it."""
    file = command("import", source, "--id", "disk", "--json").json["file"]
    assert mapped(root, file) == blocks_of(DISK) != set(range(len(DISK) // BLOCK))
    assert root.maps() == {file}


def test_of_an_unpacked_file(command: Command, root: Root, tmp_path: Path) -> None:
    """An import by way of a temporary file does so as well."""
    (tmp_path / "disk.raw.gz").write_bytes(gzip.compress(DISK))
    file = command("import", tmp_path / "disk.raw.gz", "--id", "disk", "--json").json["file"]
    assert mapped(root, file) == blocks_of(DISK)


def test_of_a_copy(command: Command, root: Root, source: Path, tmp_path: Path) -> None:
    """A copy from a directory, and on to another prefix, has a map, and its manifests keep their zeros."""
    (tmp_path / "images").mkdir()
    for words in (["import", source, "--id", "disk"], ["publish", "disk", "--chunk-size", "1MiB"]):
        assert command(*words, "--images-root", tmp_path / "images").status == 0
    assert command("copy", tmp_path / "images", "s3://images/root/1").status == 0
    assert command("copy", "s3://images/root/1", "s3://images/root").status == 0
    entry = root.entry("disk")
    assert mapped(root, entry["file"]) == blocks_of(DISK)
    manifest = json.loads(root.data(f"chunked/disk/{entry['chunked_version']}/manifest.json"))
    assert (manifest["zeros"], manifest["sha256"]) == ([3, 2], entry["sha256"])


def test_of_what_an_interrupted_copy_has_stored(command: Command, root: Root, source: Path, tmp_path: Path) -> None:
    """A copy that finds its object there from an interrupted run stores the map that the run had not."""
    (tmp_path / "images").mkdir()
    command("import", source, "--id", "disk", "--images-root", tmp_path / "images")
    command("copy", tmp_path / "images", "s3://images/root")
    file = root.entry("disk")["file"]
    for key in ("manifest.json", map_key(file)):
        root.bucket.delete(f"root/{key}")
    assert command("copy", tmp_path / "images", "s3://images/root").status == 0
    assert root.entry("disk")["file"] == file
    assert mapped(root, file) == blocks_of(DISK)


def test_of_an_object_that_is_published(command: Command, root: Root) -> None:
    """A publication maps an object that another program has stored; of another content the map says nothing."""
    root.put("disk.img", DISK)
    for _ in range(2):
        assert command("publish", "disk.img", "--chunk-size", "1MiB").status == 0
        assert mapped(root, "disk.img") == blocks_of(DISK)
    root.put("disk.img", OTHER_DISK)
    assert mapped(root, "disk.img") is None


def test_digest_in_manifests(command: Command, root: Root, source: Path) -> None:
    """The manifest has the digest of the whole image, known before or computed now; not if none is recorded."""
    command("import", source, "--id", "disk")
    command("import", source, "--id", "unknown", "--no-sha256")
    assert command("publish", "disk").status == command("publish", "unknown").status == 0
    assert command("import", source, "--id", "never", "--no-sha256").status == 0
    assert command("publish", "never", "--no-sha256").status == 0
    found = {}
    for image_id in ("disk", "unknown", "never"):
        version = root.entry(image_id)["chunked_version"]
        found[image_id] = json.loads(root.data(f"chunked/{image_id}/{version}/manifest.json")).get("sha256")
    sha256 = root.entry("disk")["sha256"]
    assert found == {"disk": sha256, "unknown": sha256, "never": None}


def test_removed_with_its_object(command: Command, root: Root, source: Path, other: Path) -> None:
    """A replaced import keeps its map as long as the object stays; both go together."""
    old = command("import", source, "--id", "disk", "--json").json["file"]
    new = command("import", other, "--id", "disk", "--json").json["file"]
    assert root.maps() == {old, new}
    root.age(25)
    assert command("remove", "--expired", "--json").json["removed"] == [old]
    assert root.maps() == {new}
    assert root.found() == {new, "manifest.json"}
    kept = command("import", source, "--id", "kept", "--json").json["file"]
    assert command("remove", "disk", "--yes").status == 0
    root.age(25)
    command("remove", "--expired")
    assert (root.maps(), root.found()) == ({kept}, {kept, "manifest.json"})


def test_without_a_catalog(command: Command, root: Root) -> None:
    """Without a catalog a removal takes both at once."""
    root.put("disk.img", DISK)
    root.put(map_key("disk.img"), b"{}")
    assert command("remove", "disk.img", "--yes").status == 0
    assert "disk.img" not in root.found()
    root.age(25)
    command("remove", "--expired")
    assert root.maps() == set()


def test_stray_maps(command: Command, root: Root, source: Path) -> None:
    """The map of an object that another program removed goes with the next sweep; those of others stay."""
    file = command("import", source, "--id", "disk", "--json").json["file"]
    root.put("mine.img", DISK)
    root.put(map_key("mine.img"), b"{}")
    root.put(map_key("gone.img"), b"{}")
    assert command("remove", "--expired").status == 0
    assert root.maps() == {file, "mine.img"}


def test_object_without_a_tag() -> None:
    """An object without a tag gets no map, which would count for each other one of its size."""
    origin = FakeOrigin()  # whose put raises AssertionError
    put_map(origin, "disk.img", everything(5), "")
    with pytest.raises(AssertionError, match=r"disk\.img"):
        put_map(origin, "disk.img", everything(5), '"a"')


def test_import_that_fails(command: Command, root: Root, store: ObjectStore, source: Path) -> None:
    """An import whose map cannot be stored ends with an error, and leaves neither object nor map."""
    store.faults.add(ACCESS_DENIED, "put", key="*/extents/*", times=math.inf)
    said = command("import", source, "--id", "disk")
    assert (said.status != 0, "AccessDenied" in said.err) == (True, True)
    assert (root.found(), root.maps()) == (set(), set())
