"""The place under the cap, as far as a stream needs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class StreamPlace(Protocol):
    """The place of a stream, which it may have to go on without."""

    on_given_up: Callable[[], object] | None
    """Called once the stream has lost it; set by the stream."""

    @property
    def is_held(self) -> bool:
        """Whether the stream still has it; reads for one that has not go after those of others."""
        ...


def has_no_place(place: StreamPlace | None) -> bool:
    """Return whether a stream has lost its place; None is of one that never needed any."""
    return place is not None and not place.is_held
