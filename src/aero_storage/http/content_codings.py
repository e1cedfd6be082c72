"""Content codings that a client accepts (RFC 9110 §12.5.3)."""

from __future__ import annotations

import re

GZIP = "gzip"
"""The one coding that responses are compressed by."""

VARY_BY_CODING = ("Vary", "Accept-Encoding")
"""The header field of responses of which there is a compressed form."""

_ACCEPTED = re.compile(r"[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*(?:;[ \t]*[qQ]=([01](?:\.[0-9]{0,3})?)[ \t]*)?")
_NAMES = frozenset({"gzip", "x-gzip"})


def accepts_gzip(value: str | None) -> bool:
    """Return whether `Accept-Encoding` allows gzip: by its name, or else by `*`, with a weight that is not 0."""
    if value is None:
        return False
    weights = {
        found[1].lower(): float(found[2] or 1)
        for found in map(_ACCEPTED.fullmatch, value.split(","))
        if found is not None
    }
    named = [weight for coding, weight in weights.items() if coding in _NAMES]
    return max(named, default=weights.get("*", 0.0)) > 0
