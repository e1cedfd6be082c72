"""Stored boot profiles in a bucket (http.md §15): one listing tells of all."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping
from itertools import islice

import attrs
from typing_extensions import override

from aero_storage.disk import Disk
from aero_storage.errors import BlobNotFoundError, JsonError, ObjectTooLargeError
from aero_storage.http.identifiers import is_image_id
from aero_storage.profiles.document import MOST_BYTES, PROFILES, profile_name
from aero_storage.storage.objects.origin import ORIGIN_LANE, Origin
from aero_storage.storage.profile_files import ProfileFiles

MOST_LISTED = 100_000
"""Objects of a listing that are looked at."""


@attrs.frozen
class RemoteProfiles(ProfileFiles):
    """The profiles below the prefix of an origin."""

    _origin: Origin
    threads: Disk
    lane: str = ORIGIN_LANE
    costs: bool = True

    @override
    def read(self, path: str) -> bytes | None:
        try:
            return self._origin.read(path, MOST_BYTES)[1]
        except BlobNotFoundError:
            return None
        except ObjectTooLargeError as error:
            raise JsonError(f"longer than {MOST_BYTES} bytes") from error

    @override
    def stamps(self, paths: Collection[str]) -> Mapping[str, Hashable]:
        wanted = frozenset(paths)
        return {path: stamp for path, stamp in self._listed() if path in wanted}

    @override
    def stored(self, name: str) -> Mapping[tuple[str, str], Hashable]:
        found = dict[tuple[str, str], Hashable]()
        for path, stamp in self._listed():
            _, image_id, version, *rest = (*path.split("/"), "", "")
            is_profile = is_image_id(image_id) and is_image_id(version) and profile_name(rest[0]) == name
            if is_profile and not any(rest[1:]):
                found[image_id, version] = stamp
        return found

    def _listed(self) -> Iterator[tuple[str, Hashable]]:
        for listed in islice(self._origin.list(PROFILES, delimiter=False), MOST_LISTED):
            if listed.status is not None:
                yield listed.key, (listed.status.pin.tag, listed.status.size, listed.status.modified_ns)
