"""Request heads as values (RFC 9112 §2 to §5), and the strict grammar that parses most of them.

The strict grammar accepts the heads of browsers, emulators, downloaders and proxies: a bodyless GET, HEAD or OPTIONS
in origin form, with header lines in visible ASCII. `general_head` parses all other valid heads. `head_reader` is the
entry point that uses both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

import attrs

from aero_storage.errors import RefusalReason, StatusAndReason
from aero_storage.http.host import MAX_TARGET_LENGTH, is_authority, origin_form
from aero_storage.values import request_value

MAX_HEAD = 16 * 1024
"""Longest head that is read, in bytes, from the request line to the empty line."""

MAX_HEADERS = 200
"""Limit of the header lines of one head; continuation lines (obs-fold) count too, as they cost as much."""

MAX_REMEMBERED_HEAD = 4096
"""Longest head whose plan is cached, in bytes; a browser's has some 500 to 1,000."""

HeadKey = tuple[bytes, ...]
"""A head without the values that differ between requests of one client; a cache key."""

_LONGEST_HOST = 320  # a name of 255 characters or a literal of 82, and a port
_HEAD = re.compile(
    r"(GET|HEAD|OPTIONS) (/[\x21-\x7e]*) (HTTP/1\.[01])\r\n"
    r"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\x20-\x7e]*\r\n){0,200})\r\n"
)
_FIELD = re.compile(r"([^:]+): *([^\r]*)\r\n")
_BAD_REQUEST, _TARGET_TOO_LONG = 400, 414
_FRAMING = frozenset(("content-length", "transfer-encoding"))
MAX_RANGE_DIGITS = 18
"""Of a position that `split_varying` leaves out."""
_RANGE_LINE = re.compile(rb"\r\n[Rr]ange: (bytes=[0-9]{1,18}-[0-9]{1,18})(?=\r\n)")
_RANGE_QUERY = re.compile(rb"[?&][0-9]{1,18}-[0-9]{1,18}")
_LINE_END = b" HTTP/1.1\r\n"
_REQUEST_ID_LINE = re.compile(rb"\r\n(?:X-Request-Id|X-Request-ID|x-request-id): ([\x21-\x7e]{1,128})(?=\r\n)")


@request_value
class RequestHead:
    """The head of one request."""

    method: str
    target: str = attrs.field(repr=False)
    """As it was sent, in visible ASCII."""
    version: str
    """`HTTP/1.1` or `HTTP/1.0`."""
    headers: Mapping[str, str] = attrs.field(repr=False)
    """Values by names in lower case; repeated lines are joined by commas (RFC 9110 §5.3), cookies by semicolons.

    `Host` occurs once.
    """
    size: int
    """Length of the head in bytes."""
    path: str
    """The path of a target in origin or absolute form, still percent-encoded; empty in any other form."""
    query: str = attrs.field(repr=False)
    """The query behind the `?`, as sent; empty without one."""
    persistent: bool
    """Whether the connection persists (RFC 9112 §9.3); never after an announced body, which is not read."""
    announces_body: bool
    repeats_credentials: bool = False
    """Whether there is more than one `Authorization` field, which is no list (RFC 9110 §11.6.2)."""

    def header(self, name: str) -> str | None:
        """Return the value of a header, case-insensitively, or None."""
        return self.headers.get(name.lower())


@attrs.frozen
class Refusal:
    """An unusable head; the connection must be closed after the response."""

    status: int
    method: str = ""
    """The apparent method, for the log; empty if there is none."""
    path: str = ""
    """The apparent path, in visible ASCII; empty if there is none."""

    @property
    def reason(self) -> RefusalReason:
        """The reason in the log."""
        return RefusalReason.TARGET if self.status == _TARGET_TOO_LONG else RefusalReason.HEAD

    def as_head(self) -> RequestHead:
        """Return the known parts of the request as a head without headers."""
        return RequestHead(
            method=self.method,
            target=self.path,
            version="HTTP/1.1",
            headers={},
            size=0,
            path=self.path,
            query="",
            persistent=False,
            announces_body=False,
        )


def read_strict_head(data: bytes) -> RequestHead | None:
    """Return the head if `data` is exactly one head in the strict grammar, else None."""
    if len(data) > MAX_HEAD:
        return None
    text = data.decode("latin-1")
    match = _HEAD.fullmatch(text)
    if match is None or " \r" in text:
        return None
    method, target, version, block = match.groups()
    fields = _FIELD.findall(block)
    headers = {name.lower(): value for name, value in fields}
    if len(headers) != len(fields) or "host" not in headers or not _FRAMING.isdisjoint(headers):
        return None  # the general parser joins repeated lines
    return make_head(method, target, version, headers, len(data))


def make_head(  # noqa: PLR0913 - the parts of a head
    method: str,
    target: str,
    version: str,
    headers: Mapping[str, str],
    size: int,
    *,
    announces_body: bool = False,
    repeats_credentials: bool = False,
) -> RequestHead:
    """Make a head from its parsed parts; `headers` has no spaces around the values."""
    path, _, query = _in_origin_form(target).partition("?")
    persistent = not announces_body and _is_persistent(version, headers.get("connection"))
    return RequestHead(
        method, target, version, headers, size, path, query, persistent, announces_body, repeats_credentials
    )


def refusal_of(head: RequestHead) -> StatusAndReason | None:
    """Return status and reason with which a parsed head is refused, independent of its route, or None."""
    if len(head.target) > MAX_TARGET_LENGTH:
        return _TARGET_TOO_LONG, RefusalReason.TARGET
    host = head.headers.get("host")
    lacks_host = head.version == "HTTP/1.1" if host is None else not _is_host(host)
    if lacks_host or head.repeats_credentials:
        return _BAD_REQUEST, RefusalReason.HEAD
    return None if head.path else (_BAD_REQUEST, RefusalReason.TARGET)


def logged_path(target: bytes) -> str:
    """Return the path of a possibly malformed target, in visible ASCII; empty if there is none."""
    path = (origin_form(target) or b"").partition(b"?")[0]
    return "".join(chr(byte) if 0x20 < byte < 0x7F else f"%{byte:02X}" for byte in path)  # noqa: PLR2004 - visible


def split_varying(data: bytes) -> tuple[HeadKey, str | None, str | None]:
    """Return a complete head without the values of `Range` and `X-Request-Id` as a cache key, and these values.

    A value is None if it is missing or unusual: then it stays in the key. A decision about a head applies to all
    heads with its key, apart from the two values, if `may_be_remembered` is true. A last parameter of the query that
    names a range, as browsers have it for their caches (http.md §13), is left out: it changes nothing.
    """
    if b"?" in data:
        data = _without_range_query(data)
    key: HeadKey = (data,)
    range_value = request_id = None
    at = data.find(b"\r\nRange: ")  # a search by the expression takes twice as long in a head with a token
    match = _RANGE_LINE.match(data, at if at >= 0 else max(0, data.find(b"\r\nrange: ")))
    if match is not None:
        start, end = match.span(1)
        key, range_value = (data[:start], data[end:]), data[start:end].decode("ascii")
    if b"equest-" in data:  # a search for the whole line takes ten times as long
        key, request_id = _cut_request_id(key)
    return key, range_value, request_id


def range_place(data: bytes) -> slice | None:
    """Return where the two positions of `Range` are in a head; None if `split_varying` leaves out anything else."""
    key, value, request_id = split_varying(data)
    if value is None or request_id is not None or sum(map(len, key)) + len(value) != len(data):
        return None
    return slice(len(key[0]) + len("bytes="), len(key[0]) + len(value))


def may_be_remembered(head: RequestHead, range_value: str | None, request_id: str | None) -> bool:
    """Return whether the values of `split_varying` are those of the parsed head, so that others may replace them.

    They are not if a line is repeated or continued.
    """
    found = head.headers.get("range"), head.headers.get("x-request-id")
    return found == (range_value, request_id) and head.size <= MAX_REMEMBERED_HEAD


def _without_range_query(data: bytes) -> bytes:
    """Leave out the last parameter if it names a range. An expression for the whole line would look at each byte."""
    end = data.find(_LINE_END)
    if end < 0 or not data[end - 1 : end].isdigit():
        return data
    question = data.find(b"?", 0, end)
    if question < 0 or data.find(b"\r", 0, end) >= 0 or not data.startswith((b"GET /", b"HEAD /")):
        return data
    start = max(question, data.rfind(b"&", question, end))
    return data[:start] + data[end:] if _RANGE_QUERY.fullmatch(data, start, end) else data


def _cut_request_id(pieces: HeadKey) -> tuple[HeadKey, str | None]:
    for at, piece in enumerate(pieces):
        match = _REQUEST_ID_LINE.search(piece)
        if match is not None:
            start, end = match.span(1)
            value = piece[start:end].decode("ascii")
            return (*pieces[:at], piece[:start], piece[end:], *pieces[at + 1 :]), value
    return pieces, None


def _in_origin_form(target: str) -> str:
    if target.startswith("/"):
        return target
    return (origin_form(target.encode("ascii")) or b"").decode("ascii")


def _is_persistent(version: str, connection: str | None) -> bool:
    if version != "HTTP/1.1":
        return False
    if connection is None or connection == "keep-alive":
        return True
    return "close" not in {option.strip(" \t").lower() for option in connection.split(",")}


def _is_host(value: str) -> bool:
    return len(value) <= _LONGEST_HOST and _is_known_host(value)


@lru_cache(64)
def _is_known_host(value: str) -> bool:
    return is_authority(value.encode("latin-1"))
