"""`Host` and the request target (RFC 9110 §7.2, RFC 9112 §3.2)."""

from __future__ import annotations

import re

MAX_TARGET_LENGTH = 8 * 1024
"""Longest request target that is read, in bytes (RFC 9112 §3 asks for 8,000 at least)."""

_MOST_GUESSED = 1024
_MAX_HOST_LENGTH = 255  # RFC 1035 §2.3.4
_LABEL = rb"[A-Za-z0-9_~!$&'()*+,;=%-]{1,63}"
_NAME = rb"(?P<name>" + _LABEL + rb"(?:\." + _LABEL + rb")*\.?)"
_LITERAL = rb"\[[0-9A-Fa-fvV:.]{2,80}\]"
_AUTHORITY = re.compile(rb"(?:" + _NAME + rb"|" + _LITERAL + rb")(?::[0-9]{0,5})?")
_ABSOLUTE = re.compile(rb"[Hh][Tt][Tt][Pp][Ss]?://([^/?#]*)(.*)", re.DOTALL)


def is_authority(value: bytes) -> bool:
    """Return whether a `Host` value (or the authority of an absolute target) is a host, with or without a port."""
    match = _AUTHORITY.fullmatch(value)
    return match is not None and len(match["name"] or b"") <= _MAX_HOST_LENGTH


def origin_form(target: bytes) -> bytes | None:
    """Return the path (and query) of a request target in origin or absolute form; None for any other form.

    `*` is returned unchanged: no route matches it.
    """
    if target.startswith(b"/") or target == b"*":
        return target
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None or not is_authority(absolute[1]):
        return None
    rest = absolute[2]
    return rest if rest.startswith(b"/") else b"/" + rest


def guess_request_line(line: bytes) -> tuple[bytes, bytes]:
    """Return the apparent method and target of a malformed request line, for the log; empty if it has none.

    Only the beginning of a long line is read; it is longer than a valid name.
    """
    method, _, rest = line[:_MOST_GUESSED].partition(b" ")
    target, version, _ = rest.rpartition(b" HTTP/")
    return method, target if version else rest
