"""Parses heads outside the strict grammar by h11.

h11 limits only incomplete heads, and accepts bare LF, control characters and any version: so it gets only complete
heads that `head_scanner` has accepted.
"""

from __future__ import annotations

import re

import h11

from aero_storage.http.host import guess_request_line
from aero_storage.http.request_head import Refusal, RequestHead, logged_path, make_head

_CODING = re.compile(rb"\r\ntransfer-encoding:[^\r]*(?:\r\n[ \t][^\r]*)*", re.IGNORECASE)
_HOST = re.compile(rb"\r\nhost:([^\r]*(?:\r\n[ \t][^\r]*)*)", re.IGNORECASE)
_STAND_IN = b"Host: stand-in\r\n\r\n"
_LOOKED_AT = 2048
"""Limit of the bytes of a request line that are read for the log."""


def parse_head(data: bytes) -> RequestHead | Refusal:
    """Read one complete head that the scanner has accepted.

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
    repeated = sum(name == b"authorization" for name, _ in request.headers) > 1
    announces_body = codings > 0 or int(headers.get("content-length", "0")) > 0
    method, target = request.method.decode("ascii"), request.target.decode("ascii")
    version = "HTTP/" + request.http_version.decode("ascii")
    return make_head(
        method,
        target,
        version,
        headers,
        len(data),
        announces_body=announces_body,
        repeats_credentials=repeated,
    )


def refuse_head(data: bytes, status: int) -> Refusal:
    """Return the refusal of the head that begins with `data`, with method and path of its request line.

    `data` ends with the byte that decided: the refusal says the same however much has come behind it.
    """
    # A CR that decided stays in the target: it may have been in the middle of a name.
    method, target = guess_request_line(data[:_LOOKED_AT].partition(b"\r\n")[0])
    return Refusal(status, method.rstrip(b"\r").decode("latin-1"), logged_path(target))


def _join(request: h11.Request) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw, raw_value in request.headers:
        name, value = raw.decode("ascii"), raw_value.decode("latin-1")
        separator = "; " if name == "cookie" else ", "  # RFC 9113 §8.2.3: a comma may be part of a cookie
        headers[name] = f"{headers[name]}{separator}{value}" if name in headers else value
    return headers
