"""Stored boot profiles in a directory (http.md §15)."""

from __future__ import annotations

import os
from collections.abc import Collection, Hashable, Iterator, Mapping
from contextlib import closing, suppress
from itertools import islice

import attrs
from typing_extensions import override

from aero_storage.disk import Disk
from aero_storage.errors import BlobNotFoundError, BlobUnreadableError, JsonError, ShortReadError
from aero_storage.http.identifiers import is_image_id
from aero_storage.profiles.document import MOST_BYTES, PROFILES, profile_path
from aero_storage.storage.local.directory import ImageDirectory
from aero_storage.storage.profile_files import ProfileFiles

MOST_STORED = 65_536
"""Profiles that are found without being asked for."""


@attrs.frozen
class LocalProfiles(ProfileFiles):
    """The profiles below a directory."""

    _directory: ImageDirectory
    threads: Disk
    lane: str = "profiles"
    costs: bool = False

    @override
    def read(self, path: str) -> bytes | None:
        try:
            with closing(self._directory.open(path)) as file:
                if file.size > MOST_BYTES:
                    raise JsonError(f"longer than {MOST_BYTES} bytes")
                return file.read(0, file.size)
        except BlobNotFoundError:
            return None
        except (ShortReadError, OSError) as error:
            raise BlobUnreadableError(f"{path}: {error}") from error

    @override
    def stamps(self, paths: Collection[str]) -> Mapping[str, Hashable]:
        found = ((path, self._stamp(path)) for path in paths)
        return {path: stamp for path, stamp in found if stamp is not None}

    def _stamp(self, path: str) -> Hashable | None:
        try:
            status = os.stat(f"{self._directory.root}/{path}")  # noqa: PTH116 - a Path costs as much as the call
        except (OSError, ValueError):
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size

    @override
    def stored(self, name: str) -> Mapping[tuple[str, str], Hashable]:
        found = dict[tuple[str, str], Hashable]()
        for image_id, version in islice(self._versions(), MOST_STORED):
            stamp = self._stamp(profile_path(image_id, version, name))
            if stamp is not None:
                found[image_id, version] = stamp
        return found

    def _versions(self) -> Iterator[tuple[str, str]]:
        for image_id in self._names(PROFILES):
            for version in self._names(f"{PROFILES}/{image_id}"):
                yield image_id, version

    def _names(self, path: str) -> list[str]:
        with suppress(OSError):
            return sorted(filter(is_image_id, os.listdir(f"{self._directory.root}/{path}")))  # noqa: PTH208 - likewise
        return []
