"""A tiny HTTP/1.1 client for tests: exact bytes out, exact bytes in, nothing mended on the way."""

from __future__ import annotations

import json
import re
import socket
import struct
import time
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

from attrs import define, field, frozen

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Ending: TypeAlias = Literal["whole", "eof", "reset"]
Fields: TypeAlias = "Mapping[str, str] | tuple[tuple[str, str], ...]"

PATIENCE = 10.0
_STATUS_LINE = re.compile(rb"(HTTP/1\.[01]) ([1-5][0-9]{2}) ([\x20-\x7e]*)")
_FIELD_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e\x80-\xff\t]*?)[ \t]*")


class NoReplyError(AssertionError):
    """The connection ended, or nothing more came in time, before a response was complete."""


def head(
    method: str,
    target: str | bytes,
    fields: Fields = (),
    *,
    host: str | None = "store.test",
    version: str = "HTTP/1.1",
) -> bytes:
    """Return a request head as bytes; nothing in it is checked or escaped."""
    raw_target = target if isinstance(target, bytes) else target.encode("latin-1")
    pairs = fields if isinstance(fields, tuple) else tuple(fields.items())
    lines = [method.encode("latin-1") + b" " + raw_target + b" " + version.encode("latin-1")]
    if host is not None:
        lines.append(b"Host: " + host.encode("latin-1"))
    lines += [f"{name}: {value}".encode("latin-1") for name, value in pairs]
    return b"\r\n".join(lines) + b"\r\n\r\n"


@frozen
class Reply:
    """One response as it came, with how its body ended."""

    version: str
    status: int
    fields: tuple[tuple[str, str], ...]
    raw_head: bytes
    body: bytes = b""
    ending: Ending = "whole"

    def every(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        values = self.every(name)
        assert len(values) <= 1, f"{name} more than once: {values}"
        return values[0] if values else None

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        assert value is not None, f"no {name} in {self.status} {self.fields}"
        return value

    @property
    def names(self) -> set[str]:
        return {name.lower() for name, _ in self.fields}

    def members(self, name: str) -> list[str]:
        """Return the members of a comma-separated field, in lower case, all lines of it together."""
        return [part.strip().lower() for value in self.every(name) for part in value.split(",") if part.strip()]

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def length(self) -> int:
        value = self["Content-Length"]
        assert re.fullmatch("[0-9]+", value), value
        return int(value)


def parse_head(raw: bytes) -> Reply:
    """Parse a response head strictly; anything malformed is an AssertionError."""
    first, *lines = raw.removesuffix(b"\r\n\r\n").split(b"\r\n")
    status = _STATUS_LINE.fullmatch(first)
    assert status, f"bad status line {first!r}"
    fields = []
    for line in lines:
        match = _FIELD_LINE.fullmatch(line)
        assert match, f"bad field line {line!r}"
        fields.append((match[1].decode("latin-1"), match[2].decode("latin-1")))
    return Reply(status[1].decode(), int(status[2]), tuple(fields), raw)


@define
class RawConnection:
    """A connection to the daemon."""

    sock: socket.socket
    buffer: bytearray = field(factory=bytearray)
    ending: Ending = "whole"

    @classmethod
    def dial(cls, port: int, *, receive_buffer: int | None = None, source: str | None = None) -> Self:
        """Connect, from `source`; a small `receive_buffer` (bytes) lets the server feel a slow reader soon."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(PATIENCE)
        try:
            if source is not None:
                sock.bind((source, 0))
            sock.connect(("127.0.0.1", port))
        except OSError:
            sock.close()
            raise
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return cls(sock)

    @classmethod
    def dial_unix(cls, path: Path) -> Self:
        """Connect to a UNIX socket."""
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(PATIENCE)
        try:
            sock.connect(str(path))
        except OSError:
            sock.close()
            raise
        return cls(sock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        """Close with a RST instead of a FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def send(self, data: bytes) -> None:
        """Send all of it; a peer that has closed already shows when reading."""
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            self.ending = "reset"

    def _more(self, deadline: float) -> bool:
        self.sock.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            data = self.sock.recv(1 << 20)
        except TimeoutError:
            raise NoReplyError(f"nothing more in time after {bytes(self.buffer[:200])!r}") from None
        except ConnectionResetError:
            self.ending = "reset"
            return False
        if not data:
            self.ending = "eof"
            return False
        self.buffer += data
        return True

    def take(self, count: int, patience: float = PATIENCE) -> bytes:
        """Return `count` bytes, or fewer if the connection ends first."""
        deadline = time.monotonic() + patience
        while len(self.buffer) < count and self._more(deadline):
            pass
        taken = bytes(self.buffer[:count])
        del self.buffer[:count]
        return taken

    def sip(self, count: int) -> bytes:
        """Take what is there of the next `count` bytes, and leave all else in the kernel; nothing if it has ended."""
        if self.buffer:
            return self.take(len(self.buffer))
        self.sock.settimeout(PATIENCE)
        try:
            data = self.sock.recv(count)
        except ConnectionResetError:
            data, self.ending = b"", "reset"
        else:
            self.ending = self.ending if data else "eof"
        return data

    def rest(self, patience: float = PATIENCE) -> bytes:
        """Return everything up to the end of the connection; `ending` then says how it ended."""
        return self.take(1 << 62, patience)

    def reply_head(self, patience: float = PATIENCE) -> Reply:
        """Read the next final response head; interim (1xx) ones are skipped."""
        deadline = time.monotonic() + patience
        while True:
            while (end := self.buffer.find(b"\r\n\r\n")) < 0:
                if not self._more(deadline):
                    raise NoReplyError(f"{self.ending} after {bytes(self.buffer[:200])!r}")
            raw = bytes(self.buffer[: end + 4])
            del self.buffer[: end + 4]
            reply = parse_head(raw)
            if reply.status >= 200:
                return reply

    def reply(self, method: str = "GET", patience: float = PATIENCE) -> Reply:
        """Read the next final response with its body; it must be framed by Content-Length."""
        start = self.reply_head(patience)
        assert not start.every("Transfer-Encoding"), start.fields
        if method == "HEAD" or start.status in {204, 304}:
            return start
        body = self.take(start.length, patience)
        ending: Ending = "whole" if len(body) == start.length else self.ending
        return Reply(start.version, start.status, start.fields, start.raw_head, body, ending)

    def status(self, text: bytes = b"") -> int | None:
        """Send bytes; return the status of the response that comes, None if the connection ends or stays silent."""
        self.send(text)
        try:
            return self.reply().status
        except NoReplyError:
            return None

    def ask(self, method: str, target: str | bytes, fields: Fields = ()) -> Reply:
        """Send one request and read its response; the connection stays open."""
        self.send(head(method, target, fields))
        return self.reply(method)
