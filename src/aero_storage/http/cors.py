"""CORS headers (WHATWG Fetch; http.md §7)."""

from __future__ import annotations

import attrs

from aero_storage.http.digests import REPR_DIGEST

Headers = tuple[tuple[str, str], ...]
"""Response headers in order: (name, value) pairs."""

ALLOWED_METHODS = "GET, HEAD, OPTIONS"

_ALLOWED_HEADERS = (
    "Range, If-Range, If-None-Match, If-Modified-Since, Authorization, Content-Type, If-Match, "
    "If-Unmodified-Since, X-Accept-Encoding, X-Request-Id, X-Aero-User-Id"
)
_PREFLIGHT_VARY = "Access-Control-Request-Method, Access-Control-Request-Headers"

DATA_EXPOSED = (
    "ETag, Last-Modified, Cache-Control, Content-Range, Accept-Ranges, Content-Length, Content-Encoding, "
    "Retry-After, X-Request-Id"
)
"""Headers of a data plane response that scripts may read."""

METADATA_EXPOSED = "ETag, Last-Modified, Cache-Control"
"""Headers of a metadata response that scripts may read."""


MAX_RANGE_BYTES = "Aero-Max-Range-Bytes"
"""The header of a 413 that says how long a range may be."""

LEASE_REMAINING = "Aero-Lease-Remaining"
"""The header that says for how many seconds the lease is good that opened a request."""

LINK = "Link"
"""The header that says where the boot profile of an image is."""

CHALLENGE = "WWW-Authenticate"
"""The header of a 401 or 403 that says what a request has to show."""

EXPOSE = "Access-Control-Expose-Headers"

_ANY_ORIGIN: Headers = (("Access-Control-Allow-Origin", "*"),)

EXPOSED_WHERE_SENT = frozenset({MAX_RANGE_BYTES, REPR_DIGEST, LEASE_REMAINING, CHALLENGE, LINK})
"""Headers that scripts may read as well, on the responses that have them."""


def with_lease_exposed(headers: Headers) -> Headers:
    """Return the headers of a response that has LEASE_REMAINING beside them, so that scripts may read that too."""
    return tuple((name, f"{value}, {LEASE_REMAINING}" if name == EXPOSE else value) for name, value in headers)


def exposed_names(always: str | None, sent: Headers) -> str | None:
    """Return the value of `Access-Control-Expose-Headers`: `always`, and what of EXPOSED_WHERE_SENT is in `sent`."""
    if always is None:
        return None
    for name, _ in sent:
        if name in EXPOSED_WHERE_SENT:
            always = f"{always}, {name}"
    return always


def _comparable(origin: str) -> str:
    return origin.lower().removesuffix("/")


@attrs.frozen
class CorsPolicy:
    """The origins that may read responses: any if `cors_origin` is empty or contains `*`, else those listed."""

    cors_origin: tuple[str, ...]
    cors_preflight_max_age_secs: int
    """Seconds for which browsers may cache a preflight."""
    _allowed: frozenset[str] = attrs.field(init=False)
    any_origin: bool = attrs.field(init=False)

    @_allowed.default
    def _compare_once(self) -> frozenset[str]:
        return frozenset(_comparable(origin) for origin in self.cors_origin)

    @any_origin.default
    def _see_wildcard(self) -> bool:
        return not self.cors_origin or "*" in self.cors_origin

    def lists(self, origin: str | None) -> bool:
        """Return whether an origin is named on the allowlist; where any origin may read, none is."""
        return not self.any_origin and origin is not None and _comparable(origin) in self._allowed

    def headers(self, origin: str | None, exposed: str | None = None) -> Headers:
        """Return the CORS headers of a response, including `Vary`, to a request with `Origin` `origin`."""
        allowed = self._allow(origin)
        if allowed and exposed:
            allowed = (*allowed, (EXPOSE, exposed))
        return allowed if self.any_origin else (*allowed, ("Vary", "Origin"))

    def preflight(self, origin: str | None) -> Headers:
        """Return the headers of a preflight's 204; for an origin that is not allowed only `Vary`."""
        vary = _PREFLIGHT_VARY if self.any_origin else f"Origin, {_PREFLIGHT_VARY}"
        allowed = self._allow(origin)
        if allowed:
            allowed = (
                *allowed,
                ("Access-Control-Allow-Methods", ALLOWED_METHODS),
                ("Access-Control-Allow-Headers", _ALLOWED_HEADERS),
                ("Access-Control-Max-Age", str(self.cors_preflight_max_age_secs)),
            )
        return (*allowed, ("Vary", vary))

    def _allow(self, origin: str | None) -> Headers:
        if self.any_origin:
            return _ANY_ORIGIN
        if origin is None or _comparable(origin) not in self._allowed:
            return ()
        return (("Access-Control-Allow-Origin", origin), ("Access-Control-Allow-Credentials", "true"))
