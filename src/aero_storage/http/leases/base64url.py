"""Base64url without padding (RFC 7515 §2), one text for each value: no stray bits, no white space (RFC 4648 §3.5)."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode

_ALPHABET = re.compile(r"[A-Za-z0-9_-]*+")
_QUANTUM = 4


def decode(text: str) -> bytes | None:
    """Return the bytes of `text`; None if it is not the one text for them."""
    if not _ALPHABET.fullmatch(text) or len(text) % _QUANTUM == 1:
        return None
    data = urlsafe_b64decode(text + "=" * (-len(text) % _QUANTUM))
    return data if encode(data) == text else None


def encode(data: bytes) -> str:
    """Return the text of `data`."""
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
