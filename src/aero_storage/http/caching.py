"""`Cache-Control` and `Vary` of responses (RFC 9111 §5.2.2, RFC 9110 §12.5.5; http.md §5, §6 and §12)."""

from __future__ import annotations

from functools import lru_cache

import attrs

from aero_storage.http.cors import Headers

PRIVATE = "private, no-store, no-transform"
"""Not cacheable: the image is private, or the request has credentials."""

ERROR = "no-store, no-transform"
"""Errors of the data plane."""

NO_STORE = "no-store"
"""Errors of the metadata plane; health, version and metrics."""

REVALIDATE = "no-cache"
"""Metadata: cacheable, must be revalidated each time."""

_FOR_GOOD = "max-age=31536000, immutable, no-transform"

PUBLIC_FOR_GOOD = f"public, {_FOR_GOOD}"
"""Cacheable by everyone for a year, without another look."""

_PRIVATE_FOR_GOOD = f"private, {_FOR_GOOD}"
"""The same, by the client's own cache alone."""

_VARY = "Vary"

VARY_BY_CREDENTIALS = (_VARY, "Authorization, Cookie")
"""The header field of responses that hang on the lease that was presented, or on its absence (http.md §12)."""


@attrs.frozen(cache_hash=True)
class Caching:
    """How a response may be kept, and by which caches."""

    cache_control: str
    by_credentials: bool = False
    """Whether caches have to tell requests with different credentials apart."""
    headers: Headers = attrs.field(init=False, eq=False, repr=False)
    """`Cache-Control`, and `Vary` where credentials select the response."""

    @headers.default
    def _make_headers(self) -> Headers:
        field = ("Cache-Control", self.cache_control)
        return (field, VARY_BY_CREDENTIALS) if self.by_credentials else (field,)


@lru_cache(16)
def public_bytes(*, max_age: int | None, credentials: bool) -> Caching:
    """Return the caching of bytes of a public image; `max_age` in seconds, None if they never change under their URL.

    `credentials`: the request has some, so its response is for no cache. `no-transform`: compression would break
    ranges.
    """
    if credentials:
        return Caching(PRIVATE)
    return Caching(PUBLIC_FOR_GOOD if max_age is None else f"public, max-age={max_age}, no-transform")


def private_bytes(*, kept_by_browser: bool, leases: bool) -> Caching:
    """Return the caching of bytes of a private image.

    `kept_by_browser`: they never change, and the operator lets browsers keep them, for one lease as for the next.
    `leases`: only holders of a lease get them.
    """
    return Caching(_PRIVATE_FOR_GOOD) if kept_by_browser else Caching(PRIVATE, by_credentials=leases)


def private_metadata() -> Caching:
    """Return the caching of metadata that only a lease opens, and of a list that shows such an image."""
    return Caching(PRIVATE, by_credentials=True)


def by_credentials(headers: Headers) -> Headers:
    """Return the headers of an error that another lease, or none, would have made another response."""
    return with_one_vary((*headers, VARY_BY_CREDENTIALS))


def with_one_vary(headers: Headers) -> Headers:
    """Return the headers with all `Vary` fields joined into one, at the end."""
    names = [value for name, value in headers if name == _VARY]
    if len(names) < 2:  # noqa: PLR2004 - nothing to join
        return headers
    return (*(field for field in headers if field[0] != _VARY), (_VARY, ", ".join(names)))
