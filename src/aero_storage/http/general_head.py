"""Parses heads outside the strict grammar: checks limits and the grammar of each line, then uses h11.

h11 limits only incomplete heads, and accepts bare LF, control characters and any version: so it gets only complete
heads whose lines have been checked.
"""

from __future__ import annotations

import re

import attrs
import h11

from aero_storage.http.host import guess_request_line
from aero_storage.http.request_head import MAX_HEAD, MAX_HEADERS, Refusal, RequestHead, logged_path, make_head

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE = re.compile(_TOKEN + rb" [\x21-\x7e]+ HTTP/1\.[01]")
_TEXT = rb"[\t\x20-\x7e\x80-\xff]*"
_HEADER_LINE = re.compile(_TOKEN + rb":" + _TEXT)
_CONTINUATION = re.compile(rb"[ \t]" + _TEXT)  # obs-fold, RFC 9112 §5.2
_CODING = re.compile(rb"\r\ntransfer-encoding:[^\r]*(?:\r\n[ \t][^\r]*)*", re.IGNORECASE)
_HOST = re.compile(rb"\r\nhost:([^\r]*(?:\r\n[ \t][^\r]*)*)", re.IGNORECASE)
_STAND_IN = b"Host: stand-in\r\n\r\n"
_LOOKED_AT = 2048
"""Limit of the bytes of a request line that are read for the log."""


@attrs.define
class LineChecker:
    """Checks the lines of one head in order, each once; the first fault decides.

    So the result does not depend on the pieces in which a head arrives.
    """

    _line: int = 0
    """Offset of the next line from the beginning of the head."""
    _searched: int = 0
    """Offset up to which that line is known to have no end."""
    _headers: int = 0
    """Number of lines after the request line."""

    def check(self, data: bytes, start: int) -> int | None:
        """Check further lines of the head that begins at `start` of `data`; return the status of a refusal, or None.

        Lines after the empty one are not read.
        """
        while (end := data.find(b"\r\n", start + max(self._line, self._searched))) >= 0:
            if end + 2 - start > MAX_HEAD:
                return self._too_long
            line = data[start + self._line : end]
            if self._line and not line:
                return None
            if (status := self._fault(line)) is not None:
                return status
            self._line = end + 2 - start
        self._searched = max(0, len(data) - start - 1)
        return self._too_long if len(data) - start >= MAX_HEAD else None

    @property
    def _too_long(self) -> int:
        return 431 if self._line else 414

    def _fault(self, line: bytes) -> int | None:
        if not self._line:
            return None if _REQUEST_LINE.fullmatch(line) else 400
        if not (_HEADER_LINE.fullmatch(line) or _CONTINUATION.fullmatch(line)):
            return 400
        self._headers += 1
        return 431 if self._headers > MAX_HEADERS else None


def parse_head(data: bytes) -> RequestHead | Refusal:
    """Read one complete head whose lines have been checked.

    A transfer coding is never looked at, as a body is refused in any (http.md §2); h11 would call most of them
    unknown. A `Host` that is missing or given twice is for `refusal_of`, so that the refusal knows the other headers.
    """
    uncoded, codings = _CODING.subn(b"", data)
    hosts = [b" ".join(value.split()) for value in _HOST.findall(uncoded)]
    parser = h11.Connection(h11.SERVER)
    parser.receive_data(_HOST.sub(b"", uncoded)[:-2] + _STAND_IN)
    try:
        request = parser.next_event()
    except h11.RemoteProtocolError:
        return refuse_head(data, 400)
    if not isinstance(request, h11.Request):
        return refuse_head(data, 400)
    headers = _join(request)
    del headers["host"]
    if hosts:
        headers["host"] = b", ".join(hosts).decode("latin-1")
    announces_body = codings > 0 or int(headers.get("content-length", "0")) > 0
    method, target = request.method.decode("ascii"), request.target.decode("ascii")
    version = "HTTP/" + request.http_version.decode("ascii")
    return make_head(method, target, version, headers, len(data), announces_body=announces_body)


def refuse_head(data: bytes, status: int) -> Refusal:
    """Return the refusal of the head at the beginning of `data`, with method and path of its request line."""
    method, target = guess_request_line(data[:_LOOKED_AT].partition(b"\r\n")[0])
    return Refusal(status, method.decode("latin-1"), logged_path(target))


def _join(request: h11.Request) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw, raw_value in request.headers:
        name, value = raw.decode("ascii"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers
