"""The operator's command on a bucket, from its words to the objects below the prefix."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
from tests.cli.buckets.conftest import DISK, MIB, OTHER_DISK, ROOT, Command, Root
from tests.object_store.buckets import Quirks
from tests.object_store.faults import SLOW_DOWN
from tests.object_store.server import ObjectStore

NO_CONDITIONS = [Quirks(conditional_put="ignored"), Quirks(conditional_put="refused")]


def imported(command: Command, source: Path, image_id: str = "disk") -> None:
    said = command("import", source, "--id", image_id)
    assert said.status == 0, said.err


def test_import(command: Command, root: Root, source: Path, tmp_path: Path) -> None:
    """An import makes one object and an entry with its digest, and leaves nothing else anywhere."""
    said = command("import", source, "--id", "disk", "--name", "A disk", "--json")
    assert said.status == 0, said.err
    file = said.json["file"]
    assert re.fullmatch(r"imported/disk/1-[0-9a-f]{12}\.img", file)
    assert root.found() == {file, "manifest.json"}
    assert root.data(file) == DISK
    assert said.json["disk_usage"] == len(DISK), "an object has no holes"
    digest = hashlib.sha256(DISK).hexdigest()
    stamp = f"{len(DISK)}-{root.tag(file)}"
    expected = {"id": "disk", "file": file, "name": "A disk", "sha256": digest, "sha256_of": stamp}
    assert root.entries() == [expected]
    assert [*(tmp_path / "tmp").iterdir()] == []


def test_check_finds_nothing_wrong(command: Command, root: Root, source: Path) -> None:
    """What the commands have written is sound for `catalog check` and `verify`, and `list` shows it."""
    imported(command, source)
    assert command("publish", "disk").status == 0
    checked = command("catalog", "check", "--json")
    assert (checked.status, checked.json["problems"], checked.json["unused_files"]) == (0, {}, [])
    assert (checked.json["warnings"], checked.err) == ({}, "")
    verified = command("verify", "disk", "--json")
    assert verified.status == 0, verified.out
    assert (verified.json["chunks"], verified.json["image"]["ok"]) == (2, True)
    (row,) = command("list", "--json").json
    assert (row["size"], row["chunks"]) == (len(DISK), "published")
    assert row["sha256"] == hashlib.sha256(DISK).hexdigest()
    assert root.found() >= {"manifest.json", f"chunked/disk/{row['chunked_version']}/manifest.json"}


def test_import_again(command: Command, root: Root, source: Path, other: Path) -> None:
    """New content gets a new key; the old object stays for those who still read it, and is marked."""
    imported(command, source)
    old = root.entry("disk")["file"]
    said = command("import", other, "--id", "disk")
    assert said.status == 0, said.err
    new = root.entry("disk")["file"]
    assert new.startswith("imported/disk/2-")
    assert (root.data(old), root.data(new)) == (DISK, OTHER_DISK)
    assert root.found() == {old, new, "manifest.json", f".aero-storage~/unnamed/{old}"}
    assert "remove --expired" in said.err
    (left,) = command("catalog", "check", "--json").json["leftovers"]
    assert (left["path"], left["command"]) == (old, "aero-storage remove --expired")


def test_first_import_lists_what_was_served(command: Command, root: Root, source: Path) -> None:
    """What the listing was serving goes into a new catalog, and that is said."""
    root.put("old.img", b"x" * 512)
    said = command("import", source, "--id", "disk")
    assert "old.img" in said.err
    assert [entry["id"] for entry in root.entries()] == ["old.img", "disk"]


def test_publish(command: Command, root: Root, source: Path) -> None:
    """A version has its chunks, its manifest after them, and the entry that names it last."""
    imported(command, source)
    said = command("publish", "disk", "--chunk-size", "1MiB", "--json")
    assert said.status == 0, said.err
    version = root.entry("disk")["chunked_version"]
    assert (said.json["version"], said.json["already_published"]) == (version, False)
    place = f"chunked/disk/{version}"
    chunks = [root.data(f"{place}/chunks/{number:08}.bin") for number in range(6)]
    assert b"".join(chunks) == DISK
    again = command("publish", "disk", "--chunk-size", "1MiB", "--json")
    assert again.json["already_published"] is True
    assert not any("~" in key for key in root.found())


@pytest.mark.usefixtures("root")
def test_manifest_is_last(command: Command, store: ObjectStore, source: Path) -> None:
    """The manifest of a version is written after its last chunk, under a condition, and the catalog after it."""
    imported(command, source)
    store.requests.clear()
    assert command("publish", "disk", "--chunk-size", "1MiB").status == 0
    puts = [one for one in store.requests if one.operation == "put" and "~" not in one.key]
    assert [one.key.endswith(".bin") for one in puts] == [True] * 6 + [False] * 2
    assert puts[6].headers["if-none-match"] == "*"
    assert (puts[7].key, "if-match" in puts[7].headers) == ("root/manifest.json", True)


def test_publish_goes_on(command: Command, root: Root, store: ObjectStore, source: Path) -> None:
    """A publication that was cut off goes on where it was: chunks that are there are not sent again."""
    imported(command, source)
    assert command("publish", "disk", "--chunk-size", "1MiB").status == 0
    place = f"chunked/disk/{root.entry('disk')['chunked_version']}"
    for key in (f"{place}/manifest.json", f"{place}/chunks/00000005.bin"):
        root.bucket.delete(f"root/{key}")
    store.requests.clear()
    assert command("publish", "disk", "--chunk-size", "1MiB").status == 0
    sent = [one.key for one in store.requests if one.operation == "put" and "/chunks/" in one.key]
    assert sent == [f"root/{place}/chunks/00000005.bin"]
    assert command("verify", "disk").status == 0


def test_damaged_chunk_is_sent_again(command: Command, root: Root, source: Path) -> None:
    """A chunk with other bytes than its version has, of a run that was cut off, is replaced."""
    imported(command, source)
    assert command("publish", "disk", "--chunk-size", "1MiB").status == 0
    place = f"chunked/disk/{root.entry('disk')['chunked_version']}"
    root.bucket.delete(f"root/{place}/manifest.json")
    root.put(f"{place}/chunks/00000001.bin", b"\1" * MIB)
    assert command("publish", "disk", "--chunk-size", "1MiB").status == 0
    assert command("verify", "disk").status == 0


def test_named_version_of_other_content(command: Command, root: Root, source: Path, other: Path) -> None:
    """A version name never gets other content, also where only some of its chunks are there."""
    imported(command, source)
    assert command("publish", "disk", "--image-version", "v1").status == 0
    imported(command, other)
    said = command("publish", "disk", "--image-version", "v1")
    assert (said.status, "is of other content" in said.err) == (1, True)
    root.bucket.delete("root/chunked/disk/v1/manifest.json")
    said = command("publish", "disk", "--image-version", "v1")
    assert (said.status, "chunks of other content" in said.err) == (1, True)
    assert root.data("chunked/disk/v1/chunks/00000000.bin") == DISK[: 4 * MIB]


def test_remove_takes_the_pointer_away(command: Command, root: Root, source: Path, other: Path) -> None:
    """The entry goes, the objects stay; `remove --expired` deletes them a day later, and not before."""
    imported(command, source)
    assert command("publish", "disk").status == 0
    imported(command, other, "other")
    before = root.found()
    said = command("remove", "disk")
    assert said.status == 0
    assert "MiB that nothing names any more stay for those who still read them" in said.err, said.err
    assert "Removed the image disk: 10.0 MiB to be freed later" in said.out, said.out
    assert [entry["id"] for entry in root.entries()] == ["other"]
    assert root.found() >= before
    said = command("remove", "--expired", "--json")
    assert (said.status, said.json["removed"], said.json["waiting"]) == (0, [], 2)
    root.age(25)
    said = command("remove", "--expired", "--json")
    assert (said.status, len(said.json["removed"]), said.json["freed"] > 2 * len(DISK)) == (0, 2, True)
    assert root.found() == {root.entry("other")["file"], "manifest.json"}
    assert root.data(root.entry("other")["file"]) == OTHER_DISK


def test_expiry_counts_from_the_mark(command: Command, root: Root, source: Path, other: Path) -> None:
    """Old objects that have just been given up stay: it is not their own age that counts."""
    imported(command, source)
    root.age(1000)
    old = root.entry("disk")["file"]
    imported(command, other)
    assert command("remove", "--expired", "--json").json["removed"] == []
    assert command("remove", "--expired", "--grace", "1h", "--json").json["removed"] == []
    root.age(2, ".aero-storage~")
    assert command("remove", "--expired", "--grace", "1h", "--json").json["removed"] == [old]


def test_mark_is_forgotten_when_named_again(command: Command, root: Root, source: Path) -> None:
    """What was given up and is published again is no longer marked, so that its time begins anew."""
    imported(command, source)
    assert command("publish", "disk").status == 0
    assert command("remove", "disk", "--chunks-only").status == 0
    assert any(key.startswith(".aero-storage~/unnamed/chunked") for key in root.found())
    assert command("publish", "disk").status == 0
    assert not any("~" in key for key in root.found())


def test_next_command_removes_what_is_left(command: Command, root: Root, source: Path, other: Path) -> None:
    """What a killed import has left is marked by the next command, and removed by one a day later."""
    imported(command, source)
    root.put("imported/disk/7-0123456789ab.img", OTHER_DISK)
    imported(command, other)
    assert "imported/disk/7-0123456789ab.img" in root.found()
    root.age(25)
    said = command("publish", "disk")
    assert (said.status, "An interrupted command had left" in said.err) == (0, True)
    assert "imported/disk/7-0123456789ab.img" not in root.found()


def test_remove_an_own_object(command: Command, root: Root, source: Path) -> None:
    """An object that no import made is kept, unless --yes says otherwise: then it goes a day later."""
    root.put("mine.img", DISK)
    imported(command, source)
    assert command("remove", "mine.img", "--yes").status == 0
    assert "mine.img" in root.found()
    root.age(25)
    assert command("remove", "--expired", "--json").json["removed"] == ["mine.img"]


@pytest.mark.parametrize("words", [["remove", "disk"], ["remove", "disk", "--chunks-only"]], ids=" ".join)
def test_objects_among_the_chunks(command: Command, root: Root, source: Path, other: Path, words: list[str]) -> None:
    """Objects of an operator's own that lie where chunks do stay, whatever is removed."""
    imported(command, source)
    imported(command, other, "other")
    assert command("publish", "disk").status == 0
    version = root.entry("disk")["chunked_version"]
    own = {f"chunked/disk/{place}" for place in ("README", "notes/README", f"{version}/README", "chunks/README")}
    own |= {f"chunked/disk/{version}/chunks/README", "chunked/photos/2026/a.jpg"}
    for key in own:
        root.put(key, b"mine")
    said = command(*words)
    assert said.status == 0, said.err
    assert "notes" not in said.err
    root.age(25)
    removed = command("remove", "--expired", "--json").json["removed"]
    assert f"chunked/disk/{version}" in removed
    assert {key for key in root.found() if key.startswith("chunked/")} == own
    assert command("remove", "--expired", "--json").json == {"removed": [], "freed": 0, "waiting": 0}


def test_remove_from_a_listing(command: Command, root: Root) -> None:
    """Without a catalog an object is its own pointer, and is deleted."""
    root.put("mine.img", DISK)
    root.put("other.img", DISK)
    assert command("remove", "mine.img").status == 1
    said = command("remove", "mine.img", "--yes", "--json")
    assert (said.status, said.json["freed"]) == (0, len(DISK)), said.err
    assert root.found() == {"other.img"}


@pytest.mark.parametrize("quirks", NO_CONDITIONS)
def test_store_without_conditions(command: Command, store: ObjectStore, source: Path, quirks: Quirks) -> None:
    """A store without conditional writes is refused before anything is done, unless nobody else writes."""
    root = Root(store.bucket("images", quirks))
    said = command("import", source, "--id", "disk")
    assert (said.status, "--single-writer" in said.err) == (1, True)
    assert root.found() == set()
    assert command("import", source, "--id", "disk", "--single-writer").status == 0
    assert command("publish", "disk", "--single-writer").status == 0
    assert command("verify", "disk").status == 0
    assert not any("~" in key for key in root.found())


@pytest.mark.parametrize(
    "quirks", [Quirks(if_match_unquoted=True), Quirks(opaque_tags=True), Quirks(versioned=True, keys_of_a_page=3)]
)
def test_other_stores(command: Command, store: ObjectStore, source: Path, other: Path, quirks: Quirks) -> None:
    """The commands do with what stores differ in: quotes, tags that are no digests, versions, short pages."""
    root = Root(store.bucket("images", quirks))
    imported(command, source)
    imported(command, other)
    assert command("publish", "disk", "--chunk-size", "1MiB").status == 0
    assert command("verify", "disk").status == 0
    checked = command("catalog", "check", "--json")
    assert (checked.status, len(checked.json["unused_files"])) == (0, 1)
    assert root.data(root.entry("disk")["file"]) == OTHER_DISK


def test_throttled(command: Command, root: Root, store: ObjectStore, source: Path) -> None:
    """A store that is throttling is asked again."""
    store.faults.add(SLOW_DOWN, times=3)
    imported(command, source)
    assert root.data(root.entry("disk")["file"]) == DISK


def test_damage_is_found(command: Command, root: Root, source: Path) -> None:
    """`verify` finds a chunk and an image that are not what was recorded."""
    imported(command, source)
    assert command("publish", "disk", "--chunk-size", "1MiB").status == 0
    place = f"chunked/disk/{root.entry('disk')['chunked_version']}"
    root.put(f"{place}/chunks/00000001.bin", b"\1" * MIB)
    root.bucket.delete(f"root/{place}/chunks/00000002.bin")
    root.put(f"{place}/chunks/stray", b"x")
    found = command("verify", "disk", "--json")
    assert found.status == 1
    where = [one["where"] for one in found.json["mismatches"]]
    assert where == ["chunks/00000001.bin", "chunks/00000002.bin", "chunks/stray"]


@pytest.mark.usefixtures("root")
def test_list_asks_no_object(command: Command, store: ObjectStore, source: Path) -> None:
    """`list` learns the sizes of imported images from pages of a listing, and not by a request for each."""
    for number in range(5):
        imported(command, source, f"disk{number}")
    store.requests.clear()
    assert len(command("list", "--json").json) == 5
    assert store.count("head") <= 5 + 2, [one.key for one in store.requests if one.operation == "head"]
    assert not any(one.operation == "head" and "imported" in one.key for one in store.requests)


@pytest.mark.usefixtures("store")
def test_no_such_bucket(command: Command, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bucket that is not there is told of in one line, with the name that was asked for."""
    monkeypatch.setenv("AERO_STORAGE_ORIGIN_TIMEOUT_SECS", "0.5")
    said = command("import", source, "--id", "disk")
    assert said.status == 1
    assert said.err.count("\n") == 1
    assert ROOT in said.err
