"""Memory for streams that have lost their place: there may be thousands, each of them with a slow client.

They read SMALL_PIECE_BYTES at once. Over an object store each read is a request, so some of them may read more: each
as much as a sixteenth of what is free of the limit. The first ones get whole pieces, and others find some left.
"""

from __future__ import annotations

import attrs

SMALL_PIECE_BYTES = 32 * 1024
"""Bytes per read of a stream that has lost its place and has no share of the limit."""

LIMIT_BYTES = 128 * 1024 * 1024
"""For all such streams of one process together, beside SMALL_PIECE_BYTES for each."""

_SHARE = 16


@attrs.define(eq=False)
class LargePieces:
    """Shares of `limit` bytes, which their holders give back."""

    _limit: int = LIMIT_BYTES
    taken: int = attrs.field(init=False, default=0)

    def take(self, wanted: int) -> int:
        """Return how many of the `wanted` bytes may be held: all, a part, or 0 if little is free."""
        share = (self._limit - self.taken) // _SHARE
        granted = min(wanted, share - share % SMALL_PIECE_BYTES)
        if granted <= SMALL_PIECE_BYTES:
            return 0
        self.taken += granted
        return granted

    def give_back(self, granted: int) -> None:
        """The bytes are held no more."""
        self.taken -= granted
