"""The boot profiles of an images root as the commands see them: in a directory, or in a bucket (http.md §15)."""

from __future__ import annotations

from typing import Protocol

import attrs

from aero_storage.profiles.document import BootProfile, profile_path


@attrs.frozen(order=True)
class ProfilePlace:
    """Where a profile is stored."""

    image_id: str
    version: str
    name: str

    @property
    def path(self) -> str:
        """Its path, relative to the images root."""
        return profile_path(self.image_id, self.version, self.name)

    @classmethod
    def of(cls, profile: BootProfile) -> ProfilePlace:
        """Return the place of a profile."""
        return cls(profile.image_id, profile.version, profile.name)


class StoredProfiles(Protocol):
    """The profiles of one images root. All methods may wait."""

    def places(self, image_id: str) -> list[ProfilePlace]:
        """Return the profiles of an image, of all its versions, sorted."""
        ...

    def all_places(self) -> list[ProfilePlace]:
        """Return the profiles of all images, sorted; in a bucket by one listing."""
        ...

    def read(self, place: ProfilePlace) -> bytes | None:
        """Return a stored profile, of a longer file its first MOST_BYTES + 1 bytes; None if there is none."""
        ...

    def write(self, profile: BootProfile) -> None:
        """Store a profile in its place, atomically; the caller is at work on the image."""
        ...

    def remove(self, place: ProfilePlace) -> None:
        """Remove a profile; the caller is at work on the image."""
        ...
