"""The operator's command from its words to what lies in the images root."""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.command_output import CommandResult
from tests.disk_bytes import bootable

from aero_storage.atomic_files import Directory, Replaceable, staging_directory
from aero_storage.chunks.publish.publisher import publish
from aero_storage.cli import directory_work
from aero_storage.cli.removals import Plan

MIB = 1 << 20
DISK = bootable(random.Random(3).randbytes(3 * MIB) + bytes(2 * MIB) + random.Random(4).randbytes(512))
OTHER_DISK = bootable(DISK[::-1])


Command = Callable[..., CommandResult]


pytestmark = pytest.mark.usefixtures("alone")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    return tmp_path / "images"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "disk.raw"
    path.write_bytes(DISK)
    return path


def entries(root: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((root / "manifest.json").read_bytes())["images"]
    return found


def hidden(root: Path) -> set[str]:
    """What work has left behind."""
    return {str(path.relative_to(root)) for path in root.rglob("*~*") if path.name != ".aero-storage~"}


def test_import(command: Command, root: Path, source: Path) -> None:
    """An import makes a file in the root and an entry in the catalog, and leaves nothing else behind."""
    said = command("import", source, "--id", "disk", "--name", "A disk", "--description", "Words", "--json")
    assert said.status == 0, said.err
    assert said.json == {
        "id": "disk",
        "file": "imported/disk/1.img",
        "format": "raw",
        "size": len(DISK),
        "disk_usage": said.json["disk_usage"],
        "sha256": hashlib.sha256(DISK).hexdigest(),
    }
    status = (root / "imported/disk/1.img").stat()
    digest = {"sha256": said.json["sha256"], "sha256_of": f"{len(DISK)}-{status.st_mtime_ns}"}
    plain = {"id": "disk", "file": "imported/disk/1.img", "name": "A disk", "description": "Words"}
    assert entries(root) == [plain | digest]
    assert (root / "imported/disk/1.img").read_bytes() == DISK
    assert hidden(root) == set()


def test_import_makes_the_root(command: Command, tmp_path: Path, source: Path) -> None:
    """The first import makes the images root, ./images where nothing else is said."""
    assert command("import", source, "--id", "disk").status == 0
    assert entries(tmp_path / "images")[0]["name"] == "disk"


def test_variable_of_the_original(
    command: Command, tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command takes the original's variable as the daemon does, with one warning."""
    (tmp_path / "old").mkdir()
    monkeypatch.setenv("AERO_IMAGE_DIR", str(tmp_path / "old"))
    said = command("import", source, "--id", "disk")
    assert said.status == 0
    assert entries(tmp_path / "old")[0]["name"] == "disk"
    assert said.err.count("AERO_IMAGE_DIR is the original server's name; use AERO_STORAGE_IMAGE_ROOT") == 1


def test_import_does_not_make_a_named_root(command: Command, tmp_path: Path, source: Path) -> None:
    """An images root that was named must exist: a mistake in its name is told, not made."""
    said = command("import", source, "--id", "disk", "--images-root", tmp_path / "imagse")
    assert (said.status, "imagse is no directory" in said.err) == (1, True)
    assert not (tmp_path / "imagse").exists()


def test_first_import_lists_what_was_served(command: Command, root: Path, source: Path) -> None:
    """What the directory listing was serving is listed, and that is said."""
    (root / "old.img").write_bytes(b"x" * 512)
    said = command("import", source, "--id", "disk")
    assert "old.img" in said.err
    assert [entry["id"] for entry in entries(root)] == ["old.img", "disk"]


def test_first_import_under_require_manifest(
    command: Command, root: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the daemon serves no directory listing, none is made public."""
    monkeypatch.setenv("AERO_STORAGE_REQUIRE_MANIFEST", "true")
    (root / "secret.img").write_bytes(b"x" * 512)
    assert command("import", source, "--id", "disk").status == 0
    assert [entry["id"] for entry in entries(root)] == ["disk"]


def test_import_again(command: Command, root: Path, source: Path) -> None:
    """New content goes into a new file; what the entry said of the old content goes with it, all else stays."""
    command("import", source, "--id", "disk", "--name", "A disk", "--private")
    old = entries(root)[0] | {
        "etag": '"x"',
        "last_modified": "2020-01-01T00:00:00Z",
        "chunked_version": "v",
        "private_cache": "browser",
        "mine": 1,
    }
    sha256 = hashlib.sha256(OTHER_DISK).hexdigest()
    (root / "manifest.json").write_text(json.dumps({"images": [old]}))
    source.write_bytes(OTHER_DISK)
    said = command("import", source, "--id", "disk", "--description", "New")
    assert said.status == 0
    assert entries(root) == [
        {
            "id": "disk",
            "file": "imported/disk/2.img",
            "name": "A disk",
            "public": False,
            "private_cache": "browser",
            "mine": 1,
            "description": "New",
            "sha256": sha256,
            "sha256_of": entries(root)[0]["sha256_of"],
        }
    ]
    assert [path.name for path in (root / "imported/disk").iterdir()] == ["2.img"]
    assert (root / "imported/disk/2.img").read_bytes() == OTHER_DISK


def test_import_killed_as_the_catalog_changes(
    command: Command, root: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed right behind the change of the catalog, it leaves a file that the next command finds and removes."""
    command("import", source, "--id", "d")
    replace = Replaceable.replace

    def replace_and_die(file: Replaceable, data: bytes) -> None:
        replace(file, data)
        os._exit(9)

    if not (child := os.fork()):
        monkeypatch.setattr(Replaceable, "replace", replace_and_die)
        command("import", source, "--id", "d")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert sorted(path.name for path in (root / "imported/d").iterdir()) == ["1.img", "2.img"]
    assert command("import", source, "--id", "other").status == 0
    assert [path.name for path in (root / "imported/d").iterdir()] == ["2.img"]


def test_import_keeps_files_of_others(command: Command, root: Path, source: Path) -> None:
    """A file that no import made, or that another entry names, outlives the entry that is replaced."""
    (root / "mine.img").write_bytes(b"x" * 512)
    (root / "manifest.json").write_text(json.dumps([{"id": "disk", "file": "mine.img", "name": "Mine"}]))
    said = command("import", source, "--id", "disk")
    assert "mine.img" in said.err
    assert (root / "mine.img").exists()
    catalog = json.loads((root / "manifest.json").read_bytes())
    (root / "manifest.json").write_text(
        json.dumps([*catalog, {"id": "b", "file": "imported/disk/1.img", "name": "B"}])
    )
    command("import", source, "--id", "disk")
    assert (root / "imported/disk/1.img").exists()


def test_private(command: Command, root: Path, source: Path) -> None:
    """--private says which daemon asks for leases; --public takes it back."""
    said = command("import", source, "--id", "disk", "--private")
    assert "--lease-keys-file" in said.err
    assert entries(root)[0]["public"] is False
    command("import", source, "--id", "disk", "--public")
    assert entries(root)[0]["public"] is True


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '[{"id": "x"}]',
        '[{"id": "x", "file": "x", "name": "", "public": false, "private_cache": "shared"}]',
    ],
)
def test_broken_catalog(command: Command, root: Path, source: Path, content: str) -> None:
    """A broken catalog stops every command with one line that names it, before any work, and stays as it is."""
    (root / "manifest.json").write_text(content)
    for words in (
        ["import", source, "--id", "disk"],
        ["publish", "disk"],
        ["list"],
        ["remove", "x"],
        ["catalog", "check"],
    ):
        said = command(*words)
        assert said.status == 1
        assert said.err.startswith(f"aero-storage: {root}/manifest.json: "), said.err
        assert said.err.count("\n") == 1
    assert (root / "manifest.json").read_text() == content
    assert not (root / "imported").exists()


@pytest.mark.parametrize(
    ("words", "status", "part"),
    [
        (["import", "no-such.img", "--id", "x"], 1, "no-such.img"),
        (["import", "disk.raw", "--id", "a/b"], 2, "is no image id"),
        (["import", "disk.raw"], 2, "--id"),
        (["import", "disk.raw", "--id", "x", "--format", "iso"], 2, "iso"),
        (["publish", "nobody"], 1, "no image 'nobody'"),
        (["publish", "disk", "--chunk-size", "1000"], 1, "512"),
        (["publish", "disk", "--chunk-size", "128MiB"], 1, "67108864"),
        (["publish", "disk", "--chunk-size", "4 bananas"], 2, "is no size"),
        (["publish", "disk", "--image-version", "chunks"], 2, "is no version"),
        (["publish", "disk", "--image-version", ".."], 2, "is no version"),
        (["publish", "disk", "--jobs", "0"], 2, "jobs"),
        (["remove", "nobody"], 1, "no image 'nobody'"),
        (["verify", "nobody"], 1, "nobody"),
        (["list", "--images-root", "/no/such"], 1, "/no/such"),
        (["frobnicate"], 2, "frobnicate"),
    ],
)
def test_mistakes(command: Command, root: Path, source: Path, words: list[str], status: int, part: str) -> None:
    """Every mistake ends with a message that names it, status 1 for a failure and 2 for the command line."""
    command("import", source, "--id", "disk")
    before = sorted(root.rglob("*"))
    said = command(*words)
    assert (said.status, part in said.err, said.out) == (status, True, ""), said.err
    assert "Traceback" not in said.err
    assert sorted(root.rglob("*")) == before


def test_mistakes_as_json(command: Command, root: Path) -> None:
    """With --json a failure is a JSON document too."""
    assert "nobody" in command("publish", "nobody", "--json").json["error"]
    assert "chunk-size" in command("publish", "--chunk-size", "x", "--json", "nobody").json["error"]
    assert root.exists()


def test_publish_and_verify(command: Command, root: Path, source: Path) -> None:
    """What is published is what the catalog points at, verifies, and is there already the second time."""
    command("import", source, "--id", "disk")
    said = command("publish", "disk", "--chunk-size", "1MiB", "--json")
    assert said.status == 0, said.err
    version = said.json["version"]
    assert version.startswith("sha256-")
    assert entries(root)[0]["chunked_version"] == version
    chunks = sorted((root / "chunked/disk" / version / "chunks").iterdir())
    assert b"".join(path.read_bytes() for path in chunks) == DISK
    assert command("verify", "disk").status == 0
    assert command("verify", root / "chunked/disk" / version / "manifest.json").status == 0
    assert command("publish", "disk", "--chunk-size", "1MiB", "--json").json["already_published"] is True
    assert hidden(root) == set()


def test_equal_content_has_an_equal_version(command: Command, root: Path, source: Path) -> None:
    """The automatic version hangs on content and chunk size alone."""
    for image_id in ("one", "two"):
        command("import", source, "--id", image_id)
    versions = [command("publish", image_id, "--json").json["version"] for image_id in ("one", "two")]
    assert versions[0] == versions[1]
    assert command("publish", "one", "--chunk-size", "1MiB", "--json").json["version"] != versions[0]
    assert len(list((root / "chunked/one").iterdir())) == 2


def test_named_versions_are_immutable(command: Command, root: Path, source: Path) -> None:
    """A name that is taken by other content is refused, and all stays as it was."""
    command("import", source, "--id", "disk")
    assert command("publish", "disk", "--image-version", "v1").status == 0
    source.write_bytes(OTHER_DISK)
    command("import", source, "--id", "disk")
    before = (root / "chunked/disk/v1/manifest.json").read_bytes()
    said = command("publish", "disk", "--image-version", "v1")
    assert (said.status, "v1" in said.err) == (1, True)
    assert (root / "chunked/disk/v1/manifest.json").read_bytes() == before
    assert "chunked_version" not in entries(root)[0]
    assert command("publish", "disk", "--image-version", "v2").status == 0


def test_publish_warns_of_large_chunks(command: Command, root: Path, tmp_path: Path) -> None:
    """Chunks over the daemon's default limit are published with a warning that names the flag."""
    image = tmp_path / "large.raw"
    with image.open("wb") as file:
        file.truncate(32 * MIB)
    command("import", image, "--id", "large")
    assert "--max-chunk-bytes" not in command("publish", "large", "--chunk-size", "8MiB").err
    assert "--max-chunk-bytes 16777216" in command("publish", "large", "--chunk-size", "16MiB").err
    assert root.exists()


@pytest.mark.parametrize("source_of", ["variable", "file", "flag"])
def test_publish_goes_by_the_settings(
    command: Command, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source_of: str
) -> None:
    """Chunks that the daemon's own settings allow are published without a warning, wherever they are set."""
    image = tmp_path / "large.raw"
    with image.open("wb") as file:
        file.truncate(32 * MIB)
    command("import", image, "--id", "large")
    (tmp_path / "aero.toml").write_text("max_chunk_bytes = 33554432")
    if source_of == "variable":
        monkeypatch.setenv("AERO_STORAGE_MAX_CHUNK_BYTES", "33554432")
    words: dict[str, list[str | Path]] = {
        "variable": [],
        "file": ["--config", tmp_path / "aero.toml"],
        "flag": ["--max-chunk-bytes", "33554432"],
    }
    said = command("publish", "large", "--chunk-size", "16MiB", *words[source_of])
    assert (said.status, said.err) == (0, "")
    assert root.exists()


def test_publish_from_a_listing(command: Command, root: Path) -> None:
    """Publishing what only a directory listing serves makes the catalog, and says so."""
    (root / "old.img").write_bytes(DISK)
    (root / "other.img").write_bytes(DISK)
    said = command("publish", "old.img")
    assert "other.img" in said.err
    assert [entry["id"] for entry in entries(root)] == ["old.img", "other.img"]
    assert entries(root)[0]["chunked_version"].startswith("sha256-")


def test_odd_sizes(command: Command, root: Path, tmp_path: Path) -> None:
    """An image of an odd size is imported as it is, with a remark; it cannot be published, and why is said."""
    odd = tmp_path / "odd.raw"
    odd.write_bytes(DISK[:1000])
    assert "512" in command("import", odd, "--id", "odd").err
    assert (root / "imported/odd/1.img").read_bytes() == DISK[:1000]
    said = command("publish", "odd")
    assert (said.status, "512" in said.err) == (1, True)


@pytest.mark.parametrize("word", ["verify", "doctor", "import"])
@pytest.mark.parametrize("url", ["ftp://u:s3cret@h/x", "http://h:x/?a='s3cret", "http:u:s3cret@h/x"])
def test_secrets_of_urls(command: Command, word: str, url: str) -> None:
    """A URL that is of no use is told of without what may be a password in it."""
    said = command(word, url, *(["--id", "disk"] if word == "import" else []))
    assert said.status != 0
    assert "URL" in said.err
    assert "s3cret" not in said.err + said.out


@pytest.mark.parametrize("damage", ["flip", "cut", "lose", "manifest"])
def test_verify_finds_damage(command: Command, root: Path, source: Path, damage: str) -> None:
    """Each kind of damage is told with its place, and the status is 1."""
    command("import", source, "--id", "disk")
    version = command("publish", "disk", "--chunk-size", "1MiB", "--json").json["version"]
    base = root / "chunked/disk" / version
    victim = base / "chunks/00000001.bin"
    data = victim.read_bytes()
    if damage == "flip":
        victim.write_bytes(data[:1000] + bytes([data[1000] ^ 1]) + data[1001:])
    elif damage == "cut":
        victim.write_bytes(data[:-1])
    elif damage == "lose":
        victim.unlink()
    else:
        manifest = base / "manifest.json"
        manifest.write_text(manifest.read_text().replace('"chunkCount":6', '"chunkCount":7'))
    said = command("verify", "disk")
    assert said.status == 1
    assert ("chunkCount" if damage == "manifest" else "00000001.bin") in said.out
    assert command("verify", "disk", "--json").json["ok"] is False


def test_list(command: Command, root: Path, source: Path) -> None:
    """The list shows what there is, and what is wrong with it."""
    assert "no image" in command("list").out
    command("import", source, "--id", "disk", "--name", "[red]A\x1b[0m")
    command("import", source, "--id", "gone")
    (root / "imported/gone/1.img").unlink()
    command("publish", "disk")
    said = command("list", "--json")
    assert [(row["id"], row["size"], row["chunks"], bool(row["problems"])) for row in said.json] == [
        ("disk", len(DISK), "published", False),
        ("gone", None, None, True),
    ]
    printed = command("list").out
    assert "[red]A" in printed
    assert "\x1b" not in printed


def test_caches_in_the_list(command: Command, root: Path, source: Path) -> None:
    """The list shows by which caches each image may be kept."""
    more: list[dict[str, object]] = [{}, {"public": False}, {"public": False, "private_cache": "browser"}]
    images = [{"id": f"d{number}", "file": "disk.img", "name": "D"} | one for number, one in enumerate(more)]
    source.rename(root / "disk.img")
    (root / "manifest.json").write_text(json.dumps({"images": images}))
    said = command("list", "--json").json
    seen = [(row["public"], row["private_cache"]) for row in said]
    assert seen == [(True, None), (False, None), (False, "browser")]
    rows = [line.split() for line in command("list").out.splitlines()[1:]]
    assert [next(word for word in row if word in {"public", "private", "browser"}) for row in rows] == [
        "public",
        "private",
        "browser",
    ]


def test_catalog_check(command: Command, root: Path, source: Path) -> None:
    """The check passes on a sound catalog; each fault is told with its image and makes the status 1."""
    command("import", source, "--id", "disk")
    assert command("catalog", "check").status == 0
    command("import", source, "--id", "cut")
    command("publish", "cut")
    catalog = entries(root)
    catalog[0]["chunked_version"] = "v9"
    catalog += [
        {"id": "missing", "file": "no-such", "name": "x"},
        {"id": "outside", "file": "link", "name": "x"},
        {
            "id": "uneven",
            "file": "imported/disk/1.img",
            "name": "x",
            "virtual_chunks": True,
            "recommended_chunk_size_bytes": 1000,
        },
    ]
    (root / "link").symlink_to(source)
    (root / "manifest.json").write_text(json.dumps({"images": catalog}))
    (root / "imported/cut/9.img").write_bytes(b"")
    with (root / "imported/cut/1.img").open("ab") as file:
        file.write(bytes(512))
    said = command("catalog", "check", "--json")
    assert said.status == 1
    assert set(said.json["problems"]) == {"disk", "cut", "missing", "outside", "uneven"}
    assert said.json["unused_files"] == ["imported/cut/9.img"]


@pytest.mark.parametrize(("mtime", "etag", "warned"), [(1, None, True), (1, '"v1"', False), (2, None, False)])
def test_catalog_check_warns_of_constant_mtimes(
    command: Command,
    root: Path,
    mtime: int,
    etag: str | None,
    *,
    warned: bool,
) -> None:
    """An mtime that a build system sets tells no two files apart: a warning, unless the entry has an etag."""
    (root / "built.img").write_bytes(bytes(512))
    os.utime(root / "built.img", (mtime, mtime))
    entry = {"id": "built", "file": "built.img", "name": "x", "etag": etag}
    (root / "manifest.json").write_text(json.dumps({"images": [entry]}))
    said = command("catalog", "check", "--json")
    assert (said.status, said.json["problems"], "built" in said.json["warnings"]) == (0, {}, warned)
    assert ("etag" in command("catalog", "check").out) is warned


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ([], None),
        (["--virtual-chunks"], None),
        (["--virtual-chunks", "--virtual-chunk-bytes", "512"], "clients refuse more than 500000 chunks"),
        (["--virtual-chunks", "--max-chunk-bytes", "4194303"], "4194304 bytes are over max_chunk_bytes, 4194303"),
        (["--virtual-chunk-bytes", "512"], None),
    ],
)
def test_catalog_check_goes_by_the_settings(command: Command, root: Path, words: list[str], part: str | None) -> None:
    """The check tells of an image that a daemon with these settings cannot serve in virtual chunks."""
    with (root / "large.img").open("wb") as file:
        file.truncate(512 * 500_001)
    (root / "manifest.json").write_text('[{"id": "large", "file": "large.img", "name": "x"}]')
    said = command("catalog", "check", *words, "--json")
    problems = said.json["problems"].get("large", [])
    assert (said.status, len(problems)) == ((1, 1) if part else (0, 0))
    assert part is None or part in problems[0]
    assert command("list", *words, "--json").json[0]["chunks"] == ("virtual" if "--virtual-chunks" in words else None)


def test_catalog_check_reads_the_configuration(
    command: Command, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the variables and the file say counts as it does for the daemon; a wrong value is told."""
    with (root / "large.img").open("wb") as file:
        file.truncate(600 * 10**9)
    (root / "manifest.json").write_text('[{"id": "large", "file": "large.img", "name": "x"}]')
    (tmp_path / "aero.toml").write_text("virtual_chunk_bytes = 512")
    monkeypatch.setenv("AERO_STORAGE_CONFIG", str(tmp_path / "aero.toml"))
    assert command("catalog", "check").status == 0
    monkeypatch.setenv("AERO_STORAGE_VIRTUAL_CHUNKS", "true")
    said = command("catalog", "check")
    assert (said.status, "choose a chunk size of 2097152 bytes" in said.out) == (1, True)
    monkeypatch.setenv("AERO_STORAGE_VIRTUAL_CHUNK_BYTES", "500")
    said = command("catalog", "check")
    assert (said.status, "AERO_STORAGE_VIRTUAL_CHUNK_BYTES" in said.err) == (1, True)


def test_catalog_check_of_published_chunks(command: Command, root: Path, source: Path) -> None:
    """Published chunks that the daemon refuses are told."""
    command("import", source, "--id", "disk")
    command("publish", "disk", "--chunk-size", "1MiB")
    assert command("catalog", "check", "--max-chunk-bytes", "1048576").status == 0
    said = command("catalog", "check", "--max-chunk-bytes", "1048575")
    assert (said.status, "1048576 bytes are over max_chunk_bytes" in said.out) == (1, True)
    assert root.exists()


def test_remove(command: Command, root: Path, source: Path) -> None:
    """Removing takes entry, file and chunks; the last image stays, as a catalog cannot be empty."""
    for image_id in ("one", "two"):
        command("import", source, "--id", image_id)
        command("publish", image_id)
    assert command("remove", "one").status == 0
    assert [entry["id"] for entry in entries(root)] == ["two"]
    assert not (root / "imported/one").exists()
    assert not (root / "chunked/one").exists()
    said = command("remove", "two")
    assert (said.status, "only image" in said.err) == (1, True)
    assert (root / "imported/two/1.img").exists()
    assert hidden(root) == set()


def test_remove_chunks_only(command: Command, root: Path, source: Path) -> None:
    """--chunks-only takes the chunks and the pointer to them, and leaves the image."""
    command("import", source, "--id", "disk")
    before = entries(root)
    command("publish", "disk")
    assert command("remove", "disk", "--chunks-only").status == 0
    assert entries(root) == before
    assert not (root / "chunked/disk").exists()
    assert (root / "imported/disk/1.img").read_bytes() == DISK


def test_remove_keeps_shared_files(command: Command, root: Path, source: Path) -> None:
    """A file that another entry names stays."""
    command("import", source, "--id", "one")
    catalog = [*entries(root), {"id": "two", "file": "imported/one/1.img", "name": "Two"}]
    (root / "manifest.json").write_text(json.dumps(catalog))
    assert command("remove", "one").status == 0
    assert (root / "imported/one/1.img").exists()


def interrupted(root: Path, *, name: str = "2.img") -> None:
    """Leave what an import leaves that is killed right before it changes the catalog."""
    work = root / ".aero-storage~/disk"
    work.mkdir(parents=True)
    (work / "lock").touch()
    (work / "image.raw").write_bytes(b"half")
    (root / "imported/disk" / name).write_bytes(b"placed, and then killed")
    planned(root, f"imported/disk/{name}")


def planned(root: Path, file: str) -> None:
    """Leave the plan of a killed import of the image `disk` to remove this file."""
    with (
        Directory.opened(root) as top,
        top.below(".aero-storage~", "disk", create=True) as staging,
        top.below(".aero-storage~") as place,
    ):
        plan = Plan.opened(top, place, staging, "disk")
        removal = plan.file(file)
        assert removal is not None
        plan.add(removal)


@pytest.mark.parametrize("words", [["import", "disk.raw", "--id", "other"], ["publish", "disk"]])
def test_the_next_command_cleans_up(command: Command, root: Path, source: Path, words: list[str]) -> None:
    """What a killed import left, work and a file that no entry names, goes with the next command, which says so."""
    command("import", source, "--id", "disk")
    interrupted(root)
    said = command(*words)
    assert (said.status, "interrupted" in said.err) == (0, True)
    assert [path.name for path in (root / "imported/disk").iterdir()] == ["1.img"]
    assert hidden(root) == set()


def test_nothing_is_cleaned_up_without_a_catalog(command: Command, root: Path, source: Path) -> None:
    """A catalog that was put aside may name what seems to be left over: without one nothing is removed."""
    command("import", source, "--id", "disk")
    interrupted(root, name="1.img")
    (root / "manifest.json").rename(root / "manifest.bak")
    command("import", source, "--id", "other")
    assert (root / "imported/disk/1.img").exists()


def test_marked_files_of_the_catalog_stay(command: Command, root: Path, source: Path) -> None:
    """Killed right after it had changed the catalog, an import is done: its file stays."""
    command("import", source, "--id", "disk")
    planned(root, "imported/disk/1.img")
    assert command("publish", "disk").status == 0
    assert [path.name for path in (root / "imported/disk").iterdir()] == ["1.img"]
    assert (root / "imported/disk/1.img").read_bytes() == DISK


def test_a_catalog_that_cannot_be_written(command: Command, root: Path, source: Path) -> None:
    """If the catalog cannot be changed after all, the file that was brought in goes again."""
    command("import", source, "--id", "disk")
    (root / ".manifest.json~").mkdir()  # in the way of the new one
    assert command("import", source, "--id", "disk").status == 1
    assert [path.name for path in (root / "imported/disk").iterdir()] == ["1.img"]


# What nobody asked to be removed stays


@pytest.mark.parametrize("file", [".", "disks", "manifest.json", "link", "linked/op.img"])
def test_remove_takes_files_alone(command: Command, root: Path, source: Path, tmp_path: Path, file: str) -> None:
    """Whatever an entry names, no directory, no catalog and nothing outside the root is removed with it."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/op.img").write_bytes(b"mine")
    (root / "linked").symlink_to("../outside")
    (root / "link").symlink_to("../outside")
    (root / "disks").mkdir()
    (root / "disks/keep.img").write_bytes(b"keep")
    catalog = [{"id": "odd", "file": file, "name": "Odd"}, {"id": "keep", "file": "disks/keep.img", "name": "Keep"}]
    (root / "manifest.json").write_text(json.dumps(catalog))
    said = command("remove", "odd", "--yes")
    assert said.status == 0, said.err
    assert [entry["id"] for entry in json.loads((root / "manifest.json").read_bytes())] == ["keep"]
    assert (root / "disks/keep.img").read_bytes() == b"keep"
    assert (tmp_path / "outside/op.img").read_bytes() == b"mine"
    assert source.exists()


@pytest.mark.parametrize(("words", "stays"), [([], True), (["--yes"], False)])
def test_remove_keeps_files_of_others(command: Command, root: Path, words: list[str], *, stays: bool) -> None:
    """A raw file that no import made is only removed by a plain yes."""
    (root / "mine.img").write_bytes(DISK)
    catalog = [{"id": "mine", "file": "mine.img", "name": "Mine"}, {"id": "x", "file": "x.img", "name": "X"}]
    (root / "manifest.json").write_text(json.dumps(catalog))
    said = command("remove", "mine", *words)
    assert (said.status, "no import made it" in said.err) == (0, stays)
    assert (root / "mine.img").exists() is stays


def test_remove_from_a_listing(command: Command, root: Path) -> None:
    """Without a catalog the file is the image: to remove it takes a yes."""
    (root / "mine.img").write_bytes(DISK)
    said = command("remove", "mine.img")
    assert (said.status, "--yes" in said.err) == (1, True)
    assert (root / "mine.img").exists()
    assert command("remove", "mine.img", "--yes").status == 0
    assert not (root / "mine.img").exists()


def test_import_keeps_what_it_did_not_make(command: Command, root: Path, source: Path) -> None:
    """A file of the operator's among the imported ones is none of them."""
    command("import", source, "--id", "disk")
    (root / "imported/disk/mine.img").write_bytes(b"mine")
    (root / "manifest.json").write_text(json.dumps([{"id": "disk", "file": "imported/disk/mine.img", "name": "M"}]))
    said = command("import", source, "--id", "disk")
    assert "mine.img" in said.err
    assert (root / "imported/disk/mine.img").read_bytes() == b"mine"


def test_named_versions_that_go(command: Command, root: Path, source: Path) -> None:
    """Who removes a named version is told not to use its name again."""
    command("import", source, "--id", "disk")
    command("publish", "disk", "--image-version", "v1")
    assert "v1" in command("remove", "disk", "--chunks-only").err
    command("publish", "disk")
    assert "sha256" not in command("remove", "disk", "--chunks-only").err
    assert root.exists()


# Old and new never mix


def test_stale_chunks_stop_an_import(command: Command, root: Path, source: Path) -> None:
    """Chunks without a version would be served for the new image: first they have to go."""
    stale = root / "chunked/disk/manifest.json"
    stale.parent.mkdir(parents=True)
    stale.write_text("{}")
    said = command("import", source, "--id", "disk")
    assert (said.status, "--chunks-only" in said.err) == (1, True)
    assert not (root / "manifest.json").exists()
    assert command("remove", "disk", "--chunks-only").status == 0
    assert command("import", source, "--id", "disk").status == 0


def test_one_command_at_a_time(command: Command, root: Path, source: Path) -> None:
    """While one command works on an image, others that would are refused; another image is another matter."""
    command("import", source, "--id", "disk")
    with Directory.opened(root) as place, staging_directory(place, ".aero-storage~", "disk"):
        for words in (["import", source, "--id", "disk"], ["publish", "disk"], ["remove", "disk"]):
            said = command(*words)
            assert (said.status, "another process is at work" in said.err) == (1, True)
        assert command("import", source, "--id", "other").status == 0


def test_catalog_edited_while_publishing(
    command: Command, root: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chunks of a file that the catalog does not name any more do not become the image's."""
    command("import", source, "--id", "disk")

    def publish_and_edit(**given: Any) -> Any:
        published = publish(**given)
        (root / "manifest.json").write_text(json.dumps([{"id": "disk", "file": "other.img", "name": "Other"}]))
        return published

    monkeypatch.setattr(directory_work, "publish", publish_and_edit)
    said = command("publish", "disk")
    assert (said.status, "publish again" in said.err) == (1, True)
    assert "chunked_version" not in json.loads((root / "manifest.json").read_bytes())[0]


def test_publish_tells_of_damage(command: Command, root: Path, source: Path) -> None:
    """What was published before and has lost a chunk is not `published already`."""
    command("import", source, "--id", "disk")
    version = command("publish", "disk", "--chunk-size", "1MiB", "--json").json["version"]
    (root / "chunked/disk" / version / "chunks/00000002.bin").unlink()
    said = command("publish", "disk", "--chunk-size", "1MiB")
    assert (said.status, "00000002.bin" in said.err, "--chunks-only" in said.err) == (1, True, True)
    assert "--chunks-only" in command("verify", "disk").out


def test_chunks_without_a_file_are_listed_too(command: Command, root: Path, source: Path) -> None:
    """The first import lists the chunks that are served without a raw file as well: none disappears."""
    (root / "chunked/only").mkdir(parents=True)
    (root / "chunked/only/manifest.json").write_text("{}")
    assert "only" in command("import", source, "--id", "disk").err
    assert [entry["id"] for entry in entries(root)] == ["only", "disk"]


@pytest.mark.parametrize("words", [["--bogus"], ["publish", "disk", "--bogus"], ["publish"]])
def test_any_mistake_as_json(command: Command, words: list[str]) -> None:
    """Whatever the mistake, and wherever --json stands, there is one JSON document."""
    assert command(*words, "--json").json["error"]


def test_names_cannot_drive_the_terminal(command: Command, root: Path) -> None:
    """Names from a catalog and from files reach the terminal without their control characters."""
    evil = "\x1b[31mevil\n.img"
    (root / "manifest.json").write_text(json.dumps([{"id": "x", "file": evil, "name": evil}]))
    for words in (["list"], ["catalog", "check"], ["publish", "x"]):
        said = command(*words)
        assert "\x1b" not in said.out + said.err
        assert "evil" in said.out + said.err


def test_settling_can_be_cut_short(
    command: Command, root: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupt while daemons are given their time ends the wait, and not the work: it is done."""
    command("import", source, "--id", "disk")

    def interrupt(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", interrupt)
    assert command("import", source, "--id", "disk").status == 0
    assert [path.name for path in (root / "imported/disk").iterdir()] == ["2.img"]


@pytest.mark.parametrize(
    "words", [[], ["import"], ["publish"], ["verify"], ["list"], ["remove"], ["catalog", "check"]]
)
def test_help(command: Command, words: list[str]) -> None:
    """Every command explains itself."""
    said = command(*words, "--help")
    assert (said.status, "Usage: aero-storage" in said.out) == (0, True)
