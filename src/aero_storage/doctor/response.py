"""A response as a value, with as much of its body as was read."""

from __future__ import annotations

import attrs

from aero_storage.chunks.verify.remote import brief

_MOST_DIGITS = 20


@attrs.frozen
class Response:
    """A response; header names are in lower case, values as sent."""

    request: str
    """The request, for messages: method, path, and significant headers."""
    status: int
    fields: tuple[tuple[str, str], ...]
    body: bytes = attrs.field(repr=False)
    is_complete: bool
    """Whether `body` is the complete body."""
    http_version: int
    """10 or 11."""
    is_reused: bool
    """Whether the connection had an earlier answer."""
    first_byte: float
    """Seconds from the request to the first byte of the body, or to the end without a body."""
    seconds: float
    """Seconds from the request to the last byte read."""

    def all(self, name: str) -> tuple[str, ...]:
        """Return the values of all header lines of this name."""
        return tuple(value for key, value in self.fields if key == name.lower())

    def get(self, name: str) -> str | None:
        """Return a field value, several lines joined (RFC 9110 §5.3); None if there is none."""
        values = self.all(name)
        return ", ".join(value.strip() for value in values) if values else None

    def words(self, name: str) -> tuple[str, ...]:
        """Return the members of a list header, in lower case."""
        parts = (part.strip().lower() for part in (self.get(name) or "").split(","))
        return tuple(part for part in parts if part)

    def length(self) -> int | None:
        """Return `Content-Length`, or None if it is missing or not a single number."""
        text = self.get("Content-Length") or ""
        is_number = text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS
        return int(text) if is_number else None

    def show(self, name: str) -> str:
        """Return a header for a message: `ETag: "x"`, or `no ETag`."""
        value = self.get(name)
        return f"no {name}" if value is None else f"{name}: {brief(value)}"

    def is_media_type(self, expected: str) -> bool:
        """Return whether `Content-Type` is `expected`, ignoring parameters."""
        return (self.get("Content-Type") or "").partition(";")[0].strip().lower() == expected
