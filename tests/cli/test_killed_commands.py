"""Commands that are killed (SIGKILL) at every step that they take in the images root: nothing is left without a word.

The steps are the calls that change something, as Python audits them. After each kill the catalog is sound, `catalog
check` tells of all that no image needs, and the next command clears it away.
"""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path

import attrs
import pytest
from tests.cli.kills import Command, killed_at
from tests.command_output import CommandResult
from tests.disk_bytes import noise_disk

DISK, OTHER_DISK = noise_disk(5, 40_000), noise_disk(6, 40_000)
PADDED = 40_448
WORDS = {
    "import": ["import", "new.raw", "--id", "new"],
    "import again": ["import", "new.raw", "--id", "disk"],
    "publish": ["publish", "disk", "--chunk-size", "16384", "--jobs", "1"],
    "publish anew": ["publish", "cut", "--chunk-size", "32768", "--jobs", "1", "--no-sha256"],
    "remove": ["remove", "cut"],
    "remove an own file": ["remove", "mine", "--yes"],
    "remove chunks": ["remove", "cut", "--chunks-only"],
}
FEWEST_STEPS = 6
_SOURCES = {"disk.raw": DISK, "new.raw": OTHER_DISK}

pytestmark = pytest.mark.usefixtures("alone")


@pytest.fixture
def root(command: Command, tmp_path: Path) -> Path:
    """Make a root with an image, one with chunks, and one whose file no import made."""
    (tmp_path / "images").mkdir()
    for name, data in _SOURCES.items():
        (tmp_path / name).write_bytes(data.ljust(PADDED, b"\0"))
    for image_id in ("disk", "cut"):
        assert command("import", "disk.raw", "--id", image_id).status == 0
    assert command("publish", "cut", "--chunk-size", "16384").status == 0
    (tmp_path / "images/mine.img").write_bytes(DISK)
    catalog = (tmp_path / "images/manifest.json").read_text()
    mine = '{"id": "mine", "file": "mine.img", "name": "Mine"}'
    (tmp_path / "images/manifest.json").write_text(catalog.replace('"images": [', f'"images": [\n    {mine},', 1))
    return tmp_path / "images"


@attrs.frozen
class Look:
    """The images root of one trial, as commands see it."""

    root: Path
    command: Command
    kept: tuple[str, ...]
    """Versions that were published before, and stay."""

    def run(self, *words: str) -> CommandResult:
        """Run a command on this root."""
        return self.command(*words, "--images-root", self.root)

    def unneeded(self) -> set[str]:
        """Return all files that no image needs, and all empty directories."""
        entries = json.loads((self.root / "manifest.json").read_bytes())["images"]
        needed = {entry["file"] for entry in entries} | {"manifest.json", ".aero-storage.lock", "imported", "chunked"}
        chunks = (*self.kept, *(f"chunked/{entry['id']}/{entry.get('chunked_version')}" for entry in entries))
        found = (path for path in self.root.rglob("*") if not path.is_dir() or not any(path.iterdir()))
        paths = {str(path.relative_to(self.root)) for path in found}
        return {path for path in paths if path not in needed and not path.startswith(chunks)}

    def told(self) -> tuple[str, ...]:
        """Return what `catalog check` tells of, which finds nothing wrong with any image."""
        said = self.run("catalog", "check", "--json")
        assert (said.status, said.json["problems"]) == (0, {})
        return tuple(path for path in said.json["unused_files"] if path not in self.kept)


def version_of(root: Path, image_id: str) -> str:
    (directory,) = (root / "chunked" / image_id).iterdir()
    return str(directory.relative_to(root))


@pytest.mark.parametrize("name", WORDS)
def test_killed_at_every_step(command: Command, root: Path, name: str) -> None:
    """Whenever a command is killed, `catalog check` tells of all that is left, and the next command removes it."""
    kept = (version_of(root, "cut"),) if WORDS[name][:2] == ["publish", "cut"] else ()
    for step in itertools.count(1):
        look = Look(root.with_name(f"trial{step}"), command, kept)
        shutil.copytree(root, look.root)
        was_killed = killed_at(step, look.run, WORDS[name])
        told = look.told()
        left = [path for path in look.unneeded() if not path.startswith(told or "/")]
        assert not left, f"killed at step {step}: {left} is not told of"
        look.run("remove", "nobody")
        assert not look.unneeded(), f"killed at step {step}"
        if not was_killed:
            break
    assert step > FEWEST_STEPS
