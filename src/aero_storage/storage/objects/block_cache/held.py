"""A count of holders: an object is open as long as somebody holds it."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

import attrs


@attrs.define(eq=False)
class Held:
    """Open until it is closed and nobody holds it; counted under a lock that many of them may share."""

    _mutex: Lock
    _on_close: Callable[[], object]
    """Called once, in the thread of the last holder."""
    _holders: int = attrs.field(init=False, default=1)
    _is_closed: bool = attrs.field(init=False, default=False)

    def hold(self) -> None:
        """Keep it open until `release`, whoever closes it."""
        with self._mutex:
            self._holders += 1

    def release(self) -> None:
        """Undo `hold`."""
        with self._mutex:
            self._holders -= 1
            is_last = not self._holders
        if is_last:
            self._on_close()

    def close(self) -> None:
        """Close it, once nobody holds it; a second call does nothing. May wait for a disk."""
        with self._mutex:
            if self._is_closed:
                return
            self._is_closed = True
            self._holders -= 1
            is_last = not self._holders
        if is_last:
            self._on_close()
