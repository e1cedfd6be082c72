"""A response as a value, as far as it was read."""

from __future__ import annotations

import attrs

from aero_storage.chunks.verify.remote import brief

_MOST_DIGITS = 20


@attrs.frozen
class Response:
    """What came back; header names are lower case, values as they were sent."""

    asked: str
    """The request, for messages: method, path, and the headers that matter."""
    status: int
    fields: tuple[tuple[str, str], ...]
    body: bytes = attrs.field(repr=False)
    is_complete: bool
    """Whether `body` is all of it, not just as much as was wanted."""
    http_version: int
    """10 or 11."""
    is_reused: bool
    """Whether it came over a connection that an earlier answer came over."""
    first_byte: float
    """Seconds from the request to the first byte of the body (or the end, if there is none)."""
    seconds: float
    """Seconds from the request to the end of what was read."""

    def all(self, name: str) -> tuple[str, ...]:
        """The values of all header lines of that name."""
        return tuple(value for key, value in self.fields if key == name.lower())

    def get(self, name: str) -> str | None:
        """The value of a header, several lines joined as RFC 9110 §5.3 says; None if there is none."""
        values = self.all(name)
        return ", ".join(value.strip() for value in values) if values else None

    def words(self, name: str) -> tuple[str, ...]:
        """The parts of a header that is a list, lower case."""
        parts = (part.strip().lower() for part in (self.get(name) or "").split(","))
        return tuple(part for part in parts if part)

    def length(self) -> int | None:
        """`Content-Length`, or None if it is missing or no single number."""
        text = self.get("Content-Length") or ""
        is_number = text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS
        return int(text) if is_number else None

    def show(self, name: str) -> str:
        """A header for a message: `ETag: "x"`, or that it is missing."""
        value = self.get(name)
        return f"no {name}" if value is None else f"{name}: {brief(value)}"

    def is_media_type(self, wanted: str) -> bool:
        """Whether `Content-Type` is `wanted`, whatever its parameters."""
        return (self.get("Content-Type") or "").partition(";")[0].strip().lower() == wanted
