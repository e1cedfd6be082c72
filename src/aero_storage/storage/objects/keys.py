"""Keys of objects: which can be, how they lie below a prefix, and how messages show them."""

from __future__ import annotations

from aero_storage.settings.origin_url import is_key

_MAX_KEY_BYTES = 1024
_MAX_SHOWN = 80


def is_usable(key: str) -> bool:
    """Return whether an object can have this key: the client would change or refuse any other."""
    return is_key(key) and len(key.encode()) <= _MAX_KEY_BYTES


def shown(key: str) -> str:
    """Return a key for a message: printable, in one line, and not long."""
    text = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in key[: _MAX_SHOWN + 1])
    return f"'{text}'" if len(text) <= _MAX_SHOWN else f"'{text[:_MAX_SHOWN]}…'"


def below(prefix: str, key: str) -> str:
    """Return the full key of a key below a prefix."""
    return f"{prefix}/{key}".strip("/") if not prefix or not key else f"{prefix}/{key}"


def relative(prefix: str, full: str) -> str | None:
    """Return the key below a prefix, or None if it lies elsewhere."""
    if not prefix:
        return full
    return full[len(prefix) + 1 :] if full.startswith(f"{prefix}/") else None
