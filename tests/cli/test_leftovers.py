"""What no image needs is told of, each with the command that removes it, and nothing that is needed is."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.command_output import CommandResult
from tests.disk_bytes import noise_disk

from aero_storage.atomic_files import Directory, staging_directory

Command = Callable[..., CommandResult]

STRAY = (
    ".aero-storage~/gone/image.raw",
    ".manifest.json~",
    "imported/loose file",
    "imported/disk/9.img",
    "imported/disk/1.img~",
    "imported/other/1.img",
    "imported/other/deep/2.img",
    "chunked/gone/v1/manifest.json",
    "chunked/disk/old/manifest.json",
    "chunked/disk/manifest.json",
    "chunked/disk/.publishing~/artifacts/x",
    "chunked/no id~/x",
    "chunked/loose~",
)
TOLD = {
    ".aero-storage~/gone",
    ".manifest.json~",
    "imported/loose file",
    "imported/disk/9.img",
    "imported/disk/1.img~",
    "imported/other",
    "chunked/gone",
    "chunked/disk/old",
    "chunked/disk/manifest.json",
    "chunked/disk/.publishing~",
    "chunked/no id~",
    "chunked/loose~",
}

pytestmark = pytest.mark.usefixtures("alone")


@pytest.fixture
def root(command: Command, tmp_path: Path) -> Path:
    """Make a root with two images and chunks, all of them needed."""
    (tmp_path / "images").mkdir()
    (tmp_path / "disk.raw").write_bytes(noise_disk(5, 40_448))
    for image_id in ("disk", "keep"):
        assert command("import", "disk.raw", "--id", image_id).status == 0
    assert command("publish", "disk").status == 0
    return tmp_path / "images"


def leftovers(command: Command) -> dict[str, str]:
    """Return what is told of, and the command that removes it."""
    return {one["path"]: one["command"] for one in command("catalog", "check", "--json").json["leftovers"]}


def litter(root: Path) -> None:
    for name in STRAY:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def test_all_is_told(command: Command, root: Path) -> None:
    """Every file and folder among the imports and the chunks that no entry names is told of; what is named is not."""
    assert leftovers(command) == {}
    litter(root)
    assert set(leftovers(command)) == TOLD
    lines = command("catalog", "check").out.splitlines()
    for path, remedy in leftovers(command).items():
        assert any(
            line.startswith(f"remark: {path}: ") and line.endswith(f"to remove it: {remedy}") for line in lines
        )
    said = command("list").err
    assert "imported/disk/1.img~, imported/disk/9.img" in said
    assert "no image needs it (how to remove it: aero-storage catalog check)" in said


def test_commands_that_are_told(command: Command, root: Path) -> None:
    """The commands remove all that is told of, and nothing else."""
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    litter(root)
    for remedy in leftovers(command).values():
        program, *words = shlex.split(remedy)
        if program == "aero-storage":
            assert command(*words).status == 0
        else:
            subprocess.run([program, "-f", *words], check=True, timeout=10)
    assert leftovers(command) == {}
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


def test_work_under_way_is_no_leftover(command: Command, root: Path) -> None:
    """Of an image that a command works on nothing is told: what no entry names yet may be what it is at."""
    litter(root)
    with Directory.opened(root) as place, staging_directory(place, ".aero-storage~", "disk"):
        assert set(leftovers(command)) == {path for path in TOLD if "/disk/" not in path}


def test_without_a_catalog(command: Command, root: Path) -> None:
    """Without a catalog all chunks are served; an import is served by none, so it is told of."""
    (root / "manifest.json").unlink()
    shutil.rmtree(root / "chunked/disk")
    (root / "chunked/chunks-alone/v1").mkdir(parents=True)
    assert set(leftovers(command)) == {"imported/disk", "imported/keep"}


def test_entries_below_links_and_folders(command: Command, root: Path) -> None:
    """A file that an entry names by another path is needed, and so is all above it."""
    (root / "link").symlink_to("imported/moved")
    (root / "imported/moved").mkdir()
    (root / "imported/moved/disk.img").write_bytes(noise_disk(5, 40_448))
    catalog = json.loads((root / "manifest.json").read_bytes())
    catalog["images"].append({"id": "moved", "file": "link/disk.img", "name": "Moved"})
    (root / "manifest.json").write_text(json.dumps(catalog))
    assert leftovers(command) == {}
