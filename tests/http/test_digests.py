"""SHA-256 digests in catalogs and headers."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aero_storage.http.conditional import is_entity_tag
from aero_storage.http.digests import digest_etag, is_sha256, repr_digest

HELLO = "d9014c4624844aa5bac314773d6b689ad467fa4e1d1a50a1b8a99d5a95f72ff5"


def test_repr_digest() -> None:
    """The header field is the example of RFC 9530, appendix B.1: 64 hex digits become base64 between colons."""
    found = repr_digest(hashlib.sha256(b'{"hello": "world"}').hexdigest())
    assert found == "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"


@given(st.binary(min_size=32, max_size=32))
def test_any_digest(digest: bytes) -> None:
    """Every digest is known in either case of its digits, and makes a strong entity-tag."""
    assert is_sha256(digest.hex())
    assert is_sha256(digest.hex().upper())
    tag = digest_etag(digest.hex())
    assert is_entity_tag(tag)
    assert tag == f'"sha256-{digest.hex()}"'


@pytest.mark.parametrize("text", ["", HELLO[1:], HELLO + "0", HELLO + "\n", " " + HELLO[1:], "g" + HELLO[1:]])
def test_no_digest(text: str) -> None:
    """A digest has 64 hex digits and nothing else."""
    assert not is_sha256(text)
