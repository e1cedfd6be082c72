"""Remembers which disk each path was last on, so that work queues per disk."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import PurePath

import attrs

_MOST_PLACES = 65_536
"""Limit of the remembered places; they take at most 10 MiB."""


@attrs.frozen
class DeviceMap:
    """Devices by place: an image's file, which may be a link to another disk, or a directory of chunk artifacts."""

    _known: dict[str, int] = attrs.field(init=False, factory=dict)

    def lane(self, place: str) -> Hashable:
        """Return the device of a place; a key of its directory until the device is known."""
        device = self._known.get(place)
        return ("at", str(PurePath(place).parent)) if device is None else device

    def learn(self, place: str, device: int) -> None:
        """Record the device of a place; may be called from any thread."""
        if len(self._known) >= _MOST_PLACES:
            self._known.clear()
        self._known[place] = device
