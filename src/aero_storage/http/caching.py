"""`Cache-Control` of responses (RFC 9111 §5.2.2, http.md §5 and §6)."""

from __future__ import annotations

PRIVATE = "private, no-store, no-transform"
"""Not cacheable: the image is private, or the request has credentials."""

ERROR = "no-store, no-transform"
"""Errors of the data plane."""

NO_STORE = "no-store"
"""Errors of the metadata plane; health, version and metrics."""

REVALIDATE = "no-cache"
"""Metadata: cacheable, must be revalidated each time."""

_YEAR_SECONDS = 31536000


def publicly_cacheable(*, public_image: bool, credentials: bool) -> bool:
    """Return whether a shared cache may store a response; `credentials` are an `Authorization` or `Cookie` header."""
    return public_image and not credentials


def image_bytes(*, public: bool, max_age: int) -> str:
    """Return `Cache-Control` of image bytes; `max_age` in seconds. `no-transform`: compression would break ranges."""
    return f"public, max-age={max_age}, no-transform" if public else PRIVATE


def immutable_object(*, public: bool) -> str:
    """Return `Cache-Control` of chunk objects and manifests under versioned URLs."""
    return f"public, max-age={_YEAR_SECONDS}, immutable, no-transform" if public else PRIVATE
