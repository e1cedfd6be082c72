"""What the commands record of an image's digest, what they refuse by it, and what they check against it."""

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

from aero_storage.atomic_files import Replaceable
from aero_storage.cli import directory_repository, directory_work, staged_image

MIB = 1 << 20
DISK = bootable(random.Random(6).randbytes(MIB + 512) + bytes(3 * MIB) + random.Random(7).randbytes(512))
OTHER_DISK = bootable(random.Random(8).randbytes(MIB + 512) + bytes(3 * MIB) + random.Random(9).randbytes(512))
SHA256, OTHER = hashlib.sha256(DISK).hexdigest(), hashlib.sha256(OTHER_DISK).hexdigest()
BUILD_SYSTEM_NS = 10**9

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


def entry(root: Path, image_id: str = "disk") -> dict[str, Any]:
    entries = json.loads((root / "manifest.json").read_bytes())["images"]
    found: dict[str, Any] = next(one for one in entries if one["id"] == image_id)
    return found


def recorded(root: Path, image_id: str = "disk") -> tuple[str | None, str | None]:
    found = entry(root, image_id)
    return found.get("sha256"), found.get("sha256_of")


def state(path: Path) -> str:
    status = path.stat()
    return f"{status.st_size}-{status.st_mtime_ns}"


def placed(root: Path, data: bytes = DISK, **keys: object) -> Path:
    """Put an image into the root by hand, and make the catalog."""
    (root / "own.img").write_bytes(data)
    made = {"id": "disk", "file": "own.img", "name": "x"} | keys
    (root / "manifest.json").write_text(json.dumps({"images": [made]}))
    return root / "own.img"


def tree(directory: Path) -> dict[str, tuple[int, int]]:
    paths = [path for path in directory.rglob("*") if path.is_file()]
    return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in paths}


def test_import_records(command: Command, root: Path, source: Path) -> None:
    """An import records the digest of the raw file, and the file that it is of; a second one that of the new file."""
    assert command("import", source, "--id", "disk", "--json").json["sha256"] == SHA256
    assert recorded(root) == (SHA256, state(root / "imported/disk/1.img"))
    source.write_bytes(OTHER_DISK)
    assert command("import", source, "--id", "disk").status == 0
    assert recorded(root) == (OTHER, state(root / "imported/disk/2.img"))


def test_import_without_a_digest(command: Command, root: Path, source: Path) -> None:
    """--no-sha256 records none, and the digest of the content before goes with that content."""
    command("import", source, "--id", "disk")
    source.write_bytes(OTHER_DISK)
    assert command("import", source, "--id", "disk", "--no-sha256", "--json").json["sha256"] is None
    assert recorded(root) == (None, None)


def test_import_of_another_format(
    command: Command, root: Path, source: Path, tmp_path: Path, qemu_img: Callable[..., str]
) -> None:
    """Of a converted image the digest of the raw file is recorded; either of the two digests may be asked for."""
    qemu_img("convert", "-O", "qcow2", source, tmp_path / "disk.qcow2")
    packed = hashlib.sha256((tmp_path / "disk.qcow2").read_bytes()).hexdigest()
    for wanted in (packed, SHA256):
        assert command("import", tmp_path / "disk.qcow2", "--id", "disk", "--sha256", wanted).status == 0
        assert recorded(root)[0] == SHA256
    said = command("import", tmp_path / "disk.qcow2", "--id", "disk", "--sha256", OTHER)
    assert (said.status, OTHER in said.err) == (1, True)


@pytest.mark.parametrize("wanted", [SHA256, SHA256.upper()])
def test_import_of_the_right_content(command: Command, root: Path, source: Path, wanted: str) -> None:
    """The digest that is asked for may have any case."""
    assert command("import", source, "--id", "disk", "--sha256", wanted).status == 0
    assert recorded(root)[0] == SHA256


@pytest.mark.parametrize("is_first", [True, False])
def test_import_of_other_content(command: Command, root: Path, source: Path, *, is_first: bool) -> None:
    """Content with another digest than was asked for is refused, and all is as it was, catalog and files."""
    if not is_first:
        command("import", source, "--id", "disk")
    before = tree(root)
    source.write_bytes(OTHER_DISK)
    said = command("import", source, "--id", "disk", "--sha256", SHA256)
    assert (said.status, SHA256 in said.err, OTHER in said.err) == (1, True, True)
    assert tree(root) == before
    assert not [path for path in root.rglob("*") if "~" in path.name]


@pytest.mark.parametrize(
    "words", [["--sha256", "abc"], ["--sha256", SHA256[1:] + "g"], ["--sha256", SHA256, "--no-sha256"]]
)
def test_import_of_no_digest(command: Command, root: Path, source: Path, words: list[str]) -> None:
    """What is no digest is a mistake of usage, and so is one that shall not be computed."""
    said = command("import", source, "--id", "disk", *words)
    assert (said.status, "sha256" in said.err.lower(), list(root.iterdir())) == (2, True, [])


def test_publish_records(command: Command, root: Path) -> None:
    """Publishing records the digest of the whole image, leaves a known one, and replaces an outdated one."""
    image = placed(root)
    assert command("publish", "disk", "--json").json["sha256"] == SHA256
    assert recorded(root) == (SHA256, state(image))
    before = (root / "manifest.json").stat().st_ino
    assert command("publish", "disk", "--json").json["sha256"] == SHA256
    assert (root / "manifest.json").stat().st_ino == before
    image.write_bytes(OTHER_DISK)
    assert command("publish", "disk", "--json").json["sha256"] == OTHER
    assert recorded(root) == (OTHER, state(image))


def test_publish_again_records(command: Command, root: Path) -> None:
    """Publishing an image again that is published already records a digest that was not known."""
    image = placed(root)
    command("publish", "disk", "--no-sha256")
    assert recorded(root) == (None, None)
    said = command("publish", "disk", "--json").json
    assert (said["already_published"], recorded(root)) == (True, (SHA256, state(image)))


def test_publish_keeps_the_operators_digest(command: Command, root: Path) -> None:
    """The operator's own digest is believed; whether it is right is for verify to say."""
    placed(root, sha256=OTHER)
    assert command("publish", "disk", "--json").json["sha256"] == OTHER
    assert recorded(root) == (OTHER, None)


def test_publish_of_a_constant_mtime(command: Command, root: Path) -> None:
    """The digest of a file with a build system's mtime counts for no other file of equal size and mtime."""
    image = placed(root)
    os.utime(image, ns=(BUILD_SYSTEM_NS, BUILD_SYSTEM_NS))
    command("publish", "disk")
    status = image.stat()
    assert recorded(root) == (SHA256, f"{len(DISK)}-{BUILD_SYSTEM_NS}-{status.st_ctime_ns}-{status.st_ino}")
    assert command("catalog", "check", "--json").json["warnings"] == {}
    (root / "new.img").write_bytes(OTHER_DISK)
    os.utime(root / "new.img", ns=(BUILD_SYSTEM_NS, BUILD_SYSTEM_NS))
    (root / "new.img").rename(image)
    (outdated, constant) = command("catalog", "check", "--json").json["warnings"]["disk"]
    assert "counts as unset" in outdated
    assert all(words in constant for words in ("aero-storage publish disk", "aero-storage import", "sha256sum"))


def test_verify(command: Command, root: Path) -> None:
    """Verifying an id reads its image and its chunks; a damaged image is a mismatch with both digests."""
    image = placed(root)
    command("publish", "disk")
    said = command("verify", "disk", "--json")
    assert (said.status, said.json["mismatches"], said.json["remarks"]) == (0, [], [])
    assert said.json["image"] == {"ok": True, "sha256": SHA256, "bytes": len(DISK)}
    status = image.stat()
    with image.open("r+b") as file:
        file.write(b"damage")
    os.utime(image, ns=(status.st_atime_ns, status.st_mtime_ns))
    said = command("verify", "disk", "--json")
    assert (said.status, said.json["ok"], said.json["image"]["ok"]) == (1, False, False)
    (mismatch,) = said.json["mismatches"]
    assert mismatch["where"] == "image"
    assert SHA256 in mismatch["what"]
    text = command("verify", "disk").out
    assert SHA256 in text
    assert "to mend it: aero-storage remove" not in text  # the chunks are good


def test_verify_without_chunks(command: Command, root: Path, source: Path) -> None:
    """An image that is not published is verified by its digest alone; without one there is nothing to verify."""
    command("import", source, "--id", "disk")
    said = command("verify", "disk", "--json")
    assert (said.status, said.json["image"]["ok"], said.json["chunks"]) == (0, True, 0)
    command("import", source, "--id", "disk", "--no-sha256")
    said = command("verify", "disk")
    assert (said.status, "aero-storage publish disk" in said.err) == (1, True)
    assert root.exists()


def test_verify_of_an_outdated_digest(command: Command, root: Path) -> None:
    """A digest that counts as unset is no mismatch, but a remark; and so is an image left out by --sample."""
    image = placed(root)
    command("publish", "disk")
    assert "--sample" in command("verify", "disk", "--sample", "1", "--json").json["remarks"][-1]
    os.utime(image, ns=(1, 1))
    said = command("verify", "disk", "--json")
    assert (said.status, said.json["image"]) == (0, None)
    assert "counts as unset" in said.json["remarks"][0]


def test_image_changed_while_verified(command: Command, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image that is written to while it is read is neither good nor bad: try again."""
    image = placed(root, sha256=SHA256)
    original = hashlib.sha256

    def touch() -> Any:
        os.utime(image)
        return original()

    monkeypatch.setattr("aero_storage.chunks.file_digest.hashlib.sha256", touch)
    said = command("verify", "disk")
    assert (said.status, "was changed while it was checked" in said.err) == (1, True)


def test_list(command: Command, root: Path, source: Path) -> None:
    """The list has each digest that counts."""
    command("import", source, "--id", "disk")
    assert command("list", "--json").json[0]["sha256"] == SHA256
    os.utime(root / "imported/disk/1.img")
    assert command("list", "--json").json[0]["sha256"] is None


@pytest.mark.parametrize(
    "step",
    ["import_to", "content_digest", "editing", "is_used", "settle"],
)
@pytest.mark.parametrize("is_after", [False, True])
def test_killed_imports(
    command: Command, root: Path, source: Path, monkeypatch: pytest.MonkeyPatch, step: str, *, is_after: bool
) -> None:
    """An import that is killed before or after any step leaves no entry whose digest is that of other content."""
    command("import", source, "--id", "disk")
    source.write_bytes(OTHER_DISK)
    modules = (staged_image, directory_repository, directory_work)
    module = next(one for one in modules if step in vars(one))
    original = getattr(module, step)

    def die(*arguments: Any, **named: Any) -> Any:
        if is_after:
            original(*arguments, **named)
        os._exit(9)

    if not (child := os.fork()):
        monkeypatch.setattr(module, step, die)
        command("import", source, "--id", "disk")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    check_entry(root)
    assert command("import", source, "--id", "other").status == 0
    check_entry(root)


@pytest.mark.parametrize("is_after", [False, True])
@pytest.mark.parametrize("words", [("import", "disk.raw", "--id", "disk"), ("publish", "disk")], ids=" ".join)
def test_killed_as_the_catalog_changes(
    command: Command,
    root: Path,
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    *,
    is_after: bool,
) -> None:
    """File and digest change in one step, or neither does."""
    command("import", source, "--id", "disk", "--no-sha256")
    if words[0] == "import":
        source.write_bytes(OTHER_DISK)
    replace = Replaceable.replace

    def die(file: Replaceable, data: bytes) -> None:
        if is_after:
            replace(file, data)
        os._exit(9)

    if not (child := os.fork()):
        monkeypatch.setattr(Replaceable, "replace", die)
        command(*words)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert ("sha256" in entry(root)) is is_after
    if is_after:
        check_entry(root)


def check_entry(root: Path) -> None:
    """The entry has the digest and the state of the file that it names."""
    image = root / entry(root)["file"]
    assert recorded(root) == (hashlib.sha256(image.read_bytes()).hexdigest(), state(image))
