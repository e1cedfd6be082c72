"""Boot profiles in a bucket: one object each, which goes with its image."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.cli.buckets.conftest import Root
from tests.command_output import CommandResult
from tests.profiles.log import read

Command = Callable[..., CommandResult]


def learned(command: Command, source: Path, tmp_path: Path, image_id: str = "disk") -> str:
    """Import an image, learn a profile of it, and return the key of the profile."""
    assert command("import", source, "--id", image_id).status == 0
    version = command("profile", "show", image_id).err.split("in its version ")[1].split()[0]
    log = tmp_path / "log"
    log.write_bytes(read(0, 0, image_id=image_id, version=version))
    done = command("profile", "learn", image_id, log, "--json")
    assert done.status == 0, done.err
    path: str = done.json["path"]
    return path


def test_a_profile_in_a_bucket(command: Command, root: Root, source: Path, tmp_path: Path) -> None:
    """It is stored under its key, shown, removed, and it is no leftover."""
    key = learned(command, source, tmp_path)
    assert key.startswith("profiles/disk/sha256-")
    document = json.loads(root.data(key))
    assert document["ranges"] == [[0, 1, 0, 100]]
    assert command("profile", "show", "disk", "--json").json == document
    assert command("catalog", "check", "--json").json["leftovers"] == []
    assert [(one["id"], one["profiles"]) for one in command("list", "--json").json] == [("disk", ["boot"])]
    assert command("profile", "remove", "disk", "--json").json["removed"] == [key]
    assert key not in root.found()


def test_profiles_go_with_their_image(
    command: Command, root: Root, source: Path, other: Path, tmp_path: Path
) -> None:
    """Those of the image that is removed are deleted at once; those of others stay."""
    gone, kept = learned(command, source, tmp_path, "disk"), learned(command, other, tmp_path, "other")
    assert command("remove", "disk", "--chunks-only").status == 0
    assert gone in root.found()
    assert command("remove", "disk").status == 0
    assert gone not in root.found()
    assert kept in root.found()


def test_profiles_are_copied_to_a_directory(command: Command, root: Root, source: Path, tmp_path: Path) -> None:
    """A copy has the same profile, of the same version where the digest is known."""
    key = learned(command, source, tmp_path)
    target = tmp_path / "target"
    target.mkdir()
    done = command("copy", "s3://images/root", target, "--json")
    assert done.status == 0, done.err
    assert done.json[0]["profiles_copied"] == ["boot"]
    assert (target / key).read_bytes() == root.data(key)
