"""Stored boot profiles in a bucket (http.md §15): one listing tells of all."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from itertools import islice

import attrs
from typing_extensions import override

from aero_storage.disk import Disk
from aero_storage.errors import BlobNotFoundError, JsonError, ObjectTooLargeError
from aero_storage.http.identifiers import is_image_id
from aero_storage.profiles.document import MOST_BYTES, PROFILES, profile_name
from aero_storage.storage.objects.common_looks import CommonLooks
from aero_storage.storage.objects.origin import ORIGIN_LANE, Origin
from aero_storage.storage.profile_files import ProfileFiles

MOST_LISTED = 100_000
"""Objects of a listing that are looked at."""


@attrs.frozen
class RemoteProfiles(ProfileFiles):
    """The profiles below the prefix of an origin.

    A listing is believed for so many seconds, and is the same for all workers: each asks for one as often.
    """

    _origin: Origin
    _common: CommonLooks
    _believed_secs: float
    _now: Callable[[], float]
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
        since = self._now() - self._believed_secs
        listing = self._common.list(PROFILES, delimiter=False, since=since, failed_since=since)
        for listed in islice(listing.value, MOST_LISTED):
            if listed.status is not None:
                yield listed.key, (listed.status.pin.tag, listed.status.size, listed.status.modified_ns)
