"""Tags over content, and the parts of large objects."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aero_storage.storage.objects.content_tags import (
    MAX_PARTS,
    MIB,
    ContentDigests,
    content_tag,
    parts_of,
)

GIB, TIB = 1024 * MIB, 1024 * 1024 * MIB


@pytest.mark.parametrize(
    ("size", "part", "at_once"),
    [
        (0, 8 * MIB, 4),
        (1, 8 * MIB, 4),
        (20 * GIB, 8 * MIB, 4),
        (78 * GIB, 8 * MIB, 4),
        (79 * GIB, 9 * MIB, 4),
        (160 * GIB, 17 * MIB, 2),
        (TIB, 105 * MIB, 1),
        (5 * TIB, 525 * MIB, 1),
    ],
)
def test_parts(size: int, part: int, at_once: int) -> None:
    """Parts grow with the object where 10,000 of them would not do, and as many are sent at once as 48 MiB hold."""
    parts = parts_of(size)
    assert (parts.part_bytes, parts.at_once) == (part, at_once)


@given(st.integers(0, 5 * TIB))
def test_parts_fit(size: int) -> None:
    """Of no object are there over 10,000 parts, of which each but the last may be as S3 has them: 5 MiB to 5 GiB."""
    parts = parts_of(size)
    assert -(-size // parts.part_bytes) <= MAX_PARTS
    assert 5 * MIB <= parts.part_bytes <= 5 * GIB
    assert parts.at_once == 1 or parts.at_once * parts.part_bytes <= 48 * MIB


@given(st.lists(st.binary(max_size=40), max_size=10), st.integers(1, 30))
def test_digests(pieces: list[bytes], part: int) -> None:
    """However content is cut into pieces, its tag is that of its parts, and its digest that of the whole."""
    content = b"".join(pieces)
    digests = ContentDigests(part)
    assert [*digests.watch(pieces)] == pieces
    parts = [hashlib.md5(content[at : at + part]).digest() for at in range(0, len(content), part)]
    assert digests.tag == f'"{hashlib.md5(b"".join(parts)).hexdigest()}-{len(parts)}"'
    assert (digests.sha256, digests.size) == (hashlib.sha256(content).digest(), len(content))


def test_content_tag() -> None:
    """The tag of an object that was stored whole is its MD5, in quotes."""
    assert content_tag(memoryview(b"hello")) == '"5d41402abc4b2a76b9719d911017c592"'
