"""Splits received bytes into request heads, independent of the pieces in which they arrive."""

from __future__ import annotations

import attrs

from aero_storage.http.general_head import parse_head, refuse_head
from aero_storage.http.head_scanner import Buffer, HeadScanner
from aero_storage.http.request_head import Refusal, RequestHead, read_strict_head

_NOTHING = (b"", b"\r", b"\r\n")
_CR = 0x0D


@attrs.define
class HeadReader:
    """The receive buffer of a connection.

    The caller reads no further behind a head that was refused or that ends the connection.
    """

    _data: Buffer = attrs.field(default=b"", repr=False)
    """A bytearray as soon as anything is appended: then a byte costs the same, however many came before it."""
    _start: int = 0
    """Offset of the next head."""
    _searched: int = 0
    """Number of bytes from there in which no empty line begins."""
    _first: bool = True
    """Whether an empty line before the request line is still accepted (RFC 9112 §2.2)."""
    _scanner: HeadScanner | None = None
    """Of the next head, once a part of it came alone or is outside the strict grammar."""

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
        if len(self):
            kept = self._data if isinstance(self._data, bytearray) else bytearray(self._data)
            del kept[: self._start]
            kept += data
            self._data = kept
        else:
            self._data = data
        self._start = 0

    def peek(self) -> bytes:
        """Return the next head, unchecked and without removing it; empty if it is incomplete."""
        if self._first:
            self._skip_empty_line()
        end = self._data.find(b"\r\n\r\n", self._start + self._searched)
        if end < 0:
            self._searched = max(0, len(self) - 3)
            return b""
        return bytes(self._data[self._start : end + 4])

    def take(self, size: int) -> None:
        """Remove the next head, which has `size` bytes."""
        self._start += size
        self._searched, self._first, self._scanner = 0, True, None

    def next(self) -> RequestHead | Refusal | None:
        """Remove and parse the next head; None if it is incomplete and may still become a good one."""
        if not len(self):
            return None
        data = self.peek()
        head = (read_strict_head(data) if data else None) or self._read_generally(data)
        if isinstance(head, RequestHead):
            self.take(head.size)
        return head

    def _read_generally(self, data: bytes) -> RequestHead | Refusal | None:
        if self._first and self._data[self._start] == _CR:
            return None  # perhaps an empty line
        if self._scanner is None:
            self._scanner = HeadScanner()
        status = self._scanner.scan(self._data, self._start)
        if status is not None:
            return refuse_head(bytes(self._data[self._start : self._start + self._scanner.scanned]), status)
        return parse_head(data) if data else None

    def _skip_empty_line(self) -> None:
        if len(self) > 1:
            self._first = False
            if self._data.startswith(b"\r\n", self._start):
                self._start += 2
