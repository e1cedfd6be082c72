"""Names of versions (http.md §13)."""

from __future__ import annotations

import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aero_storage.http.identifiers import parse_version
from aero_storage.http.versions import image_version

SHA256 = "0f" * 32
OPAQUE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters='"'), max_size=20)
STRONG = OPAQUE.map('"{}"'.format)
TAGS = st.tuples(st.sampled_from(["", "W/"]), STRONG).map("".join)
SIZES = st.integers(0, 2**63)
DIGESTS = st.none() | st.binary(min_size=32, max_size=32).map(bytes.hex)


@pytest.mark.parametrize(
    ("size", "etag", "own_etag", "sha256", "version"),
    [
        (5, '"a"', '"b"', None, "v-" + hashlib.sha256(b'5\n"a"\n"b"').hexdigest()[:32]),
        (5, '"a"', '"b"', None, "v-10986f7765361f3e749222759fe4311c"),
        (5, '"b"', '"b"', None, "v-" + hashlib.sha256(b'5\n"b"\n"b"').hexdigest()[:32]),
        (0, '""', '""', None, "v-" + hashlib.sha256(b'0\n""\n""').hexdigest()[:32]),
        (5, '"a"', '"b"', SHA256, f"sha256-{SHA256}"),
        (5, 'W/"a"', '"b"', SHA256, f"sha256-{SHA256}"),
        (5, '"a"', 'W/"b"', SHA256, f"sha256-{SHA256}"),
        (5, 'W/"a"', '"b"', None, None),
        (5, '"a"', 'W/"b"', None, None),
        (5, 'W/"a"', 'W/"b"', None, None),
    ],
)
def test_table(size: int, etag: str, own_etag: str, sha256: str | None, version: str | None) -> None:
    """A known digest names the bytes; else size and both tags do, if both are strong."""
    assert image_version(size, etag, own_etag, sha256) == version


@given(size=SIZES, etag=TAGS, own_etag=TAGS, sha256=DIGESTS)
def test_form(size: int, etag: str, own_etag: str, sha256: str | None) -> None:
    """A version can stand in a URL as it is, and has one of two forms; none is there only for a weak tag."""
    version = image_version(size, etag, own_etag, sha256)
    if version is None:
        assert sha256 is None
        assert "W/" in (etag[:2], own_etag[:2])
        return
    assert re.fullmatch(r"sha256-[0-9a-f]{64}|v-[0-9a-f]{32}", version)
    assert parse_version(version.encode()) == version


@given(one=st.tuples(SIZES, STRONG, STRONG, DIGESTS), other=st.tuples(SIZES, STRONG, STRONG, DIGESTS))
def test_no_two_contents_share_a_name(
    one: tuple[int, str, str, str | None], other: tuple[int, str, str, str | None]
) -> None:
    """Equal names need an equal digest, or, without one, an equal size and both tags."""
    known = one[3] is not None or other[3] is not None
    is_same = one[3] == other[3] if known else one[:3] == other[:3]
    assert (image_version(*one) == image_version(*other)) is is_same


@given(size=SIZES, etag=STRONG, own=STRONG, changed=STRONG)
def test_a_tag_of_the_catalog_that_outlives_its_file(size: int, etag: str, own: str, changed: str) -> None:
    """Another file under the same tag of the catalog has another version, and the other way round."""
    assert (image_version(size, etag, own, None) == image_version(size, etag, changed, None)) is (own == changed)
    assert (image_version(size, own, etag, None) == image_version(size, changed, etag, None)) is (own == changed)
