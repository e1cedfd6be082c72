"""Names from outside: image ids, chunked versions, chunk names (http.md §1).

All of them come as raw path segments. A segment is bounded before it is copied, decoded once, and then
has to match in full; whatever does not is no identifier and goes nowhere.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

MAX_NAME_LENGTH = 128
"""Longest image id or chunked version, in characters."""

NAME_RULE = "must be 1 to 128 characters of A-Z a-z 0-9 . _ - and not '.' or '..'"
"""The rule for image ids, in words."""

_MAX_CHUNK_NAME_LENGTH = 36
_NAME = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_CHUNK_NAME = re.compile(rb"[0-9]{1,32}\.bin")
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_RESERVED_VERSION = "chunks"


def decode_segment(raw: bytes, limit: int) -> bytes | None:
    """Percent-decode a raw path segment once.

    None if it is badly escaped, or longer than three times `limit`: then it cannot decode to `limit` bytes
    (RFC 3986 §2.1) and is not looked at.
    """
    if len(raw) > 3 * limit or _BAD_ESCAPE.search(raw):
        return None
    return unquote_to_bytes(raw)


def parse_image_id(raw: bytes) -> str | None:
    """The image id that a raw path segment names, or None."""
    decoded = decode_segment(raw, MAX_NAME_LENGTH)
    return decoded.decode("ascii") if decoded is not None and _is_name(decoded) else None


def parse_version(raw: bytes) -> str | None:
    """The chunked version that a raw path segment names, or None; `chunks` is a directory, no version."""
    version = parse_image_id(raw)
    return None if version == _RESERVED_VERSION else version


def parse_chunk_name(raw: bytes) -> str | None:
    """The chunk object's file name (`00000000.bin`) that a raw path segment names, or None."""
    decoded = decode_segment(raw, _MAX_CHUNK_NAME_LENGTH)
    return decoded.decode("ascii") if decoded is not None and _CHUNK_NAME.fullmatch(decoded) else None


def is_image_id(text: str) -> bool:
    """Whether `text` (not percent-encoded) follows the rule for image ids."""
    return text.isascii() and _is_name(text.encode("ascii"))


def is_version(text: str) -> bool:
    """Whether `text` (not percent-encoded) follows the rule for chunked versions."""
    return is_image_id(text) and text != _RESERVED_VERSION


def _is_name(decoded: bytes) -> bool:
    return _NAME.fullmatch(decoded) is not None and decoded not in (b".", b"..")
