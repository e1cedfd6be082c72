"""Shares of memory for streams without a place."""

from __future__ import annotations

from aero_storage.streaming.large_pieces import SMALL_PIECE_BYTES, LargePieces

MIB = 1 << 20


def test_later_ones_find_some_left() -> None:
    """The first streams get whole pieces, those that come when little is free smaller ones; the limit holds."""
    large = LargePieces(64 * MIB)
    granted = [large.take(MIB) for _ in range(90)]
    assert granted[:48] == [MIB] * 48
    assert min(granted) > SMALL_PIECE_BYTES
    assert sum(granted) == large.taken <= 64 * MIB
    for one in granted:
        large.give_back(one)
    assert large.taken == 0
