"""Finds a file's signature among those of `signatures`."""

from __future__ import annotations

import re
from collections.abc import Iterable

from aero_storage.image_formats.byte_source import ByteSource
from aero_storage.image_formats.signatures import NAMES, SIGNATURES, TEXT, Signature

_TEXT_BYTES = 4096
_LEAST_TEXT = 16  # fewer bytes are printable by chance
_PLAIN = frozenset(b"\t\n\r\x0c\x1b") | frozenset(range(0x20, 0x7F)) | frozenset(range(0x80, 0x100))


def find_signature(source: ByteSource, name: str) -> Signature | None:
    """Return the signature of a file, by its bytes or by its name; None if it has none."""
    return _first(source, (one for one in SIGNATURES if not one.is_weak)) or _by_name(name)


def find_weak_signature(source: ByteSource) -> Signature | None:
    """Return the signature of a file that is no disk, by so few bytes that a disk may have them by chance."""
    return _first(source, (one for one in SIGNATURES if one.is_weak))


def find_text(source: ByteSource) -> Signature | None:
    """Return the signature of text if a file begins with nothing else."""
    start = source.read(0, min(_TEXT_BYTES, source.size))
    return TEXT if len(start) >= _LEAST_TEXT and _PLAIN.issuperset(start) and _is_utf8(start) else None


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return error.end == len(data)  # the last character is cut
    return True


def _first(source: ByteSource, signatures: Iterable[Signature]) -> Signature | None:
    opening = _opening(source)
    return next((one for one in signatures if _shows(source, opening, one)), None)


def _opening(source: ByteSource) -> bytes:
    """Return the beginning of a text in lower case, without a byte order mark, spaces before it, NULs (UTF-16)."""
    start = source.read(0, _TEXT_BYTES)
    for mark in (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"):
        start = start.removeprefix(mark)
    return start.replace(b"\0", b"").lstrip().lower()


def _shows(source: ByteSource, opening: bytes, signature: Signature) -> bool:
    if not opening.startswith(signature.opening) or signature.holds not in opening:
        return False
    return all(
        source.read(offset if offset >= 0 else source.size + offset, len(magic)) == magic
        for offset, magic in signature.marks
    )


def _by_name(name: str) -> Signature | None:
    return next((one for pattern, one in NAMES if re.search(pattern, name.lower())), None)
