"""Received bytes to request heads, one after the other, in whatever pieces they come."""

from __future__ import annotations

import attrs

from aero_storage.http.general_head import LineChecker, parse_head, refuse_head
from aero_storage.http.request_head import MAX_HEAD, Refusal, RequestHead, read_strict_head

_NOTHING = (b"", b"\r", b"\r\n")


@attrs.define
class HeadReader:
    """What a connection has received and not yet handled.

    Nothing is read after a head that was refused or that ends the connection. What comes then is thrown away.
    """

    _data: bytes = attrs.field(default=b"", repr=False)
    _start: int = 0
    """Where the next head begins."""
    _searched: int = 0
    """How far, from there, no empty line begins."""
    _first: bool = True
    """Whether an empty line may still stand before the request line (RFC 9112 §2.2)."""
    _lines: LineChecker | None = None
    _ended: bool = False

    def __len__(self) -> int:
        """Bytes that wait."""
        return len(self._data) - self._start

    @property
    def begun(self) -> bool:
        """Whether anything of the next request has come."""
        return len(self) > len(_NOTHING[-1]) or self._data[self._start :] not in _NOTHING

    def receive(self, data: bytes) -> None:
        """Take what has come."""
        if not self._ended:
            self._data = self._data[self._start :] + data
            self._start = 0

    def peek(self) -> bytes:
        """The next head, to its empty line, neither checked nor taken; empty if it is not complete."""
        if self._ended:
            return b""
        if self._first:
            self._skip_empty_line()
        end = self._data.find(b"\r\n\r\n", self._start + self._searched)
        if end < 0:
            self._searched = max(0, len(self) - 3)
            return b""
        return self._data[self._start : end + 4]

    def take(self, size: int) -> None:
        """Go on behind the next head, which has `size` bytes."""
        self._start += size
        self._searched, self._first, self._lines = 0, True, None

    def next(self) -> RequestHead | Refusal | None:
        """Take and read the next head; None if there is more to come."""
        if self._ended or not len(self):
            return None
        data = self.peek()
        head = (read_strict_head(data) if data else None) or self._read_generally(data)
        if isinstance(head, RequestHead):
            self.take(head.size)
            self._ended = not head.persistent
        else:
            self._ended = head is not None
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
