"""Splits received bytes into request heads, independent of the pieces in which they arrive."""

from __future__ import annotations

import attrs

from aero_storage.http.general_head import LineChecker, parse_head, refuse_head
from aero_storage.http.request_head import MAX_HEAD, Refusal, RequestHead, read_strict_head

_NOTHING = (b"", b"\r", b"\r\n")


@attrs.define
class HeadReader:
    """The receive buffer of a connection.

    The caller reads no further behind a head that was refused or that ends the connection.
    """

    _data: bytes = attrs.field(default=b"", repr=False)
    _start: int = 0
    """Offset of the next head."""
    _searched: int = 0
    """Number of bytes from there in which no empty line begins."""
    _first: bool = True
    """Whether an empty line before the request line is still accepted (RFC 9112 §2.2)."""
    _lines: LineChecker | None = None

    def __len__(self) -> int:
        """Return the number of bytes in the buffer."""
        return len(self._data) - self._start

    @property
    def is_fresh(self) -> bool:
        """Whether nothing has arrived since the last head, not even an empty line."""
        return self._first and not len(self)

    @property
    def begun(self) -> bool:
        """Whether any byte of the next request has arrived."""
        return len(self) > len(_NOTHING[-1]) or self._data[self._start :] not in _NOTHING

    @property
    def has_several(self) -> bool:
        """Whether more has arrived than the next head."""
        return 0 < len(self.peek()) < len(self)

    def receive(self, data: bytes) -> None:
        """Append received bytes."""
        self._data = self._data[self._start :] + data
        self._start = 0

    def peek(self) -> bytes:
        """Return the next head, unchecked and without removing it; empty if it is incomplete."""
        if self._first:
            self._skip_empty_line()
        end = self._data.find(b"\r\n\r\n", self._start + self._searched)
        if end < 0:
            self._searched = max(0, len(self) - 3)
            return b""
        return self._data[self._start : end + 4]

    def take(self, size: int) -> None:
        """Remove the next head, which has `size` bytes."""
        self._start += size
        self._searched, self._first, self._lines = 0, True, None

    def next(self) -> RequestHead | Refusal | None:
        """Remove and parse the next head; None if it is incomplete."""
        if not len(self):
            return None
        data = self.peek()
        head = (read_strict_head(data) if data else None) or self._read_generally(data)
        if isinstance(head, RequestHead):
            self.take(head.size)
        return head

    def _read_generally(self, data: bytes) -> RequestHead | Refusal | None:
        if self._lines is None:
            self._lines = LineChecker()
        status = self._lines.check(self._data, self._start)
        if status is not None:
            return refuse_head(self._data[self._start : self._start + MAX_HEAD], status)
        return parse_head(data) if data else None

    def _skip_empty_line(self) -> None:
        if len(self) > 1:
            self._first = False
            if self._data.startswith(b"\r\n", self._start):
                self._start += 2
