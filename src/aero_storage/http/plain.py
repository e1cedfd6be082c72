"""Plain requests: bodyless GETs and HEADs that no two HTTP parsers could read differently (RFC 9112 §2 to §5).

What is recognised here is one complete request head, to its last byte, and nothing after it. Whatever might mean more
(a body, an upgrade, an escape in the path, a header given twice) is not plain, and left to a full parser.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import attrs

from aero_storage.http.host import is_authority

MAX_PLAIN_HEAD = 4096
"""Longest head that is looked at, in bytes; a browser's has some 500 to 1,000."""

_HEAD = re.compile(
    rb"(GET|HEAD) (/[A-Za-z0-9._/-]+) HTTP/1\.1\r\n"
    rb"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e]*\r\n){1,64})\r\n"
)
_RANGE_LINE = re.compile(rb"\r\n[Rr]ange: (bytes=[0-9]{1,18}-[0-9]{1,18})\r\n")
_READ: Mapping[bytes, str] = {
    name.lower().encode("ascii"): name
    for name in (
        "Authorization",
        "Connection",
        "Cookie",
        "Host",
        "If-Match",
        "If-Modified-Since",
        "If-None-Match",
        "If-Range",
        "If-Unmodified-Since",
        "Origin",
        "Range",
        "X-Aero-User-Id",
        "X-Forwarded-For",
        "X-Request-Id",
    )
}
_NOT_PLAIN = frozenset(
    (b"content-length", b"transfer-encoding", b"expect", b"upgrade", b"http2-settings", b"trailer", b"te")
)
_PERSISTENCE = {"": True, "keep-alive": True, "close": False}


@attrs.frozen
class PlainRequest:
    """One request; `headers` holds those that the daemon reads, by their names in the usual spelling."""

    method: str
    path: str
    headers: Mapping[str, str] = attrs.field(repr=False)
    persistent: bool
    """Whether the connection stays open (RFC 9112 §9.3)."""


def recognise(data: bytes) -> PlainRequest | None:
    """The request, if `data` is exactly one plain one."""
    if len(data) > MAX_PLAIN_HEAD:
        return None
    match = _HEAD.fullmatch(data)
    if match is None:
        return None
    headers = _read(match[3])
    if headers is None or not is_authority(headers.get("Host", "").encode("ascii")):
        return None
    persistent = _PERSISTENCE.get(headers.get("Connection", "").lower())
    if persistent is None:
        return None
    return PlainRequest(match[1].decode("ascii"), match[2].decode("ascii"), headers, persistent)


def split_range(data: bytes) -> tuple[tuple[bytes, bytes | None], str | None]:
    """What stands before and after the value of a head's plain `Range` line, and that value.

    Without such a line: all of it and None, and None. Heads from one client mostly differ in that value alone.
    """
    match = _RANGE_LINE.search(data)
    if match is None:
        return (data, None), None
    start, end = match.span(1)
    return (data[:start], data[end:]), data[start:end].decode("ascii")


def _read(block: bytes) -> dict[str, str] | None:
    """The headers that count, or None if one stands there twice or is not for plain requests."""
    headers: dict[str, str] = {}
    for line in block.split(b"\r\n"):
        raw, _, value = line.partition(b":")
        lower = raw.lower()
        name = _READ.get(lower)
        if name is not None:
            if name in headers:
                return None
            headers[name] = value.strip(b" \t").decode("ascii")
        elif lower in _NOT_PLAIN:
            return None
    return headers
