"""Who may keep a response, and for how long (RFC 9111 §5.2.2, http.md §5 and §6)."""

from __future__ import annotations

PRIVATE = "private, no-store, no-transform"
"""Nobody may keep it: the image is private, or the request came with credentials."""

ERROR = "no-store, no-transform"
"""Errors of the data plane."""

NO_STORE = "no-store"
"""Errors of the metadata plane; health, version and metrics."""

REVALIDATE = "no-cache"
"""Metadata: may be kept, has to be revalidated each time."""

_YEAR_SECONDS = 31536000


def publicly_cacheable(*, public_image: bool, credentials: bool) -> bool:
    """Whether a shared cache may keep the answer; `credentials` is an `Authorization` or `Cookie` in the request."""
    return public_image and not credentials


def image_bytes(*, public: bool, max_age: int) -> str:
    """`Cache-Control` of image bytes; `max_age` in seconds. `no-transform`: compression would break ranges."""
    return f"public, max-age={max_age}, no-transform" if public else PRIVATE


def immutable_object(*, public: bool) -> str:
    """`Cache-Control` of chunk objects and manifests under URLs that always name the same content."""
    return f"public, max-age={_YEAR_SECONDS}, immutable, no-transform" if public else PRIVATE
