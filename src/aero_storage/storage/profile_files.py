"""The stored boot profiles of an images root, as the daemon reads them: in a directory, or in a bucket."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from typing import Protocol

from aero_storage.disk import Disk


class ProfileFiles(Protocol):
    """The profiles below an images root, at paths relative to it. All but the attributes may wait."""

    @property
    def threads(self) -> Disk:
        """The threads in which it may be asked."""
        ...

    @property
    def lane(self) -> Hashable:
        """The lane of those calls."""
        ...

    @property
    def costs(self) -> bool:
        """Whether each look costs money: then nothing is looked at while nobody asks."""
        ...

    def read(self, path: str) -> bytes | None:
        """Return a stored profile; None if there is none. Raises JsonError if it is too long, and ClientErrors."""
        ...

    def stamps(self, paths: Collection[str]) -> Mapping[str, Hashable]:
        """Return what changes with the content of each of these files, by their paths; missing ones are left out.

        Raises ClientErrors.
        """
        ...

    def stored(self, name: str) -> Mapping[tuple[str, str], Hashable]:
        """Return the same of the profiles of this name, by image and version: of some thousands at most."""
        ...
