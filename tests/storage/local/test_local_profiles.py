"""Stored profiles in a directory: found, bounded, and never outside the root."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from aero_storage.disk import Disk
from aero_storage.errors import JsonError
from aero_storage.profiles.document import MOST_BYTES
from aero_storage.storage.local.directory import ImageDirectory
from aero_storage.storage.local.local_profiles import LocalProfiles

PATH = "profiles/win98/v-1/boot.json"


@pytest.fixture
def files(tmp_path: Path) -> LocalProfiles:
    (tmp_path / "root" / PATH).parent.mkdir(parents=True)
    return LocalProfiles(ImageDirectory(tmp_path / "root"), cast("Disk", None))


def test_a_profile_is_read_and_stamped(files: LocalProfiles, tmp_path: Path) -> None:
    """Its stamp changes with it; one that is missing has none."""
    assert files.read(PATH) is None
    assert files.stamps([PATH]) == {}
    (tmp_path / "root" / PATH).write_bytes(b"one")
    assert files.read(PATH) == b"one"
    before = files.stamps([PATH, PATH + "x"])
    assert set(before) == {PATH}
    new = tmp_path / "root" / "new"
    new.write_bytes(b"two!")
    new.rename(tmp_path / "root" / PATH)
    assert files.stamps([PATH]) != before


def test_a_long_file_is_not_read(files: LocalProfiles, tmp_path: Path) -> None:
    """Memory of the daemon does not hang on what lies in the root."""
    with (tmp_path / "root" / PATH).open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    with pytest.raises(JsonError):
        files.read(PATH)


def test_nothing_outside_the_root_is_read(files: LocalProfiles, tmp_path: Path) -> None:
    """A link that leads out is no profile."""
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "root" / PATH).symlink_to(tmp_path / "secret")
    assert files.read(PATH) is None


def test_all_that_are_stored(files: LocalProfiles, tmp_path: Path) -> None:
    """Profiles of one name are found by image and version; other files are none."""
    root = tmp_path / "root"
    for path in (PATH, "profiles/win98/v-2/boot.json", "profiles/dos/v-1/desk.json", "profiles/a b/v/boot.json"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x")
    (root / "profiles" / "file").write_bytes(b"x")
    assert set(files.stored("boot")) == {("win98", "v-1"), ("win98", "v-2")}
    assert set(files.stored("desk")) == {("dos", "v-1")}
    assert LocalProfiles(ImageDirectory(tmp_path / "none"), cast("Disk", None)).stored("boot") == {}
