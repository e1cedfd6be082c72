"""Names from outside: image ids, chunked versions, chunk names (http.md §1).

All of them arrive as raw path segments. The length of a segment is checked before it is copied; then it is decoded
once, and must match the rule completely.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

MAX_NAME_LENGTH = 128
"""Longest image id or chunked version, in characters."""

NAME_RULE = "must be 1 to 128 characters of A-Z a-z 0-9 . _ - and not '.' or '..'"
"""The rule for image ids, in words."""

_MAX_CHUNK_NAME_LENGTH = 36
_MAX_PART_LENGTH = 98
_NAME = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_CHUNK_NAME = re.compile(rb"[0-9]{1,32}\.bin")
_PART = re.compile(rb"[a-z0-9-]{1,80}(?:\.[a-z0-9]{1,8}){1,2}")
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_RESERVED_VERSION = "chunks"


def decode_segment(raw: bytes, limit: int) -> bytes | None:
    """Percent-decode a raw path segment once.

    None if its escapes are invalid, or if it is longer than three times `limit`: then it decodes to more than `limit`
    bytes (RFC 3986 §2.1).
    """
    if len(raw) > 3 * limit or _BAD_ESCAPE.search(raw):
        return None
    return unquote_to_bytes(raw)


def parse_image_id(raw: bytes) -> str | None:
    """Return the image id in a raw path segment, or None."""
    decoded = decode_segment(raw, MAX_NAME_LENGTH)
    return decoded.decode("ascii") if decoded is not None and _is_name(decoded) else None


def parse_version(raw: bytes) -> str | None:
    """Return the chunked version in a raw path segment, or None; `chunks` is a directory, not a version."""
    version = parse_image_id(raw)
    return None if version == _RESERVED_VERSION else version


def parse_chunk_name(raw: bytes) -> str | None:
    """Return the file name of a chunk object (`00000000.bin`) in a raw path segment, or None."""
    decoded = decode_segment(raw, _MAX_CHUNK_NAME_LENGTH)
    return decoded.decode("ascii") if decoded is not None and _CHUNK_NAME.fullmatch(decoded) else None


def parse_part(raw: bytes) -> str | None:
    """Return the file name of a part of the client or the page (`aero-disk.js`) in a raw path segment, or None."""
    decoded = decode_segment(raw, _MAX_PART_LENGTH)
    return decoded.decode("ascii") if decoded is not None and _PART.fullmatch(decoded) else None


def is_image_id(text: str) -> bool:
    """Return whether `text` (not percent-encoded) is a valid image id."""
    return text.isascii() and _is_name(text.encode("ascii"))


def is_version(text: str) -> bool:
    """Return whether `text` (not percent-encoded) is a valid chunked version."""
    return is_image_id(text) and text != _RESERVED_VERSION


def _is_name(decoded: bytes) -> bool:
    return _NAME.fullmatch(decoded) is not None and decoded not in (b".", b"..")
