"""Zeros in a content that passes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aero_storage.http.extents.content_scan import ContentScan

BLOCK = 4096
MIB = 1 << 20


@given(
    st.lists(st.tuples(st.sampled_from([0, 1, 512, BLOCK - 1, BLOCK, 3 * BLOCK, MIB]), st.booleans()), max_size=8),
    st.lists(st.integers(1, 2 * MIB), min_size=1, max_size=5),
)
def test_blocks_with_data(parts: list[tuple[int, bool]], steps: list[int]) -> None:
    """Blocks of 4 KiB that have a byte other than 0 are data, however the content comes in pieces."""
    content = b"".join((bytes(max(0, length - 1)) + b"x" if is_data else bytes(length)) for length, is_data in parts)
    scan, at, number = ContentScan(len(content)), 0, 0
    while at < len(content):
        piece = memoryview(content)[at : at + steps[number % len(steps)]]
        scan.feed(piece)
        at, number = at + len(piece), number + 1
    expected = {at // BLOCK for at, byte in enumerate(content) if byte} if len(content) < 9 * MIB else set()
    found = {at for first, after in scan.finish().pairs() for at in range(first // BLOCK, -(-after // BLOCK))}
    assert found == expected


def test_content_that_ends_early() -> None:
    """What was not fed counts as data: nobody has seen that it is zeros."""
    scan = ContentScan(5 * 4096)
    scan.feed(bytes(4096 + 1))
    assert [*scan.finish().pairs()] == [(4096, 5 * 4096)]
