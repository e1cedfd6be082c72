"""Boot profiles in a bucket: one object each, replaced whole."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
from typing_extensions import override

from aero_storage.cli.buckets.chunk_source import beginning_of
from aero_storage.cli.stored_profiles import ProfilePlace, StoredProfiles
from aero_storage.errors import BlobNotFoundError
from aero_storage.http.identifiers import is_image_id
from aero_storage.profiles.document import MOST_BYTES, PROFILES, BootProfile, profile_name
from aero_storage.storage.objects.origin import Origin


@attrs.frozen
class BucketProfiles(StoredProfiles):
    """The profiles below the prefix of `origin`."""

    origin: Origin

    @override
    def places(self, image_id: str) -> list[ProfilePlace]:
        return sorted(self._below(f"{PROFILES}/{image_id}"))

    @override
    def all_places(self) -> list[ProfilePlace]:
        return sorted(self._below(PROFILES))

    def _below(self, directory: str) -> Iterator[ProfilePlace]:
        for listed in self.origin.list(directory, delimiter=False):
            _, image_id, version, file, *deeper = (*listed.key.split("/"), "", "", "")
            name = profile_name(file)
            is_ours = listed.status is not None and is_image_id(image_id) and is_image_id(version)
            if is_ours and name is not None and not any(deeper):
                yield ProfilePlace(image_id, version, name)

    @override
    def read(self, place: ProfilePlace) -> bytes | None:
        try:
            return beginning_of(self.origin, place.path, MOST_BYTES)
        except BlobNotFoundError:
            return None

    @override
    def write(self, profile: BootProfile) -> None:
        self.origin.put(ProfilePlace.of(profile).path, profile.to_json())

    @override
    def remove(self, place: ProfilePlace) -> None:
        self.origin.delete([place.path])
