"""Remembers which disk each path was last on, so that work queues per disk."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import PurePath

import attrs

_MAX_PATHS = 65_536
"""Limit of the remembered paths; they take at most 10 MiB."""


@attrs.frozen
class DeviceMap:
    """Devices by path: an image's file, which may be a link to another disk, or a directory of chunk artifacts."""

    _known: dict[str, Hashable] = attrs.field(init=False, factory=dict)

    def lane(self, path: str) -> Hashable:
        """Return the device of a path; a key of its directory until the device is known."""
        device = self._known.get(path)
        return ("at", str(PurePath(path).parent)) if device is None else device

    def learn(self, path: str, device: Hashable) -> None:
        """Record the device of a path; may be called from any thread."""
        if len(self._known) >= _MAX_PATHS:
            self._known.clear()
        self._known[path] = device
