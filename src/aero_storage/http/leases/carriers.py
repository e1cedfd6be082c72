"""Where a request carries its tokens: `Authorization`, the query, two cookies, in this order (http.md §12)."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Sequence

import attrs

from aero_storage.http.queries import first_value

PARAMETER = "lease"
"""The query parameter of a token."""

COOKIES = ("__Secure-aero-lease", "aero-lease")
"""The cookies of a token, in the order in which they are looked at."""

_STARTS = tuple(f"{name}=" for name in COOKIES)
_BEARER = re.compile(r"bearer +(.+)", re.IGNORECASE | re.DOTALL)


class Carrier(enum.Enum):
    """A way for a token to travel."""

    BEARER = "bearer"
    QUERY = "query"
    COOKIE = "cookie"


@attrs.frozen
class Presented:
    """A token that a request has shown; it is not empty, and nothing else of it is checked."""

    carrier: Carrier
    token: str = attrs.field(repr=False)

    @property
    def in_url(self) -> bool:
        """Whether it travelled in a URL, where `uexp` counts."""
        return self.carrier is Carrier.QUERY


def presented(authorization: str | None, queries: Sequence[str], cookies: str | None) -> tuple[Presented, ...]:
    """Return the tokens of a request in the order in which they count.

    `queries` are the raw query of the request and, from a trusted proxy, that of the original request. Another scheme
    and an empty value are no token.
    """
    return tuple(Presented(*found) for found in _all(authorization, queries, cookies) if found[1])


def _all(authorization: str | None, queries: Sequence[str], cookies: str | None) -> Iterator[tuple[Carrier, str]]:
    match = _BEARER.fullmatch(authorization) if authorization is not None else None
    if match is not None:
        yield Carrier.BEARER, match[1]
    for query in queries:
        yield Carrier.QUERY, first_value(query, PARAMETER) or ""
    for start in _STARTS if cookies else ():
        yield Carrier.COOKIE, _value(cookies or "", start)


def _value(cookies: str, start: str) -> str:
    """Return the value of the first cookie that begins so (RFC 6265 §4.2.1); the empty text without one."""
    at = cookies.find(start)
    while at > 0 and cookies[at - 1] != ";" and cookies[max(0, at - 2) : at] != "; ":
        at = cookies.find(start, at + 1)
    return cookies[at + len(start) :].partition(";")[0].rstrip(" \t") if at >= 0 else ""
