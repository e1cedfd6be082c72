"""Versions of images: names of bytes that never change under their URL (http.md §13). Pure."""

from __future__ import annotations

import hashlib
from functools import lru_cache

_DIGITS = 32
_WEAK = "W/"


@lru_cache(256)
def image_version(size: int, etag: str, own_etag: str, sha256: str | None) -> str | None:
    """Return the name of exactly these bytes, `sha256-<64 hex>` or `v-<32 hex>`; None if nothing names them.

    `etag` is the image's tag, `own_etag` that of its file or object alone, both with their quotes: a tag of the
    catalog may outlive the file. Weak tags name no bytes. `sha256` is the digest, in lower case, where it is known.
    """
    if sha256 is not None:
        return f"sha256-{sha256}"
    if etag.startswith(_WEAK) or own_etag.startswith(_WEAK):
        return None
    digest = hashlib.sha256(f"{size}\n{etag}\n{own_etag}".encode()).hexdigest()
    return f"v-{digest[:_DIGITS]}"
