"""What Twisted remembers of header names: of hostile ones far too much."""

from __future__ import annotations

from twisted.web import http, http_headers

_MOST, _LONGEST = 256, 64
"""Names that are remembered, and their characters: more than there are in use."""


class _FewNames(http_headers._NameEncoder):  # noqa: SLF001 - there is no other way
    """Twisted's, which would remember 10,000 names of up to 16 KiB, twice each."""

    __slots__ = ()
    _MAX_CACHED_HEADERS = _MOST

    def encode(self, name: str | bytes) -> bytes:
        """The name as it is written; raises InvalidHeaderName."""
        if len(name) > _LONGEST:
            return http_headers._NameEncoder().encode(name)  # noqa: SLF001 - which forgets it at once
        return super().encode(name)


def remember_few_header_names() -> None:
    """Have all headers of this process do so."""
    http._nameEncoder = http_headers._nameEncoder = _FewNames()  # type: ignore[attr-defined]  # noqa: SLF001
