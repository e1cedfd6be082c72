"""On which disk files were found last: what is done with them waits for that one, and for no other."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import PurePath

import attrs

_MOST_PLACES = 65_536
"""Places that are remembered: 10 MiB at the most, of a catalog that large."""


@attrs.frozen
class DeviceMap:
    """Disks by place: an image's file, as it may be a link to another disk, or the directory of chunk artifacts."""

    _known: dict[str, int] = attrs.field(init=False, factory=dict)

    def lane(self, place: str) -> Hashable:
        """The disk of a place; until that is known, what stands for its directory."""
        device = self._known.get(place)
        return ("at", str(PurePath(place).parent)) if device is None else device

    def learn(self, place: str, device: int) -> None:
        """Something was found there; from any thread."""
        if len(self._known) >= _MOST_PLACES:
            self._known.clear()
        self._known[place] = device
