"""SHA-256 digests of representations: hex form, the tag made of one, and `Repr-Digest` (RFC 9530; http.md §16)."""

from __future__ import annotations

import re
from base64 import b64encode

REPR_DIGEST = "Repr-Digest"
"""The header with the digest of the whole representation, whatever range of it is sent."""

_SHA256 = re.compile(r"[0-9A-Fa-f]{64}")


def is_sha256(text: str) -> bool:
    """Return whether `text` is a SHA-256 digest, 64 hex digits."""
    return _SHA256.fullmatch(text) is not None


def digest_etag(sha256: str) -> str:
    """Return the strong entity-tag of content with this digest."""
    return f'"sha256-{sha256}"'


def repr_digest(sha256: str) -> str:
    """Return the value of `Repr-Digest`: the digest as a byte sequence of RFC 8941."""
    return f"sha-256=:{b64encode(bytes.fromhex(sha256)).decode('ascii')}:"
