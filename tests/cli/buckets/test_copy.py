"""`aero-storage copy` between directories and buckets: content, versions and entries arrive, or nothing does."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
from tests.cli.buckets.conftest import DISK, MIB, OTHER_DISK, ROOT, Command, Root
from tests.object_store.faults import ACCESS_DENIED, Answer, Asked, Fault
from tests.object_store.server import ObjectStore


@pytest.fixture
def directory(command: Command, tmp_path: Path, source: Path, other: Path, root: Root) -> Path:
    """Make an images root with an image in two versions of chunks, one without chunks, and unknown keys."""
    del root
    place = tmp_path / "images"
    place.mkdir()
    for words in (
        ["import", source, "--id", "disk", "--name", "A disk"],
        ["publish", "disk", "--chunk-size", "2MiB", "--image-version", "v1"],
        ["publish", "disk", "--chunk-size", "1MiB"],
        ["import", other, "--id", "other"],
    ):
        said = command(*words, "--images-root", place)
        assert said.status == 0, said.err
    document = json.loads((place / "manifest.json").read_text())
    document["images"][0] |= {"x_owner": ["somebody", 1], "etag": '"mine"'}
    (place / "manifest.json").write_text(json.dumps(document))
    return place


def entry(place: Path, image_id: str) -> dict[str, Any]:
    entries = json.loads((place / "manifest.json").read_text())["images"]
    return next(one for one in entries if one["id"] == image_id)


def checked(command: Command, root: str | Path) -> None:
    for words in (["catalog", "check"], ["verify", "disk"], ["verify", "other"]):
        said = command(*words, "--images-root", root)
        assert said.status == 0, said.out + said.err


def test_there_and_back(command: Command, root: Root, directory: Path, tmp_path: Path) -> None:
    """A copy to a bucket, on to another prefix and back to a directory has the same images, versions and keys."""
    (tmp_path / "back").mkdir()
    for before, after in ((directory, ROOT), (ROOT, f"{ROOT}/2"), (f"{ROOT}/2", tmp_path / "back")):
        said = command("copy", before, after, "--json")
        assert said.status == 0, said.err
        assert [(row["id"], row["file_copied"]) for row in said.json] == [("disk", True), ("other", True)]
        assert len(said.json[0]["versions_copied"]) == 2
        checked(command, after)
    first, last = entry(directory, "disk"), entry(tmp_path / "back", "disk")
    assert {**last, "sha256_of": first["sha256_of"]} == first
    assert (tmp_path / "back" / last["file"]).read_bytes() == DISK
    assert (tmp_path / "back/chunked/disk/v1/chunks/00000002.bin").stat().st_size == 1 * MIB + 512
    assert root.entry("disk")["x_owner"] == ["somebody", 1]
    before, after = (one / "chunked/disk/v1/manifest.json" for one in (directory, tmp_path / "back"))
    assert before.read_bytes() == after.read_bytes()


def test_what_is_there_is_not_copied(command: Command, store: ObjectStore, directory: Path) -> None:
    """A second copy sends nothing; one entry that was changed goes over without its content."""
    assert command("copy", directory, ROOT).status == 0
    document = json.loads((directory / "manifest.json").read_text())
    document["images"][0]["name"] = "A new name"
    (directory / "manifest.json").write_text(json.dumps(document))
    store.requests.clear()
    said = command("copy", directory, ROOT, "--json")
    assert [(row["file_copied"], row["versions_copied"], row["bytes"]) for row in said.json] == [(False, [], 0)] * 2
    assert store.count("begin_upload") == 0
    assert {one.key for one in store.requests if one.operation == "put" and "~" not in one.key} == {
        "root/manifest.json"
    }
    assert Root(store.bucket("images")).entry("disk")["name"] == "A new name"


def test_goes_on(command: Command, root: Root, store: ObjectStore, directory: Path) -> None:
    """A copy that was cut off goes on: chunks and images that are there whole are not sent again."""
    store.faults.add(ACCESS_DENIED, "put", key="root/manifest.json", times=math.inf)
    assert command("copy", directory, ROOT, "--id", "disk").status == 1
    store.faults.clear()
    assert not any(key.startswith("imported") for key in root.found())
    root.put("imported/disk/1-000000000000.img", DISK)
    store.requests.clear()
    assert command("copy", directory, ROOT, "--id", "disk").status == 0
    assert root.entry("disk")["file"] == "imported/disk/1-000000000000.img"
    assert store.count("begin_upload") == 0
    assert not [one.key for one in store.requests if one.operation == "put" and one.key.endswith(".bin")]
    assert [one["id"] for one in root.entries()] == ["disk"]
    assert command("verify", "disk").status == 0


def test_to_a_directory_goes_on(command: Command, directory: Path, tmp_path: Path, store: ObjectStore) -> None:
    """A copy to a directory that was cut off leaves nothing by halves, and goes on with what is missing."""
    assert command("copy", directory, ROOT).status == 0
    (tmp_path / "back").mkdir()
    store.faults.add(ACCESS_DENIED, "get", key="*/v1/chunks/00000001.bin", times=math.inf)
    assert command("copy", ROOT, tmp_path / "back").status == 1
    store.faults.clear()
    assert not (tmp_path / "back/chunked/disk/v1").exists()
    assert not (tmp_path / "back/manifest.json").exists()
    assert command("copy", ROOT, tmp_path / "back").status == 0
    checked(command, tmp_path / "back")
    store.requests.clear()
    assert command("copy", ROOT, tmp_path / "back").status == 0
    assert not [one.key for one in store.requests if one.operation == "get" and one.key.endswith((".bin", ".img"))]


def test_damaged_source(command: Command, root: Root, directory: Path) -> None:
    """Content that has not the digest that its catalog records is not copied, and nothing is left of it."""
    assert command("copy", directory, ROOT).status == 0
    file = entry(directory, "other")["file"]
    path = directory / file
    times = path.stat()
    path.write_bytes(OTHER_DISK[:-1] + b"\0")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    said = command("copy", directory, f"{ROOT}/2", "--id", "other")
    assert (said.status, "its SHA-256 is" in said.err) == (1, True)
    assert not any(key.startswith("2/") for key in root.found())


def test_damaged_chunk(command: Command, root: Root, directory: Path) -> None:
    """A version with a damaged chunk is not copied: no manifest of it appears."""
    (directory / "chunked/disk/v1/chunks/00000001.bin").write_bytes(b"\1" * 2 * MIB)
    said = command("copy", directory, ROOT)
    assert (said.status, "00000001.bin is not what the manifest says" in said.err) == (1, True)
    assert "chunked/disk/v1/manifest.json" not in root.found()
    assert "manifest.json" not in root.found()


def test_only_chunks(command: Command, root: Root, directory: Path) -> None:
    """An image without a raw file is copied with its chunks."""
    (directory / entry(directory, "disk")["file"]).unlink()
    assert command("copy", directory, ROOT, "--id", "disk").status == 0
    assert root.entry("disk")["chunked_version"] == entry(directory, "disk")["chunked_version"]
    assert command("verify", "disk").status == 0


def test_replaces_an_older_image(command: Command, root: Root, directory: Path, other: Path) -> None:
    """An image of the same id is replaced: its old object stays for a day."""
    assert command("import", other, "--id", "disk").status == 0
    old = root.entry("disk")["file"]
    assert command("copy", directory, ROOT, "--id", "disk").status == 0
    assert root.data(root.entry("disk")["file"]) == DISK
    assert f".aero-storage~/unnamed/{old}" in root.found()


def test_catalog_that_changes_meanwhile(command: Command, root: Root, store: ObjectStore, directory: Path) -> None:
    """Another command's entry is kept, whoever writes the catalog first."""
    root.put("mine.img", DISK)
    mine = json.dumps({"images": [{"id": "mine", "file": "mine.img", "name": "Mine"}]}).encode()

    def edit(asked: Asked, answer: Answer) -> Answer:
        del asked
        root.put("manifest.json", mine)
        return answer

    store.faults.add(Fault("edit", edit), "get", key="root/manifest.json", skip=1)
    assert command("copy", directory, ROOT, "--id", "disk").status == 0
    assert [one["id"] for one in root.entries()] == ["mine", "disk"]


@pytest.mark.parametrize("url", ["s3://user:secret@images/root", "ftp://images/root", "/nowhere"])
def test_no_such_root(command: Command, directory: Path, url: str) -> None:
    """What is no images root is told of in one line, without what may be a password."""
    said = command("copy", directory, url)
    assert (said.status, said.err.count("\n")) == (1, 1)
    assert "secret" not in said.err


def test_no_such_image(command: Command, directory: Path) -> None:
    """An id that the source has not is an error before anything is copied."""
    said = command("copy", directory, ROOT, "--id", "disk", "--id", "nothing")
    assert (said.status, "there is no image 'nothing'" in said.err) == (1, True)
