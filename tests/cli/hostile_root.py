"""An images root that others may write to, and what they may not reach by it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import attrs
from tests.command_output import CommandResult
from tests.disk_bytes import noise_disk

Command = Callable[..., CommandResult]
Swap = Callable[[], None]

DISK = noise_disk(3, 64 * 1024)
PRECIOUS = b"nobody's business " * 1024


@attrs.frozen
class HostileRoot:
    """The images root, a source, and a directory outside with files of the names that commands work with."""

    root: Path
    source: Path
    precious: Path

    def exchange(self, name: str, target: Path) -> None:
        """Do what anybody may who may write to the directory: put a link in the place of an entry."""
        place = self.root / name
        if os.path.lexists(place):
            place.rename(place.with_name(f"moved-{place.name}"))
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(target)

    def tree(self) -> dict[str, bytes | None]:
        """Return all that is in the directory outside."""
        return {str(path): path.read_bytes() if path.is_file() else None for path in self.precious.rglob("*")}


def make(place: Path) -> HostileRoot:
    """Make a root with the image `disk`, which an import made, and a directory outside."""
    root, source, precious = place / "images", place / "disk.raw", place / "precious"
    (root / "imported/disk").mkdir(parents=True)
    (root / "imported/disk/1.img").write_bytes(DISK)
    entries = [{"id": "disk", "file": "imported/disk/1.img", "name": "A"}, {"id": "x", "file": "x.img", "name": "X"}]
    (root / "manifest.json").write_text(json.dumps({"images": entries}))
    source.write_bytes(DISK)
    for name in ("file", "1.img", "disk~", "image.raw", "lock", "disk/1.img", "new~", "disk/image.raw"):
        (precious / name).parent.mkdir(parents=True, exist_ok=True)
        (precious / name).write_bytes(PRECIOUS)
    for name in ("disk/.publishing~/file", "disk/v1/file", "artifacts/chunks/file", "mine.img"):
        (precious / name).parent.mkdir(parents=True, exist_ok=True)
        (precious / name).write_bytes(PRECIOUS)
    return HostileRoot(root, source, precious)
