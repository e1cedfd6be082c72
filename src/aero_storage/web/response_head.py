"""The head of a response as it goes over the wire (RFC 9112 §4)."""

from __future__ import annotations

from functools import lru_cache
from http import HTTPStatus

import attrs

from aero_storage.delivery.reply import Reply
from aero_storage.http.cors import LEASE_REMAINING, Headers, with_lease_exposed
from aero_storage.http.dates import format_http_date
from aero_storage.http.leases.verification import Lease


def _line(name: str, value: str) -> bytes:
    return f"{name}: {value}\r\n".encode("latin-1")


@lru_cache(256)
def _block(headers: Headers) -> bytes:
    return b"".join(_line(name, value) for name, value in headers)


@lru_cache(64)
def _status_line(status: int) -> bytes:
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nServer: aero-storage\r\n".encode("ascii")


@lru_cache(2)
def _date_line(second: int) -> bytes:
    return _line("Date", format_http_date(second))


@attrs.define(eq=False)
class HeadWriter:
    """Writes the heads of responses, and remembers what the last one may have in common with the next."""

    _common: Headers | None = None
    _is_leased: bool = False
    _status: int = 0
    _second: int = 0
    _fixed: bytes = b""
    _begun: tuple[int, int, Headers | None, bytes] = (0, 0, None, b"")
    """Status, second, headers, and the bytes of the last head that was begun."""

    def fixed(self, status: int, common: Headers, second: int) -> bytes:
        """The beginning of a head, up to the value of `X-Request-Id`, with a `Date` in seconds since the epoch."""
        begun = self._begun
        if begun[0] == status and begun[1] == second and begun[2] is common:
            return begun[3]
        head = _status_line(status) + _date_line(second) + _block(common) + b"X-Request-Id: "
        self._begun = status, second, common, head
        return head

    def write(
        self, reply: Reply, request_id: str, now: float, *, persistent: bool, lease: Lease | None = None
    ) -> bytes:
        """The head of a response; `now` in seconds since the epoch, `lease` what has opened the request.

        Of a lease it says for how long that is good (http.md §12).
        """
        second, length = int(now), reply.length
        is_new = self._common is not reply.common or self._is_leased is (lease is None)
        if is_new or self._second != second or self._status != reply.status:
            self._common, self._second, self._status = reply.common, second, reply.status
            self._is_leased = lease is not None
            common = with_lease_exposed(reply.common) if self._is_leased else reply.common
            self._fixed = _status_line(reply.status) + _date_line(second) + _block(common)
        more = "" if persistent else "Connection: close\r\n"
        if length is not None:
            more += f"Content-Length: {length}\r\n"
        if lease is not None:
            more += f"{LEASE_REMAINING}: {lease.claims.remaining(now)}\r\n"
        for name, value in reply.own:
            more += f"{name}: {value}\r\n"
        return self._fixed + f"X-Request-Id: {request_id}\r\n{more}\r\n".encode("latin-1")
