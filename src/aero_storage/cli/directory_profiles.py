"""Boot profiles in a directory of this machine."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import attrs
from typing_extensions import override

from aero_storage.atomic_files import Directory, Replaceable
from aero_storage.cli.stored_profiles import ProfilePlace, StoredProfiles
from aero_storage.cli.workplace import names_in
from aero_storage.http.identifiers import is_image_id
from aero_storage.profiles.document import MOST_BYTES, PROFILES, BootProfile, profile_name


@attrs.frozen
class DirectoryProfiles(StoredProfiles):
    """The profiles below the images root `root`."""

    root: Path

    @override
    def places(self, image_id: str) -> list[ProfilePlace]:
        with Directory.opened(self.root) as top:
            return sorted(self._places(top, image_id))

    @override
    def all_places(self) -> list[ProfilePlace]:
        with Directory.opened(self.root) as top:
            ids = filter(is_image_id, names_in(top, PROFILES))
            return sorted(place for image_id in ids for place in self._places(top, image_id))

    def _places(self, top: Directory, image_id: str) -> Iterator[ProfilePlace]:
        for version in names_in(top, PROFILES, image_id):
            for file in names_in(top, PROFILES, image_id, version) if is_image_id(version) else ():
                name = profile_name(file)
                if name is not None:
                    yield ProfilePlace(image_id, version, name)

    @override
    def read(self, place: ProfilePlace) -> bytes | None:
        *parents, name = place.path.split("/")
        try:
            with Directory.opened(self.root) as top, top.below(*parents) as directory:
                return _content(directory.open_file(name, os.O_RDONLY))
        except FileNotFoundError:
            return None

    @override
    def write(self, profile: BootProfile) -> None:
        *parents, name = ProfilePlace.of(profile).path.split("/")
        with Directory.opened(self.root) as top, top.below(*parents, create=True) as directory:
            Replaceable(directory, name).replace(profile.to_json())

    @override
    def remove(self, place: ProfilePlace) -> None:
        *parents, name = place.path.split("/")
        with Directory.opened(self.root) as top:
            with top.below(*parents) as directory:
                directory.unlink(name)
            for depth in range(len(parents) - 1, -1, -1):  # the directories go if they are empty
                with suppress(OSError), top.below(*parents[:depth]) as above:
                    above.remove_directory(parents[depth])


def _content(descriptor: int) -> bytes | None:
    with open(descriptor, "rb") as file:
        return file.read(MOST_BYTES + 1) if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
