"""Tells from the first byte of a connection whether anything but HTTP is spoken there (http.md §2)."""

from __future__ import annotations

from aero_storage.http.head_scanner import TOKEN_BYTES

_BEGINNINGS = frozenset(TOKEN_BYTES + b"\r\n")
"""A method, or an empty line before it. A bare LF is a mistake in HTTP, and is told so by a 400."""

_TLS_HANDSHAKE = 0x16  # RFC 8446 §5.1


def foreign_protocol(first: int, *, secure: bool) -> str | None:
    """Return what a connection looks like whose first byte can begin no request; None if it may be HTTP.

    `secure`: the byte came over TLS.
    """
    if first in _BEGINNINGS:
        return None
    return "TLS on a plain port" if first == _TLS_HANDSHAKE and not secure else "no HTTP"
